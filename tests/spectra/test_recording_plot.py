"""What the picture of a recording shows, read from its artists."""

import numpy as np
import pytest

from spectra.errors import ArgumentError
from spectra.recommend import OptimizerSpec
from tests.cases import optional
from tests.spectra.recordings import recording

optional("matplotlib")

from spectra.recording_plot import plot_recording  # noqa: E402


def labels(ax):
    return ax.get_legend_handles_labels()[1]


@pytest.mark.parametrize(
    ("kind", "factor"),
    [("sgd", 2.0), ("momentum", 3.8), ("nesterov", 2 * 1.9 / 2.8), ("adamw", 38.0), ("rmsprop", 2.0)],
)
def test_the_threshold_is_that_of_the_optimizer(kind, factor):
    found = recording(optimizer=OptimizerSpec(kind=kind, weight_decay=0.1))
    if kind in ("adamw", "rmsprop"):
        found["preconditioned_sharpness"] = found["sharpness"]
        found["preconditioned_sharpness_residual"] = found["sharpness_residual"]
    top = plot_recording(found).axes[0]
    line = next(line for line in top.get_lines() if "/ learning rate" in str(line.get_label()))
    np.testing.assert_allclose(line.get_ydata(), factor / 0.01)
    assert ("preconditioned sharpness" in labels(top)) == (kind in ("adamw", "rmsprop"))


@pytest.mark.parametrize("kind", ["momentum", "sgd", "adamw"])
def test_the_threshold_follows_a_momentum_that_changes(kind):
    found = recording(optimizer=OptimizerSpec(kind=kind, dampening=0.5 if kind == "momentum" else 0.0))
    betas = np.array([0.0, 0.5, 0.9, 0.5, 0.0])
    found["momentum"] = ("step", betas)
    found["learning_rate"] = ("step", 0.01 * np.arange(1, 6))
    (line,) = [line for line in plot_recording(found).axes[0].get_lines() if "/ learning rate" in str(line.get_label())]
    if kind == "adamw":
        factors = 2 * (1 + betas) / (1 - betas)
    else:
        dampening = np.where(betas > 0, 0.5, 0.0) if kind == "momentum" else 0.0
        factors = 2 * (1 + betas) / (1 - dampening)
    assert line.get_xdata().tolist() == found["step"].values.tolist()
    np.testing.assert_allclose(line.get_ydata(), factors / found["learning_rate"].values)
    assert line.get_label() == f"{min(factors):.4g} to {max(factors):.4g} / learning rate"


def test_a_momentum_that_stays_takes_the_place_of_the_one_first_described():
    found = recording(optimizer=OptimizerSpec(kind="momentum", momentum=0.9))
    found["momentum"] = ("step", np.full(5, 0.5))
    (line,) = [line for line in plot_recording(found).axes[0].get_lines() if "/ learning rate" in str(line.get_label())]
    assert len(line.get_xdata()) == 15  # also at steps that were noted only
    np.testing.assert_allclose(line.get_ydata(), 3.0 / 0.01)


def test_what_is_not_resolved_is_shown_as_a_lower_bound():
    bottom = plot_recording(recording()).axes[2]
    (bound,) = [line for line in bottom.get_lines() if line.get_label() == "at least (not resolved)"]
    assert bound.get_xdata().tolist() == [500]
    assert bound.get_ydata() == pytest.approx([500 / 0.3])
    assert {"gradient noise scale", "batch size 32"} <= set(labels(bottom))


def test_limits_and_rates_are_drawn_where_they_are_finite():
    found = recording()
    found["max_stable_learning_rate"][0] = np.inf
    middle = plot_recording(found).axes[1]
    (line,) = [line for line in middle.get_lines() if line.get_label() == "largest stable learning rate"]
    assert line.get_xdata().tolist() == [200, 300, 400, 500]


def test_an_unknown_optimizer_has_no_threshold():
    found = recording()
    found.attrs["optimizer"] = ""
    assert labels(plot_recording(found).axes[0]) == ["sharpness"]
    with pytest.raises(ArgumentError, match="holds no measurement yet"):
        plot_recording(recording(0))
