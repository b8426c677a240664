"""What runs of SGD say of a predicted loss curve: for how long it holds, and whether its noise was needed."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from spectra.provenance import provenance

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["LINEARIZATION_SCHEMA", "LINEARIZATION_SCHEMA_VERSION", "linearization_verdict"]

LINEARIZATION_SCHEMA = "spectra/linearization"
LINEARIZATION_SCHEMA_VERSION = 1

#: Chance that a prediction that is right is called off at any of the records, and at a single one.
LEVEL = 0.05
#: Half of the 95 % interval of the mean, in tolerances, up to which agreement means something (design choice).
WIDEST = 2.0
#: Differences below this many eps of the loss at the start are rounding (as in ``spectra.lanczos.BREAKDOWN``).
ROUNDING = 64.0
#: Recorded steps on which it must rest which of two curves is closer (design choice).
FEWEST = 3
#: Curves that differ by less than this share of the loss at the start everywhere are the same one.
SAME = 1e-6

Vector = npt.NDArray[np.float64]


def linearization_verdict(
    curve: "xr.Dataset", losses: Vector, *, tolerance: float, start: float, eps: float, num_samples: int, seed: int
) -> "xr.Dataset":
    r"""Return runs and prediction side by side, with a verdict.

    With :math:`d = \bar L - \hat L`, the standard error s of R runs, quantiles t of Student's distribution with R - 1
    degrees of freedom, K recorded steps and :math:`a = \text{tolerance} \, |\bar L| + 64 \, \text{eps} \, |L_0|`, a
    recorded step is

    - *off* where :math:`|d| > a + t_{1 - 0.05 / 2K} \, s`, or where the mean or the median run rose above the start
      and the prediction fell below it, both by more than the tolerance of the loss at the start;
    - *trusted* where :math:`|d| \le a` and :math:`t_{0.975} \, s \le 2 a`;
    - *unresolved* otherwise: the runs scatter too much to tell.

    Parameters
    ----------
    curve : xarray.Dataset
        From :func:`spectra.dynamics.sgd_curve`, with constant settings.
    losses : ndarray, shape (runs, steps)
        At the steps of the curve; not finite from where a run diverged.
    tolerance : float
        Relative deviation that is allowed.
    start : float
        Loss at the start, :math:`L_0`.
    eps : float
        Distance from 1 to the next number in the dtype that was trained in.
    num_samples, seed : int
        Recorded.

    Returns
    -------
    xarray.Dataset
        As of :func:`probes.check_linearization`.

    Notes
    -----
    The quantile for "off" is that of Bonferroni. Two standard errors of 4 runs at each of 20 records, if independent,
    would call 95 % of all exact predictions off. Derived here.
    """
    import xarray as xr

    predicted, free = curve["loss"].values, curve["noise_free_loss"].values
    mean, stderr, median = _statistics(losses)
    degrees, rounding = len(losses) - 1, ROUNDING * eps * abs(start)
    allowed = tolerance * np.abs(mean) + rounding
    scatter = _quantile(1 - LEVEL / 2, degrees) * stderr
    off, trusted = _judged(
        predicted,
        mean,
        allowed=allowed,
        scatter=scatter,
        most=allowed + _quantile(1 - LEVEL / (2 * len(mean)), degrees) * stderr,
    )
    above = start + tolerance * abs(start) + rounding
    off |= (np.fmax(mean, median) > above) & (predicted < start - tolerance * abs(start) - rounding)
    trusted &= ~off
    steps, epochs = curve["step"].values, curve["epoch"].values
    held = len(steps) if np.all(trusted) else int(np.argmin(trusted))
    until = (int(steps[held - 1]), float(epochs[held - 1])) if held else (0, 0.0)
    ended = "throughout" if held == len(steps) else "off" if np.any(off) else "unresolved"
    closer = _closer(predicted, free, mean, allowed=allowed, scatter=scatter, held=held, steps=steps, start=start)
    settings = ("closure", "learning_rate", "batch_size", "momentum", "nesterov", "problem")
    known = {**curve.attrs, **{name: curve[name].item() for name in ("learning_rate", "batch_size")}}
    off_step = int(steps[np.argmax(off)]) if np.any(off) else -1
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
        is_trusted_throughout=int(held == len(steps)),
        ended=ended,
        off_step=off_step,
        closer=closer,
        reason=_reason(steps, held, until, tolerance, off_step, closer),
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


def _statistics(losses: Vector) -> tuple[Vector, Vector, Vector]:
    """Return mean, standard error and median over the runs; infinite where a run (for the median: half) diverged."""
    finite = np.all(np.isfinite(losses), axis=0)
    held = np.where(finite, losses, 0.0)
    # squares of losses on the way to divergence do not overflow
    scale = np.maximum(np.max(np.abs(held), axis=0), np.finfo(np.float64).tiny)
    mean = np.where(finite, np.mean(held / scale, axis=0) * scale, np.inf)
    stderr = np.where(finite, np.std(held / scale, axis=0, ddof=1) / np.sqrt(len(losses)) * scale, np.inf)
    ordered = np.sort(np.where(np.isfinite(losses), losses, np.inf), axis=0)
    return mean, stderr, ordered[(len(losses) - 1) // 2]


def _quantile(probability: float, degrees: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def _judged(
    predicted: Vector, mean: Vector, *, allowed: Vector, scatter: Vector, most: Vector
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return where a prediction is off and where it is trusted; both infinite is agreement, one of them is not."""
    both = np.isfinite(predicted) & np.isfinite(mean)
    away = np.abs(np.where(both, predicted, 0.0) - np.where(both, mean, 0.0))
    same = predicted == mean
    off = np.where(both, away > most, ~same)
    trusted = np.where(both, (away <= allowed) & (scatter <= WIDEST * allowed), same)
    return off, trusted


def _relative(predicted: Vector, mean: Vector) -> Vector:
    same, infinite = predicted == mean, np.isinf(mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (predicted - mean) / np.abs(mean)
    return np.where(same, 0.0, np.where(infinite, -1.0, ratio))


def _closer(
    predicted: Vector,
    free: Vector,
    mean: Vector,
    *,
    allowed: Vector,
    scatter: Vector,
    held: int,
    steps: npt.NDArray[np.int64],
    start: float,
) -> str:
    """Name the curve that is closer, by squares over what is allowed, where the runs can tell the two apart."""
    finite = np.isfinite(predicted) & np.isfinite(free)
    if np.all(np.abs(predicted[finite] - free[finite]) <= SAME * abs(start)):
        return "same"
    at = (np.arange(len(mean)) < held) & (steps > 0) & finite & np.isfinite(mean)
    if np.sum(at) < FEWEST or not np.any(np.abs(predicted[at] - free[at]) > scatter[at]):
        return "undecided"
    with_noise, without = (np.sum(((line[at] - mean[at]) / allowed[at]) ** 2) for line in (predicted, free))
    return "predicted_loss" if with_noise < without else "noise_free_loss"


_CAVEATS = {
    "predicted_loss": "it is closer than the prediction without gradient noise, which supports the noise model too",
    "noise_free_loss": "the prediction without gradient noise is as close or closer, so that the runs support the "
    "linearization, not the noise model",
    "undecided": "the runs cannot tell it from the prediction without gradient noise, so that they support the "
    "linearization and say nothing about the noise model",
    "same": "the prediction without gradient noise is the same, so that the runs say nothing about the noise model",
}


def _reason(
    steps: npt.NDArray[np.int64], held: int, until: tuple[int, float], tolerance: float, off_step: int, closer: str
) -> str:
    last = f"{steps[-1]} step{'s' * int(steps[-1] != 1)}"
    if held == len(steps):
        whole = f"for all {last}" if steps[-1] != 1 else "for the one step"
        return f"the prediction stays within {tolerance:.0%} of the measured loss {whole}; {_CAVEATS[closer]}"
    first = int(steps[held])
    if off_step == first and held == 0:
        return f"the prediction is off by more than {tolerance:.0%} at the first recorded step, {first}"
    until_here = (
        f"the prediction stays within {tolerance:.0%} of the measured loss up to step {until[0]} (epoch {until[1]:.3g})"
        if held
        else "nothing was resolved"
    )
    if off_step == first:
        return f"{until_here} and is off by more at step {first}; up to there {_CAVEATS[closer]}"
    scattered = f"{until_here}; from step {first} on the runs scatter too much to tell"
    return scattered if off_step < 0 else f"{scattered}, and at step {off_step} it is off beyond their scatter"
