r"""One answer about a training problem: curves, best learning rates, and what larger batches bring, in one tree.

The prediction of :mod:`spectra.dynamics` for the settings of a budget, in a form that is saved, shown and predicted
anew with other settings, without the model.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.dynamics.asymptotics import floor
from spectra.dynamics.best_rate import BestLearningRate, best_learning_rate
from spectra.dynamics.closures import MODE_CLOSURES, Closure, Sampling, noise_factor, require_closure
from spectra.dynamics.grid import sgd_curves
from spectra.dynamics.method import require_method
from spectra.dynamics.quadratic import QUADRATIC_SCHEMA, Quadratic
from spectra.dynamics.saturation import batch_saturation, batch_sizes_around
from spectra.dynamics.sgd import sgd_curve
from spectra.dynamics.stability import NEAR_CRITICAL
from spectra.errors import ArgumentError, NonFiniteError, SchemaError
from spectra.provenance import provenance
from spectra.start_vectors import as_count

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "DYNAMICS_SCHEMA",
    "DYNAMICS_SCHEMA_VERSION",
    "predict",
    "problem_of",
    "problem_tree",
]

DYNAMICS_SCHEMA = "spectra/dynamics"
DYNAMICS_SCHEMA_VERSION = 1

#: Learning rates of the curves relative to the best one, so that a reader sees what smaller ones cost.
FRACTIONS = (0.03, 0.1, 0.3, 1.0)
#: The cap is a curve of its own where it is this far above the best learning rate.
APART = 1.5
#: Learning rates of the landscape, as shares of the critical one: fine where the loss turns.
SHARES = np.concatenate([np.geomspace(1e-3, 0.5, 16), np.linspace(0.55, 0.99, 12)])
#: Share of the predicted gain that the target of the batch sizes leaves, as of ``batch_saturation``.
LEFT = 0.1
#: Learning rates times curvature beyond which squares overflow.
OVERFLOW = 1e100
#: Steps, in budgets and at most, after which a batch size counts as too slow.
PATIENCE, MAX_STEPS = 32, 2**17


def predict(
    problem: Quadratic,
    *,
    closure: Closure,
    batch_sizes: Sequence[int],
    num_steps: int,
    learning_rates: Sequence[float] | None = None,
    momentum: float = 0.0,
    nesterov: bool = False,
    sampling: Sampling = "without_replacement",
) -> "xr.DataTree":
    """Predict what a budget of steps reaches: the best learning rate of each batch size, and loss curves.

    Parameters
    ----------
    problem : Quadratic
        Spectrum, loss of each mode and floor.
    closure : str
        What stands for the gradient noise, see :mod:`spectra.dynamics.closures`.
    batch_sizes : sequence of int
        The first one is what is asked for, the others are compared with it.
    num_steps : int
        The budget, in optimizer steps, from 1.
    learning_rates : sequence of float, optional
        Of the curves. By default the best of the first batch size, 0.3, 0.1 and 0.03 of it, and 0.8 of the critical one
        where that is clearly larger.
    momentum, nesterov, sampling
        As for :func:`spectra.dynamics.sgd_curve`.

    Returns
    -------
    xarray.DataTree
        Attributes: ``schema``, ``schema_version``, ``closure``, ``sampling``, ``momentum``, ``nesterov``,
        ``num_steps``, ``batch_size`` (the first one), ``status`` and the provenance. Children:

        - ``problem``: :meth:`Quadratic.to_dataset`;
        - ``curves``: :func:`spectra.dynamics.sgd_curves`;
        - ``best``: along ``batch_size``, in the order given, ``learning_rate``, the flat region ``low`` to ``high``,
          expected ``loss`` and ``noise_free_loss`` at the budget, ``floor`` of that rate (NaN for closures without a
          kernel), ``is_capped``, ``reason``, ``critical_learning_rate`` (NaN where refused), ``usable_learning_rate``
          (that, or the row-safe one), ``closure_learning_rate``, ``row_safe_learning_rate`` (NaN where unknown) and
          ``noise_free_learning_rate``;
        - ``landscape``: ``loss`` at the budget for rates up to the usable one, along ``batch_size`` and ``point``;
        - ``saturation``: along ``batch_size``, ``num_steps`` to lose 90 % of what the first batch size is predicted to
          lose in the budget, ``num_samples`` and ``learning_rate``, NaN where it takes more than 32 budgets; attributes
          ``target``, ``knee`` (largest size with at most twice the fewest samples) and
          ``implicit_conditioning_ratio``. For closures over modes only.

    Raises
    ------
    ArgumentError, NonFiniteError
        For settings that cannot be used together, each with what to do.

    Notes
    -----
    About 200 curves of the length of the budget for each batch size, O(modes) per step.

    Examples
    --------
    >>> import numpy as np
    >>> problem = Quadratic(
    ...     eigenvalue=np.array([1.0, 2.0]), multiplicity=np.ones(2), initial_loss=np.ones(2), floor=0.1, num_samples=50
    ... )
    >>> tree = predict(problem, closure="limit", batch_sizes=[5, 50], num_steps=20)
    >>> list(tree.children), tree["best"]["batch_size"].values.tolist()
    (['problem', 'curves', 'best', 'landscape', 'saturation'], [5, 50])
    """
    sizes = _batch_sizes(batch_sizes)
    steps = as_count(num_steps, name="num_steps", least=0)
    if steps < 1:
        raise ArgumentError("num_steps must be at least 1: without a step every learning rate is the same")
    require_closure(closure, problem)
    require_method(closure, momentum=momentum, nesterov=nesterov)
    noise_factor(sizes, num_samples=problem.num_samples, sampling=sampling)
    rates = None if learning_rates is None else _learning_rates(learning_rates, problem)
    settings: dict[str, Any] = {
        "closure": closure,
        "sampling": sampling,
        "momentum": float(momentum),
        "nesterov": bool(nesterov),
    }
    found = [best_learning_rate(problem, num_steps=steps, batch_size=size, **settings) for size in sizes]
    if rates is None:
        rates = _chosen(found[0])
    tree = problem_tree(problem)
    tree["curves"] = _tree(
        sgd_curves(problem, learning_rates=rates, batch_sizes=sizes, num_steps=steps, **settings).assign_coords(
            learning_rate=rates, batch_size=sizes
        )
    )
    tree["best"] = _tree(_best(problem, found, sizes, settings))
    tree["landscape"] = _tree(_landscape(problem, found, sizes, settings))
    if closure in MODE_CLOSURES:
        target = found[0].loss + LEFT * max(problem.loss - found[0].loss, 0.0)
        compared = batch_sizes_around(problem, sizes[0])
        tree["saturation"] = _tree(
            batch_saturation(
                problem, batch_sizes=compared, target=target, max_steps=min(PATIENCE * steps, MAX_STEPS), **settings
            )
        )
    tree.attrs |= {
        **settings,
        "nesterov": int(nesterov),
        "num_steps": steps,
        "batch_size": sizes[0],
        "status": "complete",
    }
    return tree


def problem_tree(problem: Quadratic) -> "xr.DataTree":
    """Return a tree that holds a problem and no prediction yet, for :func:`spectra.save`.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.ones(1)
    >>> tree = problem_tree(Quadratic(eigenvalue=one, multiplicity=one, initial_loss=one))
    >>> tree.attrs["status"], list(tree.children)
    ('not predicted', ['problem'])
    """
    import xarray as xr

    attrs = provenance(
        schema=DYNAMICS_SCHEMA,
        schema_version=DYNAMICS_SCHEMA_VERSION,
        problem=problem.name,
        status="not predicted",
    )
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=attrs), "/problem": problem.to_dataset()})


def problem_of(data: "xr.Dataset | xr.DataTree") -> Quadratic:
    """Return the problem in a result: a quadratic itself, or any tree with a child ``problem``.

    Raises
    ------
    SchemaError
        If there is none.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.ones(1)
    >>> problem_of(Quadratic(eigenvalue=one, multiplicity=one, initial_loss=2 * one).to_dataset()).loss
    2.0
    """
    node: Any = data
    if data.attrs.get("schema") != QUADRATIC_SCHEMA:
        node = getattr(data, "children", {}).get("problem")
    if node is None:
        raise SchemaError(
            f"a result of schema {data.attrs.get('schema')!r} holds no linearized training problem to predict from; "
            "`spectra dynamics TASK -o dynamics.nc` makes one, and so does `spectra measure TASK -o run.nc --linearize`"
        )
    return Quadratic.from_dataset(node if hasattr(node, "data_vars") and not hasattr(node, "children") else node.ds)


def _batch_sizes(given: Sequence[int]) -> list[int]:
    if np.ndim(given) != 1 or len(given) == 0:
        raise ArgumentError(f"batch_sizes must be a sequence of at least one batch size; got {given!r}")
    return list(dict.fromkeys(as_count(size, name="batch_sizes") for size in given))


def _learning_rates(given: Sequence[float], problem: Quadratic) -> list[float]:
    rates = np.asarray(given, dtype=np.float64)
    if rates.ndim != 1 or rates.size == 0:
        raise ArgumentError(f"learning_rates must be a sequence of at least one learning rate; got {given!r}")
    if not np.all(np.isfinite(rates)):
        raise NonFiniteError(f"learning rates must be finite; got {rates[~np.isfinite(rates)][0]}")
    if np.any(rates <= 0):
        raise ArgumentError(f"learning rates must be positive; got {rates.min():g}")
    if np.any(rates > OVERFLOW / problem.largest):
        raise ArgumentError(f"a learning rate of {rates.max():g} overflows; name one near the critical")
    return [float(rate) for rate in np.unique(rates)]


def _chosen(best: BestLearningRate) -> list[float]:
    """Return learning rates around the best one, in three digits as they are printed."""
    cap = NEAR_CRITICAL * min(best.stability.usable, best.stability.noise_free_learning_rate)
    rates = [fraction * best.value for fraction in FRACTIONS] + [cap] * (cap > APART * best.value)
    return [float(f"{rate:.3g}") for rate in rates]


def _tree(dataset: "xr.Dataset") -> "xr.DataTree":
    import xarray as xr

    return xr.DataTree(dataset)


def _best(
    problem: Quadratic, found: list[BestLearningRate], sizes: list[int], settings: dict[str, Any]
) -> "xr.Dataset":
    import xarray as xr

    has_kernel = settings["closure"] not in ("row_resolved", "exact")
    last, without = [], []
    for best, size in zip(found, sizes, strict=True):
        at: dict[str, Any] = {"learning_rate": best.value, "batch_size": size, **settings}
        last.append(floor(problem, **at) if has_kernel else np.nan)
        curve = sgd_curve(problem, num_steps=best.num_steps, record=[best.num_steps], **at)
        without.append(float(curve["noise_free_loss"].values[-1]))
    limits = [best.stability for best in found]
    columns: dict[str, Any] = {
        "learning_rate": [best.value for best in found],
        "low": [best.low for best in found],
        "high": [best.high for best in found],
        "loss": [best.loss for best in found],
        "noise_free_loss": without,
        "floor": last,
        "is_capped": [best.is_capped for best in found],
        "critical_learning_rate": [_number(limit.learning_rate) for limit in limits],
        "usable_learning_rate": [limit.usable for limit in limits],
        "closure_learning_rate": [limit.closure_learning_rate for limit in limits],
        "row_safe_learning_rate": [_number(limit.row_safe_learning_rate) for limit in limits],
        "noise_free_learning_rate": [limit.noise_free_learning_rate for limit in limits],
        "reason": [limit.reason for limit in limits],
    }
    return xr.Dataset(
        {name: ("batch_size", np.asarray(values)) for name, values in columns.items()}, coords={"batch_size": sizes}
    )


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _landscape(
    problem: Quadratic, found: list[BestLearningRate], sizes: list[int], settings: dict[str, Any]
) -> "xr.Dataset":
    import xarray as xr

    rates, losses = [], []
    for best, size in zip(found, sizes, strict=True):
        limits = best.stability
        row = min(limits.usable, limits.noise_free_learning_rate) * SHARES
        at: dict[str, Any] = {"num_steps": best.num_steps, "record": [best.num_steps], "batch_size": size, **settings}
        losses.append([float(sgd_curve(problem, learning_rate=rate, **at)["loss"].values[-1]) for rate in row])
        rates.append(row)
    return xr.Dataset(
        {"learning_rate": (("batch_size", "point"), np.array(rates)), "loss": (("batch_size", "point"), losses)},
        coords={"batch_size": sizes},
    )
