"""The command at the end of the page: it repairs what failed, and repeats what was asked for."""

import json
import shlex

import pytest

from spectra.recommend import OptimizerSpec, advise
from tests.spectra.recommend.fabricated import fabricated_run


def options(command: str) -> dict[str, str]:
    """Return the options of a command line."""
    words = shlex.split(command)[3:]
    return dict(zip(words[::2], words[1::2], strict=True))


@pytest.mark.parametrize(
    ("changes", "option", "value"),
    [
        ({"residual": 0.2}, "--max-krylov-steps", "120"),
        ({"steps": (0,)}, "--probe-steps", "10,20"),
        ({"gradient": 0.0}, "--micro-batches", "48"),
        (
            {"requested_optimizer": "adma", "why_unsupported": "x", "optimizer": None, "steps": (0,)},
            "--optimizer",
            "adam",
        ),
        ({}, "--micro-batches", "48"),
    ],
)
def test_the_weakest_check_is_repaired(changes, option, value):
    assert options(advise(fabricated_run(**changes)).next_command)[option] == value


def test_more_micro_batches_bring_samples_for_them():
    asked = options(advise(fabricated_run(reference_size=32, noise_size=512)).next_command)
    assert int(asked["--micro-batches"]) * 16 <= int(asked["--noise-size"])
    assert "--reference-size" not in asked


def test_another_draw_where_the_data_are_used_up():
    assert options(advise(fabricated_run(num_samples=512)).next_command)["--seed"] == "1"


def test_constants_of_the_optimizer_and_clipping_are_repeated():
    run = fabricated_run(clip_norm=0.5)
    run.attrs["optimizer"] = OptimizerSpec(kind="adamw", beta2=0.95, weight_decay=0.1).to_json()
    asked = options(advise(run, schedule="linear").next_command)
    assert asked["--optimizer"] == "adamw"
    assert (asked["--beta2"], asked["--weight-decay"], asked["--clip-norm"]) == ("0.95", "0.1", "0.5")
    assert asked["--schedule"] == "linear"
    assert "--momentum" not in asked


def test_options_that_were_typed_are_repeated_word_for_word():
    typed = {"--checkpoint": "my model.pt", "--micro-batches": "24"}
    command = advise(fabricated_run(command_options=json.dumps(typed))).next_command
    asked = options(command)
    assert asked["--checkpoint"] == "my model.pt"
    assert asked["--micro-batches"] == "48"
    assert command.count("--micro-batches") == 1
