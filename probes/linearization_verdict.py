"""What runs of SGD say of a predicted loss curve: for how long it holds, and whether its noise was needed."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from spectra.provenance import provenance

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["LINEARIZATION_SCHEMA", "LINEARIZATION_SCHEMA_VERSION", "RESOLVED", "linearization_verdict"]

LINEARIZATION_SCHEMA = "spectra/linearization"
LINEARIZATION_SCHEMA_VERSION = 1

#: Standard errors that a difference must exceed to count (design choice: the usual two).
RESOLVED = 2.0

Vector = npt.NDArray[np.float64]


def linearization_verdict(
    curve: "xr.Dataset", losses: Vector, *, tolerance: float, num_samples: int, seed: int
) -> "xr.Dataset":
    r"""Return runs and prediction side by side, with a verdict.

    Parameters
    ----------
    curve : xarray.Dataset
        From :func:`spectra.dynamics.sgd_curve`, with constant settings.
    losses : ndarray, shape (runs, steps)
        At the steps of the curve; not finite from where a run diverged.
    tolerance : float
        Relative deviation that is allowed: a step counts as off where
        :math:`|\hat L - \bar L| > \text{tolerance}\,|\bar L| + 2\,\text{stderr}`.
    num_samples, seed : int
        Recorded.

    Returns
    -------
    xarray.Dataset
        As of :func:`probes.check_linearization`.
    """
    import xarray as xr

    predicted, free = curve["loss"].values, curve["noise_free_loss"].values
    finite = np.all(np.isfinite(losses), axis=0)
    held = np.where(finite, losses, 0.0)
    # squares of losses on the way to divergence do not overflow
    scale = np.maximum(np.max(np.abs(held), axis=0), np.finfo(np.float64).tiny)
    mean = np.where(finite, np.mean(held / scale, axis=0) * scale, np.inf)
    stderr = np.where(finite, np.std(held / scale, axis=0, ddof=1) / np.sqrt(len(losses)) * scale, np.inf)
    allowed = tolerance * np.abs(np.where(finite, mean, 0.0)) + RESOLVED * np.where(finite, stderr, 0.0)
    exceeded = np.where(finite, _off(predicted, mean) > allowed, np.isfinite(predicted))
    steps, epochs = curve["step"].values, curve["epoch"].values
    trusted = int(np.argmax(exceeded)) if np.any(exceeded) else len(steps)
    until = (int(steps[trusted - 1]), float(epochs[trusted - 1])) if trusted else (0, 0.0)
    closer = _closer(predicted, free, mean, stderr, trusted)
    settings = ("closure", "learning_rate", "batch_size", "momentum", "nesterov", "problem")
    known = {**curve.attrs, **{name: curve[name].item() for name in ("learning_rate", "batch_size")}}
    attrs = provenance(
        schema=LINEARIZATION_SCHEMA,
        schema_version=LINEARIZATION_SCHEMA_VERSION,
        **{name: known[name] for name in settings} | {"nesterov": int(known["nesterov"])},
        critical_learning_rate=known["critical_learning_rate"],
        num_samples=num_samples,
        num_runs=len(losses),
        seed=seed,
        tolerance=tolerance,
        trusted_steps=until[0],
        trusted_epochs=until[1],
        is_trusted_throughout=int(trusted == len(steps)),
        closer=closer,
        reason=_reason(steps, trusted, until, tolerance, closer),
    )
    return xr.Dataset(
        {
            "loss": ("step", mean, {"long_name": "mean over the runs of the training loss"}),
            "stderr": ("step", stderr, {"long_name": "standard error of the mean"}),
            "run_loss": (("run", "step"), losses, {"long_name": "training loss of each run"}),
            "predicted_loss": ("step", predicted, {"long_name": "expected loss of the quadratic model"}),
            "noise_free_loss": ("step", free, {"long_name": "loss of the quadratic model without gradient noise"}),
            "deviation": ("step", _relative(predicted, mean), {"long_name": "predicted over measured loss, minus 1"}),
            "noise_free_deviation": (
                "step",
                _relative(free, mean),
                {"long_name": "without noise over measured, minus 1"},
            ),
        },
        coords={"step": steps, "epoch": ("step", epochs), "run": np.arange(len(losses))},
        attrs=attrs,
    )


def _off(predicted: Vector, mean: Vector) -> Vector:
    """Return how far a curve is off; 0 where both are infinite."""
    same = predicted == mean
    return np.where(same, 0.0, np.abs(np.where(same, 0.0, predicted) - np.where(same, 0.0, mean)))


def _relative(predicted: Vector, mean: Vector) -> Vector:
    same, infinite = predicted == mean, np.isinf(mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (predicted - mean) / np.abs(mean)
    return np.where(same, 0.0, np.where(infinite, -1.0, ratio))


def _closer(predicted: Vector, free: Vector, mean: Vector, stderr: Vector, trusted: int) -> str:
    """Name the curve that is closer in the mean of squared relative deviations, where the runs can tell them apart."""
    at = (np.arange(len(mean)) < trusted) & np.isfinite(mean) & np.isfinite(predicted) & (mean != 0)
    if not np.any(np.abs(predicted[at] - free[at]) > RESOLVED * stderr[at]):
        return "undecided"
    with_noise, without = (np.sum(_relative(curve, mean)[at] ** 2) for curve in (predicted, free))
    return "predicted_loss" if with_noise < without else "noise_free_loss"


_CAVEATS = {
    "predicted_loss": "it is closer than the prediction without gradient noise, which supports the noise model too",
    "noise_free_loss": "the prediction without gradient noise is as close or closer, so that the runs support the "
    "linearization, not the noise model",
    "undecided": "the prediction without gradient noise differs by less than the runs scatter, so that they support "
    "the linearization and say nothing about the noise model",
}


def _reason(steps: npt.NDArray[np.int64], trusted: int, until: tuple[int, float], tolerance: float, closer: str) -> str:
    if trusted == 0:
        return f"the prediction is off by more than {tolerance:.0%} at the first recorded step, {steps[0]}"
    if trusted == len(steps):
        text = f"the prediction stays within {tolerance:.0%} of the measured loss for all {steps[-1]} steps"
    else:
        text = (
            f"the prediction stays within {tolerance:.0%} of the measured loss up to step {until[0]} (epoch "
            f"{until[1]:.3g}) and is off by more at step {steps[trusted]}"
        )
    return f"{text}; up to there {_CAVEATS[closer]}"
