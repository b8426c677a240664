"""Predicted curves of any linear method with one buffer, given by its step."""

from typing import TYPE_CHECKING

import numpy.typing as npt

from spectra.dynamics.closures import MODE_CLOSURES, Closure, Sampling, chi_of, noise_factor, require_closure
from spectra.dynamics.curve_dataset import CURVE_SCHEMA, CURVE_SCHEMA_VERSION, curve_dataset
from spectra.dynamics.quadratic import Quadratic
from spectra.dynamics.steps import per_step, recorded_steps
from spectra.dynamics.two_state import Coefficients, two_state_recursion
from spectra.errors import ArgumentError
from spectra.provenance import provenance

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["linear_method_curve"]


def linear_method_curve(
    problem: Quadratic,
    coefficients: Coefficients,
    *,
    closure: Closure,
    num_steps: int,
    batch_size: npt.ArrayLike = 1,
    sampling: Sampling = "without_replacement",
    record: npt.ArrayLike | None = None,
) -> "xr.Dataset":
    """Predict the expected loss of any method with one buffer whose step is linear in error, buffer and gradient.

    Parameters
    ----------
    problem, closure, num_steps, batch_size, sampling, record
        As for :func:`sgd_curve`; the closure is one over modes.
    coefficients : callable
        ``(step, curvature) -> LinearStep`` for a vector of curvatures, one by one, see
        :mod:`spectra.dynamics.two_state`. It may depend on the step, as momentum that grows with it does.

    Returns
    -------
    xarray.Dataset
        As of :func:`sgd_curve`, without learning rate and stability.

    Raises
    ------
    ArgumentError
        For a closure that is not one over modes, or coefficients that return something else.

    Notes
    -----
    O(m) per step. Derived here.

    Examples
    --------
    >>> import numpy as np
    >>> from spectra.dynamics import heavy_ball_step
    >>> one = np.ones(1)
    >>> problem = Quadratic(eigenvalue=one, multiplicity=one, initial_loss=one, num_samples=10)
    >>> def growing(k, curvature):
    ...     return heavy_ball_step(curvature, learning_rate=0.1, momentum=k / (k + 3))
    >>> linear_method_curve(problem, growing, closure="limit", num_steps=5).sizes["step"]
    6
    """
    require_closure(closure, problem)
    if closure not in MODE_CLOSURES:
        raise ArgumentError(f"closure must be one over modes, {', '.join(MODE_CLOSURES)}; got {closure!r}")
    steps = recorded_steps(num_steps, record)
    size = per_step(batch_size, name="batch_size", num_steps=int(num_steps), least=1, whole=True)
    noise = noise_factor(size, num_samples=problem.num_samples, sampling=sampling) / problem.rows_per_sample
    found = two_state_recursion(problem, coefficients, noise=noise, chi=chi_of(closure, problem), record=steps)
    attrs = provenance(
        schema=CURVE_SCHEMA,
        schema_version=CURVE_SCHEMA_VERSION,
        problem=problem.name,
        closure=closure,
        sampling=sampling,
        solver="recursion",
    )
    return curve_dataset(found, problem, steps, gamma=None, size=size, attrs=attrs)
