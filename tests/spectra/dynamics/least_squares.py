"""Small least-squares problems that several test files share."""

import numpy as np

from spectra.dynamics import Quadratic, from_data


def gaussian_data(n=60, d=30, *, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, d))
    b = A @ rng.standard_normal(d) / np.sqrt(d) + noise * rng.standard_normal(n)
    return A, b


def gaussian_problem(n=60, d=30, *, noise=0.5, seed=0):
    return from_data(*gaussian_data(n, d, noise=noise, seed=seed))


def one_mode(*, eigenvalue=1.0, initial_loss=1.0, floor=0.0, num_samples=None, multiplicity=1.0):
    return Quadratic(
        eigenvalue=np.array([eigenvalue]),
        multiplicity=np.array([multiplicity]),
        initial_loss=np.array([initial_loss]),
        floor=floor,
        num_samples=num_samples,
    )


def loss_of(A, b, x):
    return 0.5 * np.mean((A @ x - b) ** 2)
