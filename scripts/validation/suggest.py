"""What is recommended for a cell, and what it cost."""

import time

import torch

import probes
from scripts.validation.cells import Cell
from spectra.recommend import advise

__all__ = ["recommendation"]


def recommendation(cell: Cell) -> dict:
    """Measure the task of a cell, whatever its schedule, and apply the rules.

    Returns
    -------
    dict
        ``verdict``, ``reason``, ``limited_by``; constant rates by rule, ``self_consistent`` and ``one_probe`` (None
        where undefined), also where the verdict withholds them; ``peak_factor`` of linear decay; ``low`` and ``high``
        of the constant rate; ``candidates`` with rate, consistency and loss; ``seconds`` of processor time,
        ``epochs``, the cost in gradients of all samples.
    """
    torch.set_num_threads(1)
    started = time.process_time()
    run = probes.measure_run(cell.build(), optimizer=cell.optimizer, batch_size=cell.batch_size, rng=cell.seed)
    seconds = time.process_time() - started
    constant = advise(run).learning_rate
    linear = advise(run, schedule="linear").learning_rate
    rate, peak = constant.evidence["unwithheld_value"], linear.evidence["unwithheld_value"]
    return {
        "verdict": str(constant.verdict),
        "reason": constant.reason,
        "limited_by": constant.evidence.get("limited_by"),
        "self_consistent": rate,
        "one_probe": constant.evidence["one_probe"],
        "peak_factor": peak / rate if rate and peak else None,  # type: ignore[operator]
        "low": constant.low,
        "high": constant.high,
        "seconds": seconds,
        "epochs": run.attrs["sample_gradients"] / run.attrs["num_samples"],
        "num_candidates": int(run["candidates"].sizes["candidate"]),
    }
