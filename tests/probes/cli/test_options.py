"""What was typed of a batch or an optimizer, without a measurement."""

from pathlib import Path

import pytest

from probes.cli.recommend import _asked
from probes.cli.session import MeasurementRefused, MeasureOptions, effective_batch


def options(**given: object) -> MeasureOptions:
    names = ("batch_size", "micro_batch_size", "accumulation", "world_size", "optimizer", "kind", "clip_norm")
    nothing = dict.fromkeys((*names, "optimizer_state", "checkpoint", "device", "threads"))
    return MeasureOptions(**{**nothing, "plan": {}, "seed": 0, "quiet": True, "typed": {}, **given})


@pytest.mark.parametrize(("accumulation", "world_size", "size"), [(3, None, 63), (4, 2, 64), (100, None, 100)])
def test_the_default_batch_is_one_that_the_passes_divide(accumulation, world_size, size):
    pytest.importorskip("torch")
    batch = effective_batch(options(accumulation=accumulation, world_size=world_size), 256)
    assert batch.size == size
    assert batch.accumulation == accumulation


def test_an_optimizer_without_a_limit_is_refused_also_with_a_saved_state():
    common = {"typed": {}, "optimizer_state": Path("optimizer.pt"), "batch_size": 32, "quiet": True}
    with pytest.raises(MeasurementRefused) as refusal:
        _asked("Sophia", {}, common)
    assert refusal.value.check.claim == "the optimizer has a known stable limit"
    assert _asked("AdamW", {}, common) == (None, "adamw")
