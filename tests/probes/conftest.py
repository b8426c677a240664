"""Fixtures of the tests that use torch."""

import random

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded_global_generators() -> None:
    """Start each test from the same global random states, whichever tests its process ran before."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the code under test may use the global state
    torch.manual_seed(0)
