"""From data or a task to an analysis, for ``spectra kernel``."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from probes.cli.kernel_data import KernelData, read_kernel_data
from probes.cli.session import say
from probes.cli.threads import limit_threads
from spectra.errors import ArgumentError, ShapeError, TaskError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["analyze_data"]

#: Samples of a task in its tangent kernel at most, unless --max-dense says otherwise.
TASK_SAMPLES = 1000


def analyze_data(
    name: str,
    *,
    kernel: str | None,
    parameters: dict[str, Any],
    ridges: list[float] | None,
    target_name: str | None,
    one_hot: bool,
    standardize: bool,
    center: bool,
    max_dense: int | None,
    of_task: dict[str, Any],
    threads: int | None,
    seed: int,
    quiet: bool,
    keep: Callable[["xr.DataTree"], None],
) -> "xr.DataTree":
    """Read, prepare and analyze; ``keep`` gets the result after each part.

    ``of_task`` holds the options that need a task: ``checkpoint``, ``device`` and ``outputs``, None where not typed.

    Raises
    ------
    ArgumentError, ShapeError, TaskError, OSError
        For what cannot be read, and options that do not fit it.
    """
    from spectra.kernel_summary import readable
    from spectra.kernels import analyze, resolve_kernel

    wrong = next((one for one in ridges or [] if not (math.isfinite(one) and one >= 0)), None)
    if wrong is not None:
        raise ArgumentError(f"--ridge must be finite and at least 0; got {wrong:g}")
    found = read_kernel_data(name, target=target_name, one_hot=one_hot)
    limit_threads(threads)
    if isinstance(found, KernelData):
        typed = [f"--{option}" for option, value in of_task.items() if value is not None]
        if typed:
            raise ArgumentError(f"{', '.join(typed)} {'needs' if len(typed) == 1 else 'need'} a task; {name} gave data")
        data = _prepared(found, kernel, parameters, standardize)
        data = _centered(data) if center else data
    else:
        if kernel is not None or parameters or standardize or one_hot or target_name is not None:
            raise ArgumentError("a task has a kernel, features and targets of its own; leave the options for data out")
        data = _of_task(found, name, max_samples=max_dense or TASK_SAMPLES, seed=seed, quiet=quiet, **of_task)
    source = data.features if data.gram is None else data.gram
    # Squared distances may overflow: the length scale is then refused, in words.
    with np.errstate(over="ignore"):
        function = None if data.gram is not None else resolve_kernel(kernel or "rbf", source, parameters)
    n = source.shape[0]
    said = "given as a matrix" if function is None else readable(str(function))
    say(f"{data.name}: {n} samples, kernel {said}{'' if data.target is not None else ', no targets'}", quiet=quiet)
    options: dict[str, Any] = {} if max_dense is None else {"max_dense": max_dense, "subsample": max_dense}
    return analyze(
        source,
        data.target,
        kernel=function,
        ridges=None if not ridges else np.array(ridges) / n,
        rng=seed,
        name=data.name,
        remarks=data.remarks,
        on_stage=keep,
        **options,
    )


def _prepared(data: KernelData, kernel: str | None, parameters: dict[str, Any], standardize: bool) -> KernelData:
    """Return samples as they were asked for."""
    if kernel == "precomputed" and data.gram is None:
        data = replace(data, gram=np.asarray(data.features), features=None)
    if data.features is not None and data.gram is not None:
        # The file holds both: the matrix counts where it was asked for.
        if kernel == "precomputed":
            data = replace(data, features=None)
        else:
            remark = "the features were taken; the Gram matrix beside them is that of --kernel precomputed"
            data = replace(data, gram=None, remarks=(*data.remarks, remark))
    if data.gram is not None:
        if data.gram.ndim != 2 or data.gram.shape[0] != data.gram.shape[1]:
            raise ShapeError(f"{data.name}: a Gram matrix must be square; got shape {tuple(data.gram.shape)}")
        if kernel not in (None, "precomputed") or parameters or standardize:
            raise ArgumentError(f"{data.name} holds a Gram matrix: there is no kernel to choose and nothing to scale")
        return data
    if not standardize:
        return data
    features = np.asarray(data.features, dtype=np.float64)
    spread = np.std(features, axis=0)
    scaled = (features - np.mean(features, axis=0)) / np.where(spread > 0, spread, 1.0)
    # Rounding of float32 data is that of float32, whatever they are computed in.
    scaled = scaled.astype(data.features.dtype)
    return replace(data, features=scaled, remarks=(*data.remarks, "features were scaled to mean 0 and variance 1"))


def _centered(data: KernelData) -> KernelData:
    """Return targets without their mean."""
    n = (data.features if data.gram is None else data.gram).shape[0]
    if data.target is None:
        return data
    target = np.asarray(data.target, dtype=np.float64)
    if target.shape[:1] != (n,):
        count = target.shape[0] if target.ndim else "no list of"
        raise ShapeError(f"{data.name}: there are {n} samples and {count} targets; their numbers must agree")
    return replace(
        data, target=target - np.mean(target, axis=0), remarks=(*data.remarks, "the mean of the targets was subtracted")
    )


def _of_task(
    found: Any,
    name: str,
    *,
    checkpoint: Path | None,
    device: str | None,
    outputs: str | None,
    max_samples: int,
    seed: int,
    quiet: bool,
) -> KernelData:
    """Return the tangent kernel of a task."""
    from probes.cli.kernel_task import tangent_kernel_data
    from probes.cli.session import prepare_task
    from probes.task import Task

    if not isinstance(found, Task):
        raise TaskError(
            f"{name} must return (X, y), an object or mapping with 'data' and 'target', an array, or a probes.Task; it "
            f"returned {type(found).__name__}."
        )
    prepare_task(found, checkpoint=checkpoint, device=device, quiet=quiet)
    return tangent_kernel_data(
        found, name=name, outputs=outputs or "trace", max_samples=max_samples, seed=seed, quiet=quiet
    )
