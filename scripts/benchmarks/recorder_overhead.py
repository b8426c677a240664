"""What does recording sharpness and noise scale every 100 steps cost? Time and memory against the training step.

Three copies of the same training (AdamW, shuffled batches of the examples) run in turn, 100 steps each: two bare, and
one with a recorder, whose clock stands still meanwhile. ``time_ratio`` is the processor time of all blocks with the
recorder over the mean of the bare ones; ``control_ratio``, one bare copy over the other, shows how far such a ratio is
off by chance. ``reported_overhead`` is what the recorder itself says, in wall time. The first search, from nothing,
runs before training and is given apart. The budget is 3 %; what does not fit is postponed, so that ``num_measured`` of
``num_planned`` measurements took place. Each task runs with the defaults, and with fewer samples in four parts.

Memory is what PyTorch allocates, from its own profiler: parameters, gradients, moments and the largest sum of all that
is alive during a step (``step_peak_bytes``) or a measurement (``measurement_peak_bytes``); target 1.3.

On a GPU times are wall times of finished kernels, and memory is that of PyTorch's allocator on the device.

    python scripts/benchmarks/recorder_overhead.py --output recorder_overhead.json
    python scripts/benchmarks/recorder_overhead.py --device cuda
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from environment import arguments, set_threads, write

EVERY = 100
#: Batch size of training, blocks of 100 steps in each of the two copies, samples of the smaller reference set.
TASKS = {
    "digits_mlp": (256, 100, 32),
    "digits_cnn": (256, 12, 32),
    "char_transformer": (64, 4, 12),
    "gpt_25m": (64, 4, 16),
}
#: Without a GPU this one takes an hour.
LARGE = ("gpt_25m",)


class PausableClock:
    """Seconds of the blocks in which it runs."""

    def __init__(self) -> None:
        self._passed, self._since = 0.0, None

    def __call__(self) -> float:
        """Return seconds."""
        return self._passed + (0.0 if self._since is None else time.perf_counter() - self._since)

    def run(self) -> None:
        """Go on."""
        self._since = time.perf_counter()

    def pause(self) -> None:
        """Stand still."""
        self._passed, self._since = self(), None


def peak_bytes(act: Callable[[], object], device: str) -> int:
    """Return the largest sum of what is allocated and not freed while ``act`` runs, beyond what was there before."""
    import torch

    if device != "cpu":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        act()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        act()
    events = profiler.profiler.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    held = peak = 0
    for _, change in changes:
        held += change
        peak = max(peak, held)
    return peak


class Training:
    """A copy of an example in training."""

    def __init__(self, name: str, batch_size: int, device: str) -> None:
        import numpy as np
        import torch
        from recommend_cost import build

        from probes.training import shuffled_batches

        self.task = build(name, device)
        self.task.model.train()
        self.optimizer = torch.optim.AdamW(self.task.model.parameters(), lr=1e-3)
        self.batches = shuffled_batches(self.task.samples(), batch_size=batch_size, rng=np.random.default_rng(0))

    def step(self, after: Callable[[Any], object] | None = None) -> None:
        """Take a step."""
        batch = next(self.batches)
        self.optimizer.zero_grad()
        loss = self.task.loss(self.task.model(batch.inputs), batch.target)
        loss.backward()
        self.optimizer.step()
        if after is not None:
            after(loss)

    def persistent_bytes(self, *, gradients: bool) -> int:
        """Return the bytes of parameters, moments and, if asked for, gradients."""
        import torch

        parameters = sum(p.numel() * p.element_size() for p in self.task.model.parameters())
        moments = sum(
            value.numel() * value.element_size()
            for state in self.optimizer.state.values()
            for value in state.values()
            if isinstance(value, torch.Tensor)
        )
        return parameters * (1 + gradients) + moments


def seconds_of(device: str) -> float:
    """Return processor time; on a GPU wall time, when all its kernels have ended."""
    import torch

    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def measure(
    name: str, *, batch_size: int, num_blocks: int, smaller: dict[str, int], folder: Path, device: str
) -> dict[str, Any]:
    """Train both copies in turn and compare."""
    from probes import Recorder
    from spectra.recording import read_recording

    bare, control, recorded = (Training(name, batch_size, device) for _ in range(3))
    clock = PausableClock()
    for training in (bare, control, recorded):
        for _ in range(5):
            training.step()
    path = folder / f"{name}-{len(smaller)}.zarr"
    options: dict[str, Any] = {"every": EVERY, "quantities": ("sharpness", "noise_scale"), "clock": clock}
    clock.run()
    recorder = Recorder(
        recorded.task,
        path,
        optimizer=recorded.optimizer,
        batch_size=batch_size,
        **smaller,
        **options,
    )
    recorder.measure()
    clock.pause()
    seconds = {"bare": 0.0, "control": 0.0, "recorded": 0.0}
    for _ in range(num_blocks):
        for label, training in (("bare", bare), ("control", control)):
            begin = seconds_of(device)
            for _ in range(EVERY):
                training.step()
            seconds[label] += seconds_of(device) - begin
        begin = seconds_of(device)
        clock.run()
        for _ in range(EVERY):
            recorded.step(recorder.step)
        clock.pause()
        seconds["recorded"] += seconds_of(device) - begin
    recorded.optimizer.zero_grad()
    step_peak = recorded.persistent_bytes(gradients=False) + peak_bytes(recorded.step, device)
    measurement_peak = recorded.persistent_bytes(gradients=True) + peak_bytes(recorder.measure, device)
    recorder.close()
    found = read_recording(path)
    during = found.isel(step=(found["step"] >= 1) & (found["step"] <= num_blocks * EVERY)).isel(step=slice(0, -1))
    num_steps = num_blocks * EVERY
    step_seconds = (seconds["bare"] + seconds["control"]) / (2 * num_steps)
    row = {
        "task": name,
        "batch_size": batch_size,
        "reference_size": found.attrs["reference_size"],
        "num_micro_batches": found.attrs["num_micro_batches"],
        "num_steps": num_steps,
        "step_seconds": step_seconds,
        "time_ratio": seconds["recorded"] / (step_seconds * num_steps),
        "control_ratio": seconds["control"] / seconds["bare"],
        "reported_overhead": found.attrs["overhead"],
        "num_planned": num_steps // EVERY + 1,
        "num_measured": during.sizes["step"],
        "median_interval": float(during["step"].diff("step").median()) if during.sizes["step"] > 1 else None,
        "measurement_in_steps": float(during["cost_seconds"].median()) / step_seconds,
        "products_in_median": float(during["num_products"].median()),
        "relative_residual_in_median": float((during["sharpness_residual"] / during["sharpness"]).median()),
        "seconds_before_training": found.attrs["setup_seconds"],
        "step_peak_bytes": step_peak,
        "measurement_peak_bytes": measurement_peak,
        "memory_ratio": measurement_peak / step_peak,
    }
    print(
        f"{name:18s} reference {row['reference_size']:4d} of batch {batch_size:4d}: time {row['time_ratio']:.4f}, "
        f"control {row['control_ratio']:.4f}, "
        f"reported {row['reported_overhead']:.4f}; {row['num_measured']}/{row['num_planned']} measured, one takes "
        f"{row['measurement_in_steps']:.2f} steps; memory {row['memory_ratio']:.2f}",
        flush=True,
    )
    return row


def main() -> None:
    """Measure, print and write."""
    parser = arguments(__doc__)
    parser.add_argument("--task", choices=TASKS, help="this one only")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    set_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        cells = [
            measure(
                name,
                batch_size=batch_size,
                num_blocks=1 if options.quick else num_blocks,
                smaller=smaller,
                folder=Path(folder),
                device=options.device,
            )
            for name, (batch_size, num_blocks, small) in TASKS.items()
            for smaller in ({}, {"reference_size": small, "num_micro_batches": 4})
            if name == options.task
            or (
                options.task is None
                and (options.device != "cpu" or name not in LARGE)
                and not (options.quick and name == "char_transformer")
            )
        ]
    write(
        {"benchmark": "recorder overhead", "device": options.device, "every": EVERY, "budget": 0.03, "cells": cells},
        options.output,
    )


if __name__ == "__main__":
    main()
