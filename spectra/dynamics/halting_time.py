r"""How the gradient of a large random least-squares problem shrinks under full-batch methods, and when to stop.

A method whose steps are linear in the gradient makes the error after k steps ``P_k(H) (x_0 - x_true)``, with a
polynomial ``P_k`` of degree k that is 1 at 0. For many samples and parameters the squared norm of the gradient of
``|A x - b|^2 / (2 num_samples)``, ``b = A x_true + e``, concentrates at (Paquette, van Merrienboer, Paquette and
Pedregosa 2020)

.. math:: |\nabla L(x_k)|^2 \to R \int x^2 P_k(x)^2 d\mu(x) + N r \int x P_k(x)^2 d\mu(x)

for the law ``mu`` of the eigenvalues of ``H = A'A / num_samples``, ``R = signal`` (the expected ``|x_0 - x_true|^2``),
``N = noise`` (the variance of the entries of ``e``) and ``r`` parameters per sample. So does the halting time, the
first k at which it is small: it depends on the problem through ``mu`` only.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from spectra.arrays import finite_number
from spectra.dynamics.full_batch import FullBatchMethod, FullBatchProblem, full_batch_problem, residual_polynomials
from spectra.errors import ArgumentError
from spectra.laws import MarchenkoPastur
from spectra.provenance import provenance
from spectra.start_vectors import as_count

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["GRADIENT_NORMS_SCHEMA", "FullBatchMethod", "gradient_norm_curve", "halting_time"]

GRADIENT_NORMS_SCHEMA = "spectra/gradient-norms"
_VERSION = 1
#: Steps that are tried first; then twice as many, and so on.
_FIRST_STEPS = 256


def gradient_norm_curve(
    spectrum: MarchenkoPastur | npt.ArrayLike,
    *,
    method: FullBatchMethod,
    num_steps: int,
    signal: float = 1.0,
    noise: float = 0.0,
    weights: npt.ArrayLike | None = None,
    aspect_ratio: float | None = None,
) -> "xr.Dataset":
    """Return the expected squared norm of the gradient after each step of a full-batch method.

    Parameters
    ----------
    spectrum : MarchenkoPastur or array_like of shape (eigenvalues,)
        The law, or eigenvalues of ``H = A'A / num_samples``, zeros included; not negative beyond rounding.
    method : {"gradient_descent", "nesterov", "heavy_ball"}
        With ``S`` and ``L`` the smallest eigenvalue that is not 0 and the largest (the edges of a law), and
        ``P_-1 = P_0 = 1``:

        ===================  =====================================================================
        gradient_descent     ``P_(k+1) = (1 - x/L) P_k``
        nesterov             ``P_(k+1) = (1 - x/L) (P_k + c (P_k - P_(k-1)))``, ``c = (k - 1)/(k + 2)``
        heavy_ball           ``P_(k+1) = P_k - h x P_k + m (P_k - P_(k-1))``, Polyak's ``h`` and ``m``
        ===================  =====================================================================

        ``c`` is ``j/(j + 3)`` for the extrapolation after step ``j + 1``, the one for convex functions. The constants
        of the heavy ball are those of `optimal_heavy_ball` for ``S`` and ``L``, from the first step on.
    num_steps : int
        At least 1.
    signal, noise : float
        ``R`` and ``N`` above, not negative.
    weights : array_like of shape (eigenvalues,), optional
        Share of each eigenvalue, not negative; by default all the same. They are divided by their sum.
    aspect_ratio : float, optional
        Parameters per sample. Needed for eigenvalues with ``noise``; a law has its own.

    Returns
    -------
    xarray.Dataset
        Dimension ``step``, from 0 to ``num_steps``. ``noiseless`` and ``noisy`` are the two terms, and
        ``gradient_norm_squared`` is their sum. Attributes: ``schema``, ``schema_version``, ``method``,
        ``learning_rate``, ``momentum`` (0 where there is no constant one), ``signal``, ``noise``, and the provenance.

    Raises
    ------
    ArgumentError
        For unknown methods, negative eigenvalues or weights, no positive eigenvalue, a heavy ball under a law with
        ``aspect_ratio=1`` (its optimal constants do not exist), a missing or superfluous ``aspect_ratio``.
    ShapeError
        If eigenvalues are not a vector, or weights do not fit them.
    NonFiniteError
        If an eigenvalue or weight is not finite.

    Notes
    -----
    For a law the integrals are exact up to rounding, by Gauss quadrature with at most ``num_steps + 2`` nodes.
    ``O(num_steps)`` operations per node.

    Source: Paquette, van Merrienboer, Paquette and Pedregosa (2020). Polyak (1964); Nesterov (1983).

    Examples
    --------
    The gradient at the start is ``R int x^2 dmu = R (1 + r)``, and one step multiplies by ``(1 - x/L)^2``.

    >>> curve = gradient_norm_curve(MarchenkoPastur(aspect_ratio=0.25), method="gradient_descent", num_steps=2)
    >>> round(float(curve["noiseless"][0]), 12)
    1.25
    >>> gradient_norm_curve([1.0, 2.0], method="gradient_descent", num_steps=1)["noiseless"].values.tolist()
    [2.5, 0.125]
    """
    problem = full_batch_problem(
        spectrum, method=method, signal=signal, noise=noise, weights=weights, aspect_ratio=aspect_ratio
    )
    num_steps = as_count(num_steps, name="num_steps")
    return _curve(problem, num_steps)


def halting_time(
    spectrum: MarchenkoPastur | npt.ArrayLike,
    *,
    method: FullBatchMethod,
    tolerance: float,
    signal: float = 1.0,
    noise: float = 0.0,
    weights: npt.ArrayLike | None = None,
    aspect_ratio: float | None = None,
    max_steps: int = 100_000,
) -> int:
    """Return the first step at which the expected squared norm of the gradient is at most a tolerance.

    Parameters
    ----------
    spectrum, method, signal, noise, weights, aspect_ratio
        As for `gradient_norm_curve`.
    tolerance : float
        Positive, in units of the squared norm of the gradient.
    max_steps : int
        Where to give up. A law costs up to ``max_steps**2`` operations for methods with momentum.

    Returns
    -------
    int
        0 if the start is good enough. The curve may rise again after that step: methods with momentum oscillate.

    Raises
    ------
    ArgumentError
        If the tolerance is not positive, or is not reached in ``max_steps``; and as for `gradient_norm_curve`.
    ShapeError, NonFiniteError
        As for `gradient_norm_curve`.

    Notes
    -----
    Curves of 256, 512, ... steps: at most the cost of two curves that end at ``max_steps``. Source: Paquette, van
    Merrienboer, Paquette and Pedregosa (2020).

    Examples
    --------
    >>> halting_time([1.0, 2.0], method="gradient_descent", tolerance=0.125)
    1
    """
    problem = full_batch_problem(
        spectrum, method=method, signal=signal, noise=noise, weights=weights, aspect_ratio=aspect_ratio
    )
    tolerance = finite_number(tolerance, name="tolerance")
    if not tolerance > 0.0:
        raise ArgumentError(f"tolerance must be positive, got {tolerance!r}; no number of steps makes the gradient 0")
    max_steps = as_count(max_steps, name="max_steps")
    num_steps = min(_FIRST_STEPS, max_steps)
    while True:
        values = _curve(problem, num_steps)["gradient_norm_squared"].values
        reached = np.flatnonzero(values <= tolerance)
        if reached.size:
            return int(reached[0])
        if num_steps == max_steps:
            raise ArgumentError(
                f"the tolerance {tolerance:.6g} is not reached within max_steps={max_steps}, where the squared norm of "
                f"the gradient is {values[-1]:.6g}; raise max_steps or the tolerance"
            )
        num_steps = min(2 * num_steps, max_steps)


def _curve(problem: FullBatchProblem, num_steps: int) -> "xr.Dataset":
    """Integrate the squares of the residual polynomials."""
    import xarray as xr

    nodes, weights = problem.eigenvalues, problem.weights
    if problem.law is not None:
        num_nodes = num_steps + 2
        if problem.method == "gradient_descent":
            # Chebyshev coefficients of (1 - x/L)^(2k) fall like exp(-j^2 / (4 k)): the rest is below rounding
            num_nodes = min(num_nodes, int(8.0 * np.sqrt(num_steps)) + 64)
        nodes, weights = problem.law.nodes(num_nodes), problem.law.weights(num_nodes)
    measures = np.stack([problem.signal * weights * nodes**2, problem.noise * problem.aspect_ratio * weights * nodes])
    terms = np.empty((2, num_steps + 1))
    for k, residual in zip(range(num_steps + 1), residual_polynomials(problem, nodes), strict=False):
        terms[:, k] = measures @ residual**2
    columns = {
        "noiseless": (terms[0], "squared norm of the gradient due to the distance at the start"),
        "noisy": (terms[1], "squared norm of the gradient due to noise in the targets"),
        "gradient_norm_squared": (terms[0] + terms[1], "squared norm of the gradient"),
    }
    return xr.Dataset(
        {name: (("step",), values, {"long_name": text}) for name, (values, text) in columns.items()},
        coords={"step": ("step", np.arange(num_steps + 1), {"long_name": "steps of the method"})},
        attrs=provenance(
            schema=GRADIENT_NORMS_SCHEMA,
            schema_version=_VERSION,
            method=problem.method,
            learning_rate=problem.learning_rate,
            momentum=problem.momentum,
            signal=problem.signal,
            noise=problem.noise,
        ),
    )
