"""The batch of one optimizer step: micro-batch x accumulation x workers, and contradictions named."""

import numpy as np
import pytest

from probes.effective_batch import EffectiveBatch
from spectra.errors import ArgumentError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"size": 64}, (64, 1, 1)),
        ({"micro_batch_size": 8}, (8, 1, 1)),
        ({"micro_batch_size": 8, "accumulation": 4, "world_size": 2}, (8, 4, 2)),
        ({"size": 64, "micro_batch_size": 8}, (8, 8, 1)),
        ({"size": 64, "micro_batch_size": 8, "world_size": 4}, (8, 2, 4)),
        ({"size": 64, "accumulation": 4}, (16, 4, 1)),
        ({"size": 64, "world_size": 4}, (16, 1, 4)),
        ({"size": 64, "micro_batch_size": 8, "accumulation": 4, "world_size": 2}, (8, 4, 2)),
        ({"micro_batch_size": np.int64(8), "num_samples": 8}, (8, 1, 1)),
    ],
    ids=str,
)
def test_what_is_left_out_follows(given, expected):
    batch = EffectiveBatch.of(**given)
    assert (batch.micro_batch_size, batch.accumulation, batch.world_size) == expected
    assert batch.size == np.prod(expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "needs size, or micro_batch_size"),
        ({"accumulation": 4, "world_size": 2}, "needs size, or micro_batch_size"),
        ({"size": 64, "micro_batch_size": 8, "accumulation": 4}, "says 64 .* 8 x accumulation 4 x world_size 1 = 32"),
        ({"size": 64, "micro_batch_size": 64, "world_size": 2}, r"micro_batch_size 64 x world_size 2 = 128.*is 128"),
        ({"size": 65, "micro_batch_size": 8}, "nearest is 64 or 72"),
        ({"size": 10, "accumulation": 3, "world_size": 2}, "accumulation 3 x world_size 2 = 6.*nearest is 6 or 12"),
        ({"size": 0}, "size must be a whole number of at least 1; got 0"),
        ({"micro_batch_size": 2.5}, "micro_batch_size must be a whole number"),
        ({"micro_batch_size": 4, "world_size": -1}, "world_size must be"),
        ({"micro_batch_size": 4, "accumulation": True}, "accumulation must be"),
        (
            {"micro_batch_size": 64, "accumulation": 8, "world_size": 2, "num_samples": 1000},
            "batch size 1024 = 64 per pass x 8 accumulated x 2 workers, more than the 1000 samples",
        ),
    ],
)
def test_contradictions_are_named_with_their_numbers(given, message):
    with pytest.raises(ArgumentError, match=message):
        EffectiveBatch.of(**given)


def test_counts_are_checked_and_printed():
    with pytest.raises(ArgumentError, match="world_size"):
        EffectiveBatch(micro_batch_size=4, world_size=0)
    assert str(EffectiveBatch(micro_batch_size=32)) == "batch size 32"
    assert str(EffectiveBatch(micro_batch_size=8, accumulation=4)) == (
        "batch size 32 = 8 per pass x 4 accumulated x 1 worker"
    )
