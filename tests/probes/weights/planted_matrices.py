"""Matrices whose spectra are known, and layers that hold them."""

import math

import numpy as np
import torch
from torch import nn


def layer(matrix):
    """Return a linear layer with these weights."""
    found = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False, dtype=torch.float64)
    with torch.no_grad():
        found.weight.copy_(torch.as_tensor(matrix))
    return found


def spiked(shape, signals, *, seed=0, sigma=1.0):
    """Return noise of variance sigma^2 plus a matrix with these singular values, in units of sigma sqrt(n)."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.normal(size=(size, len(signals))))[0] for size in shape)
    return sigma * (rng.normal(size=shape) + math.sqrt(max(shape)) * (left * signals) @ right.T)


def with_spectrum(squares, shape, seed=0):
    """Return a matrix with these squared singular values and random directions."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.normal(size=(size, len(squares))))[0] for size in shape)
    return (left * np.sqrt(squares)) @ right.T
