"""Kernels: their eigenvalue decay, effective dimension, learning curves and overfitting, from a Gram matrix or data."""
