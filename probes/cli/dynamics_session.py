"""From a task or a file to a predicted and checked result, for ``spectra dynamics``."""

from typing import TYPE_CHECKING, Any

from probes.cli.progress import progress_bar
from probes.cli.session import DEFAULT_BATCH
from spectra.errors import ArgumentError

if TYPE_CHECKING:
    import xarray as xr

    from probes.task import Task
    from spectra.dynamics import Quadratic

__all__ = ["predict_from_file", "predict_from_task"]

#: Passes over the data, and fewest steps, of a budget that was not typed. Linearizations of ordinary networks were off
#: by more than 10 % from 0.9 to 5.3 epochs on (theory notes); this lies between.
EPOCHS, FEWEST_STEPS, STREAM_STEPS = 2, 20, 1000
#: Batch sizes beside the first one, relative to it.
BESIDE = (0.25, 4)
#: Learning rates that are trained at beside the best one, relative to it, and how close is the same.
CHECKED, SAME = (0.3, 0.1), 0.01
#: What can be set anew without the model, and is taken from the file otherwise.
SETTINGS = ("closure", "momentum", "nesterov")


def predict_from_file(name: str, *, settings: dict[str, Any], **given: Any) -> "xr.DataTree":
    """Predict anew from a file; what was not typed is as in the file, and its check stays."""
    from spectra.dynamics_tree import problem_of
    from spectra.errors import SchemaError
    from spectra.storage import load

    data = load(name)
    try:
        problem = problem_of(data)
    except SchemaError as error:
        raise SchemaError(f"{name}: {error}") from error
    _require_closure(settings.get("closure", "limit"), has_rows=problem.rows is not None)
    before = data.attrs if "num_steps" in data.attrs else {}
    sizes = given["sizes"] or ([int(size) for size in data["best"]["batch_size"].values] if before else None)
    # The same number of steps at another batch size is another number of epochs.
    steps = given["steps"] or (int(before["num_steps"]) if before and not given["sizes"] else None)
    old = {key: before[key] for key in SETTINGS if key in before}
    if "nesterov" in old:
        old["nesterov"] = bool(old["nesterov"])
    if settings.get("momentum") == 0 and "nesterov" not in settings:
        old["nesterov"] = False
    tree = _predicted(problem, settings=old | settings, rates=given["rates"], sizes=sizes, steps=steps)
    if "check" in getattr(data, "children", {}):
        tree["check"] = data["check"]
    origin = ("task", "description", "seed", "device")
    tree.attrs |= {key: data.attrs[key] for key in origin if key in data.attrs}
    return tree


def predict_from_task(
    task: "Task",
    name: str,
    *,
    runs: int,
    max_trace_products: int | None,
    seed: int,
    quiet: bool,
    keep: Any,
    **given: Any,
) -> "xr.DataTree":
    """Linearize, predict, and check with real runs; ``keep`` gets the result after each stage.

    Until the last one, the status of what it gets is ``"interrupted"``: what is left if nothing follows.
    """
    import time

    import xarray as xr

    from probes.linearization_check import check_linearization
    from probes.linearized import MAX_TRACE_PRODUCTS, linearize
    from spectra.dynamics.checks import checks_dataset
    from spectra.dynamics_tree import problem_tree

    begin = time.perf_counter()
    _require_settings(task.batches.num_samples, **given)
    about = {
        "task": name,
        "description": task.description,
        "seed": seed,
        "device": str(next(task.model.parameters()).device),
    }

    def kept(tree: xr.DataTree) -> xr.DataTree:
        tree.attrs |= {**about, "seconds": time.perf_counter() - begin}
        keep(tree)
        return tree

    with progress_bar(quiet=quiet) as progress:
        problem = linearize(
            task, max_trace_products=max_trace_products or MAX_TRACE_PRODUCTS, rng=seed, progress=progress
        )
        kept(problem_tree(problem))
        tree = _predicted(problem, **given)
        rates = _rates_to_check(tree, chosen=bool(given["rates"])) if runs else []
        tree.attrs["status"] = "interrupted" if rates else "complete"
        kept(tree)
        checks: list[xr.Dataset] = []
        for rate in rates:
            checks.append(
                check_linearization(
                    task,
                    problem,
                    learning_rate=rate,
                    batch_size=tree.attrs["batch_size"],
                    num_steps=tree.attrs["num_steps"],
                    num_runs=runs,
                    closure=tree.attrs["closure"],
                    momentum=tree.attrs["momentum"],
                    nesterov=bool(tree.attrs["nesterov"]),
                    rng=seed,
                    progress=progress,
                )
            )
            tree["check"] = xr.DataTree(checks_dataset(checks))
            tree.attrs["status"] = "interrupted" if len(checks) < len(rates) else "complete"
            kept(tree)
    return tree


def _predicted(
    problem: "Quadratic",
    *,
    settings: dict[str, Any],
    rates: list[float] | None,
    sizes: list[int] | None,
    steps: int | None,
) -> "xr.DataTree":
    from spectra.dynamics_tree import predict

    number = problem.num_samples
    sizes = sizes or _default_sizes(number)
    if steps is None:
        steps = STREAM_STEPS if number is None else max(FEWEST_STEPS, round(EPOCHS * number / sizes[0]))
    usual = "limit" if problem.kurtosis is None else "kurtosis"
    chosen: dict[str, Any] = {"closure": usual, **settings}
    return predict(problem, batch_sizes=sizes, learning_rates=rates, num_steps=steps, **chosen)


def _default_sizes(num_samples: int | None) -> list[int]:
    first = DEFAULT_BATCH if num_samples is None else min(DEFAULT_BATCH, num_samples)
    others = [int(factor * first) for factor in BESIDE]
    return [first, *(size for size in others if size >= 1 and (num_samples is None or size <= num_samples))]


def _require_settings(num_samples: int, *, settings: dict[str, Any], sizes: list[int] | None, **_: Any) -> None:
    """Refuse before the spectrum is measured what would be refused after it."""
    from spectra.dynamics import noise_factor
    from spectra.dynamics.method import require_method

    noise_factor(sizes or [1], num_samples=num_samples)
    closure = settings.get("closure", "limit")
    _require_closure(closure, has_rows=False)
    require_method(closure, momentum=settings.get("momentum", 0.0), nesterov=bool(settings.get("nesterov")))


def _require_closure(closure: str, *, has_rows: bool) -> None:
    """Refuse closures that follow the samples where there are none."""
    if closure in ("row_resolved", "exact") and not has_rows:
        raise ArgumentError(
            f"--closure {closure} follows the samples in the eigenbasis, which a network's spectrum does not have; "
            "use kurtosis, limit, gaussian or continuous"
        )


def _rates_to_check(tree: "xr.DataTree", *, chosen: bool) -> list[float]:
    """Return the best learning rate, then those of the curves that are predicted to be stable.

    Of the curves that were not chosen by the user, those at 0.3 and 0.1 of the best.
    """
    best = tree["best"].to_dataset().isel(batch_size=0)
    answer = float(best["learning_rate"])
    limit = min(float(best["closure_learning_rate"]), float(best["noise_free_learning_rate"]))
    shares = [float(rate) / answer for rate in tree["curves"].to_dataset()["learning_rate"].values]
    wanted = [share for share in shares if chosen or any(abs(share / other - 1) < SAME for other in CHECKED)]
    return [answer, *(share * answer for share in wanted if share * answer < limit and abs(share - 1) >= SAME)]
