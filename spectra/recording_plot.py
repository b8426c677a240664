"""One picture of a training run: sharpness against what the learning rate allows, and gradient noise."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.errors import ArgumentError
from spectra.plot import figure
from spectra.recommend import OptimizerSpec, stable_limit
from spectra.recording import is_resolved

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["plot_noise_scale", "plot_rates", "plot_recording", "plot_sharpness"]

#: Okabe and Ito (2008), as in the other pictures.
CURVATURE, RATE, LIMIT, NOISE = "#009E73", "#D55E00", "#0072B2", "#CC79A7"

_WIDTH, _HEIGHT = 8.0, 3.1


def plot_recording(recording: "xr.Dataset") -> Any:
    r"""Draw sharpness against its threshold, learning rate against the stable limit, and noise scale, over the steps.

    Parameters
    ----------
    recording : xarray.Dataset
        From :func:`spectra.recording.read_recording`.

    Returns
    -------
    matplotlib.figure.Figure
        Three Axes above one another, with one axis of steps.

    Raises
    ------
    ArgumentError
        Nothing was measured.
    MissingExtraError
        Without matplotlib.
    """
    if recording.sizes["step"] == 0:
        raise ArgumentError("this recording holds no measurement yet, so there is nothing to plot")
    result, _ = figure(width=_WIDTH, height=3 * _HEIGHT)
    result.clear()
    top, middle, bottom = result.subplots(nrows=3, sharex=True)
    plot_sharpness(recording, ax=top)
    plot_rates(recording, ax=middle)
    plot_noise_scale(recording, ax=bottom)
    bottom.set_xlabel("training step")
    spec = optimizer_of(recording)
    label = "" if spec is None else f": {spec.label}, batch size {recording.attrs.get('batch_size')}"
    result.suptitle(f"{recording.attrs.get('task') or 'training run'}{label}")
    return result


def plot_sharpness(recording: "xr.Dataset", *, ax: Any) -> Any:
    r"""Draw sharpness with its residual, and the threshold above which the learning rate is unstable without noise.

    The threshold is 2/lr for SGD, 2 (1 + beta)/lr with momentum, and for Adam (1 + beta1)/(1 - beta1) times 2/lr, which
    is 38/lr, for the *preconditioned* sharpness (Cohen et al. 2021, arXiv 2103.00065; 2022, arXiv 2207.14484). Where
    momentum changes, as under a one-cycle schedule, it is drawn at the steps that were measured.
    """
    spec = optimizer_of(recording)
    name = "preconditioned_sharpness" if _any(recording, "preconditioned_sharpness") else "sharpness"
    steps, values = _finite(recording, name)
    residual = recording[f"{name}_residual"].values[np.isfinite(recording[name].values)]
    ax.errorbar(
        steps, values, yerr=residual, fmt="o-", markersize=3, linewidth=1, color=CURVATURE, label=name.replace("_", " ")
    )
    if spec is not None and not spec.why_unsupported:
        at, rates, factors = _threshold(recording, spec)
        if len(at):
            low, high = (f"{bound:.4g}" for bound in (np.min(factors), np.max(factors)))
            label = f"{low if low == high else f'{low} to {high}'} / learning rate"
            ax.plot(at, factors / rates, color=RATE, linestyle="--", label=label)
    ax.set_ylabel("curvature")
    _finish(ax, values, place="best")
    return ax


def plot_rates(recording: "xr.Dataset", *, ax: Any) -> Any:
    """Draw the learning rate in use, and the largest one that is stable in mean square at this batch size."""
    at, rates = _rates(recording)
    ax.plot(at, rates, color=RATE, linestyle="--", label="learning rate")
    steps, limits = _finite(recording, "max_stable_learning_rate")
    if len(steps):
        ax.plot(steps, limits, "o-", markersize=3, linewidth=1, color=LIMIT, label="largest stable learning rate")
    ax.set_ylabel("learning rate")
    _finish(ax, np.concatenate([rates, limits]), place="best")
    return ax


def plot_noise_scale(recording: "xr.Dataset", *, ax: Any) -> Any:
    """Draw the gradient noise scale with its standard error, and the batch size.

    Where ``||G||^2`` is within two standard errors of zero the noise scale has no number, and a triangle shows what it
    is at least: ``tr Sigma / (||G||^2 + 2 stderr)``. A larger reference set resolves more.
    """
    steps = recording["step"].values
    value, stderr = recording["noise_scale"].values, recording["noise_scale_stderr"].values
    squared, error = recording["squared_gradient"].values, recording["squared_gradient_stderr"].values
    trace = recording["trace_covariance"].values
    measured = np.isfinite(squared) & np.isfinite(error) & (trace > 0)
    resolved = is_resolved(recording)
    bounded = measured & ~resolved & (squared + 2 * error > 0)
    least = np.divide(trace, squared + 2 * error, out=np.full(len(steps), np.nan), where=bounded)
    if np.any(resolved):
        y = value[resolved]
        # On a logarithmic axis an error as large as the value would reach to minus infinity.
        low = np.minimum(stderr[resolved], 0.9 * y)
        style = {"fmt": "o", "markersize": 3, "linewidth": 1, "color": NOISE}
        ax.errorbar(steps[resolved], y, yerr=[low, stderr[resolved]], label="gradient noise scale", **style)
    if np.any(bounded):
        ax.plot(
            steps[bounded], least[bounded], "^", markersize=5, color=NOISE, alpha=0.5, label="at least (not resolved)"
        )
    batch_size = recording.attrs.get("batch_size")
    if batch_size:
        ax.axhline(batch_size, color="0.3", linestyle=":", label=f"batch size {batch_size}")
    ax.set_ylabel("noise scale (samples)")
    _finish(ax, np.concatenate([value[resolved], least[bounded]]), place="best")
    return ax


def optimizer_of(recording: "xr.Dataset") -> OptimizerSpec | None:
    """Return what optimizer was recorded, or None."""
    text = recording.attrs.get("optimizer", "")
    return OptimizerSpec.from_json(text) if text else None


def _any(recording: "xr.Dataset", name: str) -> bool:
    return bool(np.any(np.isfinite(recording[name].values)))


def _finite(recording: "xr.Dataset", name: str) -> tuple[np.ndarray, np.ndarray]:
    values = recording[name].values
    kept = np.isfinite(values)
    return recording["step"].values[kept], values[kept]


def _threshold(recording: "xr.Dataset", spec: OptimizerSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return steps, rates, and by what the threshold exceeds 1/rate at the momentum of each step."""
    measured, betas = _finite(recording, "momentum")
    at, rates = _rates(recording)
    if len(np.unique(betas)) <= 1:
        beta = betas[0] if len(betas) else spec.beta
        return at, rates, np.full(len(at), _factor(spec, beta))
    kept = np.isin(at, measured)
    found = dict(zip(measured.tolist(), betas.tolist(), strict=True))
    return at[kept], rates[kept], np.array([_factor(spec, found[step]) for step in at[kept].tolist()])


def _factor(spec: OptimizerSpec, beta: float) -> float:
    """Return the largest stable curvature times the learning rate, without noise, at a momentum."""
    changes: dict[str, Any] = {"momentum": beta, "weight_decay": 0.0}
    if spec.kind in ("sgd", "momentum", "nesterov") and beta == 0:
        changes |= {"kind": "sgd", "dampening": 0.0}
    elif spec.kind == "sgd":
        changes |= {"kind": "momentum"}
    return float(stable_limit(1.0, 0.0, batch_size=1, optimizer=replace(spec, **changes)))


def _rates(recording: "xr.Dataset") -> tuple[np.ndarray, np.ndarray]:
    """Return steps and positive learning rates, from both axes of the recording."""
    steps = np.concatenate([recording["step"].values, recording["training_step"].values])
    rates = np.concatenate([recording["learning_rate"].values, recording["step_learning_rate"].values])
    kept = np.isfinite(rates) & (rates > 0)
    steps, first = np.unique(steps[kept], return_index=True)
    return steps, rates[kept][first]


def _finish(ax: Any, values: np.ndarray, *, place: str) -> None:
    if len(values) and np.all(values > 0):
        ax.set_yscale("log")
    ax.grid(alpha=0.25)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize="small", loc=place)
