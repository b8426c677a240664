"""Measure what a recommendation costs against a training of ten epochs of the same task.

For each example: the seconds of ``probes.recommend`` with its defaults, and of a training step (median of blocks before
and after it, so that a change of the machine's load shows as ``step_spread``). ``over_ten_epochs`` is the first over
ten epochs of such steps; the aim is a tenth of them, or 30 seconds, whichever is larger. ``sample_gradients`` is the
same cost in operations, a curvature product counting as two gradients.

    python scripts/benchmarks/recommend_cost.py --threads 2 --output recommend_cost.json
    python scripts/benchmarks/recommend_cost.py --device cuda
"""

import dataclasses
import math
import statistics
import time
from typing import Any

from environment import arguments, set_threads, write

BLOCK, NUM_BLOCKS = 10, 5
AIM_SECONDS, AIM_SHARE = 30.0, 0.1

#: Batch size of each example.
TASKS = {
    "digits_mlp": 64,
    "digits_cnn": 64,
    "digits_cnn_batchnorm": 64,
    "digits_resnet": 64,
    "digits_lstm": 64,
    "char_transformer": 16,
    "diabetes_mlp": 32,
    "minilm": 8,
    "gpt_25m": 64,
}
#: Only where asked for: fine-tuning takes minutes without a GPU, and so does a transformer of 25 million parameters.
LARGE = ("minilm", "gpt_25m")


def build(name: str, device: str) -> Any:
    """Return the task with its model on the device."""
    from probes import Task, examples

    if name == "minilm":
        task = examples.minilm(num_sentences=256, length=16, num_trained=2)
    elif name == "gpt_25m":
        import torch

        from probes.examples.characters import CharacterTransformer

        torch.manual_seed(0)
        data = examples.char_transformer(num_sequences=1200).data
        task = Task(CharacterTransformer(width=512, num_heads=8, num_layers=8), torch.nn.CrossEntropyLoss(), data)
    else:
        task = getattr(examples, name)()
    return dataclasses.replace(task, model=task.model.to(device))


def measure(name: str, *, optimizer: str, device: str) -> dict[str, Any]:
    """Time recommendation and training steps of one task."""
    import numpy as np
    import torch

    from probes import recommend
    from probes.parameters import select
    from probes.training import TrainingRun
    from spectra.recommend import OptimizerSpec

    batch_size = TASKS[name]
    task = build(name, device)
    samples = task.samples()
    trained = build(name, device)
    run = TrainingRun(
        trained,
        trained.model,
        list(select(trained.model, trained.parameters).values()),
        samples,
        optimizer=OptimizerSpec(kind=optimizer),
        batch_size=batch_size,
        learning_rate=1e-5,
        rng=np.random.default_rng(0),
    )

    def clock() -> float:
        if device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter()

    def blocks() -> list[float]:
        found = []
        for _ in range(NUM_BLOCKS):
            begin = clock()
            run.advance(BLOCK)
            found.append((clock() - begin) / BLOCK)
        return found

    run.advance(BLOCK)
    before = blocks()
    begin = clock()
    advice = recommend(task, optimizer=optimizer, batch_size=batch_size)
    seconds = clock() - begin
    after = blocks()
    step = statistics.median(before + after)
    ten_epochs = 10 * math.ceil(samples.num_samples / batch_size) * step
    attributes = advice.run.attributes
    row = {
        "task": name,
        "optimizer": optimizer,
        "batch_size": batch_size,
        "num_samples": samples.num_samples,
        "dimension": attributes["dimension"],
        "num_candidates": len(advice.candidates),
        "verdict": str(advice.verdict),
        "learning_rate": advice.learning_rate.value,
        "seconds": seconds,
        "step_seconds": step,
        "step_spread": statistics.median(after) / statistics.median(before),
        "ten_epochs_seconds": ten_epochs,
        "over_ten_epochs": seconds / ten_epochs,
        "in_steps": seconds / step,
        "sample_gradients": attributes["sample_gradients"],
        "is_within_aim": seconds <= max(AIM_SECONDS, AIM_SHARE * ten_epochs),
    }
    print(
        f"{name:22s} {optimizer:9s} b {batch_size:3d}: {seconds:7.1f} s = {row['in_steps']:6.0f} steps, ten epochs "
        f"{ten_epochs:7.1f} s; {row['num_candidates']} candidates, {row['verdict']} {row['learning_rate']:.3g}; "
        f"{'within' if row['is_within_aim'] else 'ABOVE'} the aim",
        flush=True,
    )
    return row


def main() -> None:
    """Measure, print and write."""
    parser = arguments(__doc__)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, help="these only; by default all but the large ones")
    parser.add_argument("--optimizers", nargs="+", default=["sgd", "adamw"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    set_threads(options.threads)
    names = options.tasks or [name for name in TASKS if name not in LARGE]
    if options.quick:
        names = names[:1]
    cells = [measure(name, optimizer=o, device=options.device) for name in names for o in options.optimizers]
    write({"benchmark": "cost of a recommendation", "device": options.device, "cells": cells}, options.output)


if __name__ == "__main__":
    main()
