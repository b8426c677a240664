r"""The one-probe rule: a learning rate from curvature and noise after a few gentle steps.

With the stable limits at the probed state and :math:`\eta_{dir}`, the step that lowers the expected second-order loss
most (McCandlish et al. 2018, eq. 2.6 and 2.7), or 1/(2 lam) where that is undefined:

==================  ===================================  ==============================
optimizer           value                                interval
==================  ===================================  ==============================
Adam, AdamW         the limit                            value/4 .. 4 value
RMSprop             limit/2                              value/4 .. limit
SGD                 min(eta_dir, limit/2)                value/4 .. limit
heavy ball          (1 - beta) x the SGD value           value .. max(value, limit/8)
==================  ===================================  ==============================
"""

from dataclasses import dataclass

from spectra.recommend.limit import measured_limit
from spectra.recommend.optimizer import OptimizerSpec
from spectra.recommend.run import RunMeasurements
from spectra.recommend.stability import effective_noise_fraction

__all__ = ["OneProbe", "directional_step", "one_probe_rate"]


@dataclass(frozen=True, kw_only=True)
class OneProbe:
    """What the rule gives.

    Attributes
    ----------
    value, low, high : float
        Constant learning rate and the range of the table above; not finite where no direction is curved upwards.
    rule : str
        The rule in words.
    directional_step : float or None
        ``eta_dir``, where it is defined.
    """

    value: float
    low: float
    high: float
    rule: str
    directional_step: float | None


def directional_step(run: RunMeasurements, *, batch_size: float) -> float | None:
    """Return the step that lowers the expected loss most, or None unless its curvature is positive and resolved."""
    gradient = run.stages[-1].gradient
    if gradient is None:
        return None
    step = gradient.directional_step(effective_noise_fraction(batch_size, run.num_samples))
    resolved = gradient.gradient_curvature.is_resolved and gradient.squared_gradient.is_resolved
    finite = step.value > 0 and step.stderr < float("inf")
    return float(step.value) if resolved and finite else None


def one_probe_rate(run: RunMeasurements, *, optimizer: OptimizerSpec, batch_size: float) -> OneProbe:
    """Return the rate of the last measured stage.

    Parameters
    ----------
    run : RunMeasurements
        With at least one stage.
    optimizer : OptimizerSpec
        Whose learning rate is wanted.
    batch_size : float
        Effective batch size.
    """
    stage = run.stages[-1]
    setting = {"batch_size": batch_size, "num_samples": run.num_samples}
    limit = measured_limit(stage, optimizer=optimizer, **setting).value  # type: ignore[arg-type]
    step = directional_step(run, batch_size=batch_size)
    if optimizer.kind in ("adam", "adamw"):
        rule = "the stable limit in the space of the preconditioner"
        return OneProbe(value=limit, low=limit / 4, high=4 * limit, rule=rule, directional_step=step)
    if optimizer.is_adaptive:
        rule = "half the stable limit in the space of the preconditioner"
        return OneProbe(value=limit / 2, low=limit / 8, high=limit, rule=rule, directional_step=step)
    plain = measured_limit(stage, optimizer=OptimizerSpec(kind="sgd"), **setting).value  # type: ignore[arg-type]
    lam = float(stage.curvature[0]) if len(stage.curvature) else float("nan")
    candidate = step if step is not None else 1 / (2 * lam) if lam > 0 else float("inf")
    name = "the directional step" if step is not None else "1/(2 curvature), the directional step being undefined,"
    value = min(candidate, plain / 2)
    rule = f"{name} capped at half the stable limit"
    if candidate > plain / 2:
        rule = f"half the stable limit, which caps {name.rstrip(',')}"
    if optimizer.beta:
        value *= (1 - optimizer.beta) / (1 - optimizer.dampening)
        rule = f"(1 - momentum) x ({rule})"
        return OneProbe(value=value, low=value, high=max(value, limit / 8), rule=rule, directional_step=step)
    return OneProbe(value=value, low=value / 4, high=limit, rule=rule, directional_step=step)
