"""What real training says of the learning rate that was predicted to be best."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import stdtrit

__all__ = ["NOTHING", "AnswerVerdict", "answer_verdict", "described"]

#: Learning rates this close are the same one, printed in three digits.
SAME = 0.01
#: Share of a gain by which a measured one may differ from the predicted, and another rate may do better.
ALLOWED = 0.25
#: Half of the 95 % interval of the measured gain, as a share of the predicted one, beyond which it tells nothing.
WIDEST = 0.5
#: Predicted gains below this share of the loss at the start are none: rounding of losses in float32.
SMALLEST_GAIN = 1e-5
#: A best learning rate below this share of the critical one lies at the lower end of what is searched.
LOWEST = 1e-11

NOTHING = "nothing to gain at this state"
UNMOVED = "no learning rate is predicted to lower the loss by more than 0.001%"

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class AnswerVerdict:
    """A verdict and one sentence that explains it, without the full stop.

    Attributes
    ----------
    verdict : {"confirmed", "tentative", "withheld"}
    why : str
    """

    verdict: Literal["confirmed", "tentative", "withheld"]
    why: str


def answer_verdict(best: Row, check: dict[str, Any] | None, *, settings: dict[str, Any], start: float) -> AnswerVerdict:
    """Judge the best predicted learning rate by real training.

    - ``"confirmed"``: at the answer and at the smaller rates tried the prediction was nowhere off within the budget,
      and the loss that was lost is the predicted one within 25 % and the scatter of the runs, which is less than half
      of it;
    - ``"withheld"``: there is nothing to gain or nothing finite is predicted, training at the answer left its
      prediction, or it was worse than at another rate by more than 25 % of the gain there and the scatter;
    - ``"tentative"``: all else, and what was not compared with training.

    Parameters
    ----------
    best : dict
        ``learning_rate``, ``batch_size``, ``loss``, ``usable_learning_rate``, ``noise_free_learning_rate``.
    check : dict or None
        Settings, ``num_runs``, and ``rows``, one a learning rate: see :mod:`spectra.dynamics.checks`.
    settings : dict
        ``num_steps``, ``closure``, ``momentum`` and ``nesterov`` of the answer.
    start : float
        Loss at the start.

    Returns
    -------
    AnswerVerdict

    Notes
    -----
    The prediction of the *loss* may hold within 10 % where nothing happens; that of the gain does not. Derived here.

    Examples
    --------
    >>> best = {"learning_rate": 0.1, "batch_size": 4, "loss": 1.0, "usable_learning_rate": 1.0}
    >>> best["noise_free_learning_rate"] = 1.0
    >>> answer_verdict(best, None, settings={}, start=1.0).why
    'nothing to gain at this state, as no learning rate is predicted to lower the loss by more than 0.001%'
    >>> answer_verdict(best, None, settings={}, start=2.0).verdict
    'tentative'
    """
    rate, loss = best["learning_rate"], best["loss"]
    if not math.isfinite(loss):
        return AnswerVerdict(
            verdict="withheld", why="the predicted loss is not finite at any learning rate that was tried"
        )
    limit = min(best["usable_learning_rate"], best["noise_free_learning_rate"])
    if not start - loss > SMALLEST_GAIN * abs(start) or rate < LOWEST * limit:
        return AnswerVerdict(verdict="withheld", why=f"{NOTHING}, as {UNMOVED}")
    if check is None:
        return AnswerVerdict(verdict="tentative", why="not compared with real training")
    at = [row for row in check["rows"] if abs(row["learning_rate"] / rate - 1) < SAME]
    budget = settings["num_steps"]
    if not at or not _same_settings(check, best, settings) or check["num_steps"] < budget:
        return _elsewhere(check, rate, settings)
    return _at_the_answer(at[0], check["rows"], budget=budget, start=start, degrees=check["num_runs"] - 1)


def _same_settings(check: dict[str, Any], best: Row, settings: dict[str, Any]) -> bool:
    wanted = (best["batch_size"], settings["closure"], settings["momentum"], bool(settings["nesterov"]))
    return wanted == (check["batch_size"], check["closure"], check["momentum"], bool(check["nesterov"]))


def _at_the_answer(row: Row, rows: list[Row], *, budget: int, start: float, degrees: int) -> AnswerVerdict:
    """Return the verdict of training at the answer: that it is the best rate rests on the predictions of others too."""
    if _is_off(row, budget):
        return AnswerVerdict(verdict="withheld", why=row["reason"])
    quantile = float(stdtrit(degrees, 0.975))
    end, stderr = _measured(row, budget)
    for other in sorted(rows, key=lambda found: _measured(found, budget)[0]):
        reached, its_stderr = _measured(other, budget)
        scatter = quantile * math.hypot(stderr, its_stderr)
        if reached + ALLOWED * max(start - reached, 0.0) + scatter < end:
            return AnswerVerdict(
                verdict="withheld",
                why=f"the prediction is not refuted here, but training at learning rate {other['learning_rate']:.3g} "
                f"reached {reached:.3g}, and {end:.3g} at the best predicted",
            )
    predicted, measured = start - row["predicted_loss"][_place(row, budget)], start - end
    if quantile * stderr > WIDEST * predicted or measured <= 0:
        return AnswerVerdict(
            verdict="tentative",
            why=f"the gain is too small to tell: predicted {predicted:.3g}, measured {measured:.3g} +- "
            f"{quantile * stderr:.2g} (95%), of a loss of {start:.3g}",
        )
    if abs(measured - predicted) > ALLOWED * predicted + quantile * stderr:
        return AnswerVerdict(
            verdict="tentative",
            why=f"the loss stays near its prediction, but training gains {measured:.3g}, "
            f"and {predicted:.3g} was predicted",
        )
    failed = [other for other in rows if other["learning_rate"] < row["learning_rate"] and _is_off(other, budget)]
    if failed:
        rates = ", ".join(f"{other['learning_rate']:.3g}" for other in failed)
        return AnswerVerdict(
            verdict="tentative",
            why=f"the prediction holds here, but not at {rates}, so that another rate may be better",
        )
    if row["trusted_steps"] < budget:
        return AnswerVerdict(
            verdict="confirmed",
            why=f"the measured gain agrees with the predicted one, and no step is off; {row['reason']}",
        )
    return AnswerVerdict(verdict="confirmed", why=row["reason"])


def _place(row: Row, budget: int) -> int:
    """Return the last record within the budget."""
    return int(np.searchsorted(row["step"], budget, side="right")) - 1


def _measured(row: Row, budget: int) -> tuple[float, float]:
    """Return mean and standard error of the measured loss at the budget."""
    place = _place(row, budget)
    return row["loss"][place], row["stderr"][place]


def _is_off(row: Row, budget: int) -> bool:
    """Whether training left the prediction within the budget, beyond its scatter."""
    return bool(0 <= row["off_step"] <= budget)


def _elsewhere(check: dict[str, Any], rate: float, settings: dict[str, Any]) -> AnswerVerdict:
    """Return the verdict of a check at other settings: a failure nearby before the budget speaks against the answer.

    With momentum a learning rate acts like ``1 / (1 - momentum)`` times as much, which says what is near.
    """
    effective = rate / (1 - settings["momentum"])
    damped = 1 - (check["momentum"] or 0.0)
    nearest = min(check["rows"], key=lambda row: abs(math.log(row["learning_rate"] / damped / effective)))
    where = f"with {described(check)}, at learning rate {nearest['learning_rate']:.3g}, {nearest['reason']}"
    off = _is_off(nearest, settings["num_steps"])
    return AnswerVerdict(
        verdict="withheld" if off else "tentative", why=f"not compared with training at this setting; {where}"
    )


def described(check: dict[str, Any]) -> str:
    """Return the settings of a check in words."""
    words = [f"batch size {check['batch_size']}", f"closure {check['closure']}"]
    if check["momentum"]:
        words.append(f"{'Nesterov ' * bool(check['nesterov'])}momentum {check['momentum']:g}")
    return ", ".join(words)
