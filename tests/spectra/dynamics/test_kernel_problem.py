import numpy as np
import pytest

from spectra.dynamics import from_kernel, sgd_curve
from spectra.errors import ArgumentError, NonFiniteError, ShapeError


def test_kernel_regression_is_sgd_on_the_function():
    """Average over all sequences of three single samples, of steps on the function itself."""
    x = np.array([0.0, 0.4, 1.0, 1.1])
    K = np.exp(-((x[:, None] - x) ** 2))
    y = np.array([1.0, -0.5, 0.3, 2.0])
    functions, losses = [np.zeros(4)], []
    for _ in range(4):
        losses.append(np.mean([0.5 * np.mean((f - y) ** 2) for f in functions]))
        functions = [f - 0.7 * (f[i] - y[i]) * K[:, i] for f in functions for i in range(4)]
    curve = sgd_curve(from_kernel(K, y), closure="exact", learning_rate=0.7, num_steps=3)
    np.testing.assert_allclose(curve.loss, losses, rtol=1e-12)


@pytest.mark.parametrize(
    ("K", "y", "error"),
    [
        (np.eye(3), np.ones(2), ShapeError),
        (np.array([[1.0, 2.0], [0.0, 1.0]]), np.ones(2), ArgumentError),
        (-np.eye(2), np.ones(2), ArgumentError),
        (np.eye(2), np.full(2, 1e200), ArgumentError),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), np.ones(2), ArgumentError),
        (np.full((2, 2), np.nan), np.ones(2), NonFiniteError),
    ],
)
def test_kernels_that_cannot_be(K, y, error):
    with pytest.raises(error):
        from_kernel(K, y)
