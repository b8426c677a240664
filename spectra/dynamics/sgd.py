r"""Loss curves of SGD from the spectrum: the main function of :mod:`spectra.dynamics`."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from spectra.arrays import finite_number
from spectra.dynamics.closed_form import ClosedForm, ContinuousForm
from spectra.dynamics.closures import MODE_CLOSURES, Closure, Sampling, chi_of, noise_factor, require_closure
from spectra.dynamics.critical import kernel_norm
from spectra.dynamics.curve_dataset import CURVE_SCHEMA, CURVE_SCHEMA_VERSION, curve_dataset
from spectra.dynamics.method import method_step, require_method
from spectra.dynamics.population import Population
from spectra.dynamics.quadratic import Quadratic
from spectra.dynamics.recursion import Curve, sgd_recursion
from spectra.dynamics.row_moments import exact_recursion, row_resolved_recursion
from spectra.dynamics.stability import NEAR_CRITICAL, Stability, stability
from spectra.dynamics.steps import constant_rate, per_step, recorded_steps
from spectra.dynamics.two_state import two_state_recursion
from spectra.errors import ArgumentError
from spectra.frozen import Vector
from spectra.provenance import provenance

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["sgd_curve"]

Solver = Literal["auto", "recursion", "closed_form"]

#: An eigendecomposition of order m takes as long as about ``20 m^3 / (2e5 + 10 m)`` steps of the recursion
#: (``scripts/benchmarks/dynamics_speed.py``: 0.17 s and 9 us with 1000 modes, 6 ms and 7 us with 100).
PER_STEP, PER_MODE = 2e5, 20.0


def sgd_curve(
    problem: Quadratic,
    *,
    closure: Closure,
    learning_rate: npt.ArrayLike,
    num_steps: int,
    batch_size: npt.ArrayLike = 1,
    sampling: Sampling = "without_replacement",
    momentum: npt.ArrayLike = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    population: Population | None = None,
    record: npt.ArrayLike | None = None,
    solver: Solver = "auto",
) -> "xr.Dataset":
    r"""Predict the expected loss of mini-batch SGD, step by step.

    :math:`L(k) = F(k) + \sum_{i<k} K(k-1-i) L(i)`: the loss without gradient noise, plus what the noise of each earlier
    step has left. Derivations in :mod:`spectra.dynamics.closures` (SGD) and :mod:`spectra.dynamics.two_state`
    (momentum, weight decay).

    Parameters
    ----------
    problem : Quadratic
        Spectrum, loss of each mode and floor; its units are those of the learning rate and of the result.
    closure : str
        What stands for the gradient noise, see :mod:`spectra.dynamics.closures`. There is no default, because none is
        right everywhere, and it is recorded with the result.
    learning_rate : float or array_like, shape (num_steps,)
        :math:`\gamma`, multiplies the gradient of the mean loss of a batch; or a schedule.
    num_steps : int
        Optimizer steps.
    batch_size : int or array_like, shape (num_steps,)
        B, or a schedule.
    sampling : {"without_replacement", "with_replacement"}
        How a batch is drawn; batches are independent of each other. Reshuffled epochs are refused, see
        :func:`spectra.dynamics.noise_factor`.
    momentum : float or array_like, shape (num_steps,)
        As of ``torch.optim.SGD`` without dampening; or a schedule.
    nesterov : bool
        As of ``torch.optim.SGD``.
    weight_decay : float
        :math:`\delta`, as of ``torch.optim.SGD``: adds :math:`\delta x` to the gradient. The loss reported is without
        the penalty. Needs a problem from :func:`spectra.dynamics.from_data`.
    population : Population, optional
        Another quadratic loss to follow, as the variable ``risk``. Needs a problem from ``from_data``.
    record : array_like of int, optional
        Steps to keep; by default all up to 200, else about 100 with equal ratios.
    solver : {"auto", "recursion", "closed_form"}
        The recursion takes every step, the closed form jumps to the recorded ones; they agree to rounding, or to some
        digits less where eigenvalues span ten orders of magnitude, see :mod:`spectra.dynamics.closed_form`. ``"auto"``
        takes the cheaper.

    Returns
    -------
    xarray.Dataset
        Dimension ``step``; coordinates ``epoch`` (samples seen over n; ``samples`` for a stream), ``learning_rate``
        and ``batch_size``, single or along ``step`` (the values in use from there on). Variables:

        - ``loss``: expected loss, infinite where it has left every bound;
        - ``noise_free_loss``: that of full batches, :math:`F`;
        - ``risk``, with a population.

        Attributes: ``schema``, ``schema_version``, ``closure``, ``sampling``, ``solver``, the settings, and for
        constant settings ``critical_learning_rate``, ``is_stable``, ``row_safe_learning_rate``, ``kernel_norm`` and
        ``floor`` (of a closure with a kernel), ``caution`` (a sentence: unstable, near the critical rate, or above
        what is safe where the closure is refused; see :func:`spectra.dynamics.stability`), and the provenance.

    Raises
    ------
    ArgumentError, ShapeError, NonFiniteError
        For settings that cannot be used together, each with what to do.

    Notes
    -----
    O(m) per step; the closed form takes one eigendecomposition of order m and O(m) per recorded step.
    ``row_resolved`` and ``exact`` take O(n m) and O(n m^2) per step.

    The expected loss is a mean over runs. Above about 0.8 of the critical learning rate it is carried by rare runs,
    and most runs lie below it.

    Sources: Paquette, Lee, Pedregosa and Paquette (2021), arXiv 2102.04396; Paquette and Paquette (2021),
    arXiv 2106.03696 (momentum); Lee, Cheng, Paquette and Paquette (2022), arXiv 2206.01029 (mini-batches); discrete
    time and the treatment of batches, weight decay and Nesterov's method are derived here.

    Examples
    --------
    >>> import numpy as np
    >>> problem = Quadratic(
    ...     eigenvalue=np.array([1.0, 2.0]), multiplicity=np.ones(2), initial_loss=np.ones(2), floor=0.1, num_samples=50
    ... )
    >>> curve = sgd_curve(problem, closure="limit", learning_rate=0.1, batch_size=10, num_steps=100)
    >>> curve.loss.values[[0, -1]].round(4).tolist(), round(curve.attrs["floor"], 4)
    ([2.1, 0.1014], 0.1014)
    """
    require_closure(closure, problem)
    require_method(closure, momentum=momentum, nesterov=nesterov)
    steps = recorded_steps(num_steps, record)
    total = int(num_steps)
    gamma = per_step(learning_rate, name="learning_rate", num_steps=total)
    beta = per_step(momentum, name="momentum", num_steps=total)
    size = per_step(batch_size, name="batch_size", num_steps=total, least=1, whole=True)
    noise = noise_factor(size, num_samples=problem.num_samples, sampling=sampling) / problem.rows_per_sample
    decay = finite_number(weight_decay, name="weight_decay")
    if decay < 0:
        raise ArgumentError(f"weight_decay must be at least 0; got {weight_decay}")
    if population is not None and not isinstance(population, Population):
        raise ArgumentError(f"population must be a spectra.dynamics.Population; got {type(population).__name__}")
    constant_rate(float(np.max(gamma, initial=0.0)), largest=problem.largest)
    if solver not in ("auto", "recursion", "closed_form"):
        raise ArgumentError(f"solver must be 'auto', 'recursion' or 'closed_form'; got {solver!r}")
    constant = gamma.ndim == size.ndim == beta.ndim == 0
    two_states = bool(np.any(beta > 0)) or decay > 0 or population is not None
    closed = closure in MODE_CLOSURES and constant and not two_states
    if solver == "closed_form" and not closed:
        raise ArgumentError(
            "the closed form is for constant settings without momentum, weight decay and population, and a closure "
            "over modes; use solver='auto'"
        )
    if two_states and closure not in MODE_CLOSURES:
        raise ArgumentError(
            f"closure={closure!r} knows neither weight decay nor a population; use 'limit', 'gaussian' or 'kurtosis'"
        )
    if solver == "auto":
        solver = "closed_form" if closed and _closed_is_cheaper(problem, total) else "recursion"
    if closure == "continuous":
        if not constant:
            raise ArgumentError("closure='continuous' is for constant settings; use 'limit' for schedules")
        solver = "closed_form"
    unit = problem.unit
    model = problem if unit == 1 else problem.scaled(unit)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):  # what has left every bound becomes infinite
        found = _solve(
            model, closure, gamma / unit, noise, beta, nesterov, decay * unit, population, steps, solver
        ).scaled(1 / unit)
    attrs: dict[str, Any] = {
        "schema": CURVE_SCHEMA,
        "schema_version": CURVE_SCHEMA_VERSION,
        "problem": problem.name,
        "closure": closure,
        "sampling": sampling,
        "solver": solver,
        "nesterov": nesterov,
        "weight_decay": decay,
    }
    if beta.ndim == 0:
        attrs["momentum"] = float(beta)
    if constant and decay == 0:
        limits = stability(
            problem, closure=closure, batch_size=int(size), sampling=sampling, momentum=float(beta), nesterov=nesterov
        )
        attrs |= _outlook(problem, limits, float(gamma), float(noise), float(beta), nesterov)
    return curve_dataset(found, problem, steps, gamma=gamma, size=size, attrs=provenance(**attrs))


def _solve(
    problem: Quadratic,
    closure: str,
    gamma: Vector,
    noise: Vector,
    beta: Vector,
    nesterov: bool,
    decay: float,
    population: Population | None,
    steps: npt.NDArray[np.int64],
    solver: str,
) -> Curve:
    if closure == "continuous":
        return ContinuousForm(problem, learning_rate=float(gamma), noise=float(noise)).curve(steps)
    if closure == "row_resolved":
        return row_resolved_recursion(problem, learning_rate=gamma, noise=noise, record=steps)
    if closure == "exact":
        return exact_recursion(problem, learning_rate=gamma, noise=noise, record=steps)
    chi = chi_of(closure, problem)
    if solver == "closed_form":
        return ClosedForm(problem, learning_rate=float(gamma), noise=float(noise), chi=chi).curve(steps)
    if not np.any(beta > 0) and decay == 0 and population is None:
        return sgd_recursion(problem, learning_rate=gamma, noise=noise, chi=chi, record=steps)
    total = int(steps[-1])
    rates, momenta = np.broadcast_to(gamma, (total,)), np.broadcast_to(beta, (total,))
    is_constant = gamma.ndim == beta.ndim == 0
    kept: dict[int, Any] = {}

    def coefficients(k: int, curvature: Vector) -> Any:
        at = 0 if is_constant else k
        if at not in kept:
            kept.clear()
            kept[at] = method_step(
                curvature, learning_rate=float(rates[at]), momentum=float(momenta[at]), nesterov=nesterov
            )
        return kept[at]

    return two_state_recursion(
        problem, coefficients, noise=noise, chi=chi, record=steps, weight_decay=decay, population=population
    )


def _closed_is_cheaper(problem: Quadratic, num_steps: int) -> bool:
    """Whether an eigendecomposition costs less than as many steps of the recursion (figures of one core)."""
    m = problem.eigenvalue.size
    return m**3 * PER_MODE < num_steps * (PER_STEP + 10 * m)


def _outlook(
    problem: Quadratic, limits: Stability, gamma: float, noise: float, beta: float, nesterov: bool
) -> dict[str, Any]:
    """Return what is known of a constant setting without following it."""
    critical = limits.closure_learning_rate
    found: dict[str, Any] = {"critical_learning_rate": critical, "is_stable": gamma < critical}
    if limits.row_safe_learning_rate is not None:
        found["row_safe_learning_rate"] = limits.row_safe_learning_rate
    if limits.closure not in ("row_resolved", "exact"):
        norm = kernel_norm(
            problem, closure=limits.closure, learning_rate=gamma, noise=noise, momentum=beta, nesterov=nesterov
        )
        found["kernel_norm"] = norm
        found["floor"] = problem.offset + problem.floor / (1 - norm) if norm < 1 else np.inf
    if gamma >= critical:
        found["caution"] = f"unstable: learning rate {gamma:.4g} is not below the critical {critical:.4g}"
    elif limits.learning_rate is None and gamma > limits.usable:
        found["caution"] = (
            f"above the row-safe learning rate {limits.usable:.4g}, and the critical one of the closure is "
            f"{limits.reason}"
        )
    elif noise > 0 and gamma > NEAR_CRITICAL * critical:
        found["caution"] = (
            f"{gamma / critical:.0%} of the critical learning rate: the mean is carried by rare runs, most lie below it"
        )
    return found
