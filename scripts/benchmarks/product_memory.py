"""How much memory do curvature products of a transformer need? Peaks beyond what model and data take.

The transformer has 22 million parameters. Each case runs in a process of its own: the model and the data are loaded,
the high-water mark of the resident set is reset, and the case runs; its peak is the mark minus the resident set before.
Linux only, for there the mark can be reset (``/proc/self/clear_refs``). Freed pages that the allocator keeps count, as
they do for a user.

* one product with the Hessian, with the Gauss-Newton matrix; a block of 8 with each;
* 30 steps of Lanczos with the Hessian, one start vector, basis kept, and the same without a basis.

The target is 4 GiB for the Lanczos run. Its basis takes ``30 x 4 n`` bytes, 2.5 GiB, of that.

    python scripts/benchmarks/product_memory.py --output product_memory.json
    python scripts/benchmarks/product_memory.py --model gpt --strategy kept_graph
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from environment import arguments, set_threads, write

TARGET = 4 * 2**30
STEPS = 30
CASES = (
    "gradient",
    "hessian product",
    "gauss_newton product",
    "hessian block of 8",
    "gauss_newton block of 8",
    "hessian lanczos",
    "hessian lanczos, no basis",
)


def resident(field: str) -> int:
    """Return a line of the process status in bytes: VmRSS now, VmHWM at most since the last reset."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}: this benchmark needs Linux")


def run_case(case: str, *, model: str, strategy: str | None) -> dict[str, Any]:
    """Run one case in this process."""
    import networks
    import torch

    import probes
    import spectra

    task = networks.NETWORKS[model]()
    next(iter(task.batches))
    kind = probes.GaussNewtonOperator if case.startswith("gauss_newton") else probes.HessianOperator
    options = task.operator_options() | ({} if strategy is None else {"strategy": strategy})
    n = sum(p.numel() for p in task.model.parameters() if p.requires_grad)
    generator = torch.Generator().manual_seed(0)
    columns = 8 if "block" in case else 1
    block = torch.randn(n, columns, generator=generator)
    spectra.slq(torch.eye(3).numpy(), num_probes=1, num_steps=1)  # imports
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    began = time.process_time()
    operator = kind(task.model, task.loss, task.data, check=False, **options)
    if case == "gradient":
        operator.gradient()
    elif "lanczos" in case:
        operator_like = spectra.as_operator(operator)
        spectra.lanczos(operator_like, block[:, 0], num_steps=STEPS, reorthogonalize=not case.endswith("no basis"))
    else:
        operator @ block
    return {
        "n": n,
        "model_and_data_bytes": before,
        "peak_bytes": resident("VmHWM") - before,
        "vectors": (resident("VmHWM") - before) / (4 * n),
        "seconds": time.process_time() - began,
        "strategy": getattr(operator, "product_strategy", None),
    }


def measure(case: str, *, model: str, strategy: str | None) -> dict[str, Any]:
    """Run one case in a process of its own."""
    command = [sys.executable, __file__, "--case", case, "--model", model]
    command += [] if strategy is None else ["--strategy", strategy]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        return {"failed": finished.stderr.strip().splitlines()[-1][:300]}
    return json.loads(finished.stdout.splitlines()[-1])


def main() -> None:
    """Measure, print and write."""
    parser = arguments(__doc__)
    parser.add_argument("--model", default="minilm", help="one of networks.py")
    parser.add_argument("--strategy", help="of the operators; automatic by default")
    parser.add_argument("--case", choices=CASES, help="run this one here and print JSON")
    options = parser.parse_args()
    set_threads(1)
    model = "gpt" if options.quick else options.model
    if options.case is not None:
        print(json.dumps(run_case(options.case, model=model, strategy=options.strategy)))
        return
    cases = {}
    for case in CASES:
        row = cases[case] = measure(case, model=model, strategy=options.strategy)
        if "failed" in row:
            print(f"{case:28s} failed: {row['failed']}")
            continue
        print(
            f"{case:28s}{row['peak_bytes'] / 2**30:7.2f} GiB beyond {row['model_and_data_bytes'] / 2**30:.2f} GiB; "
            f"{row['vectors']:6.1f} vectors of n = {row['n']}; {row['seconds']:7.1f} s  {row['strategy'] or ''}"
        )
    peak = cases["hessian lanczos"].get("peak_bytes")
    if peak is not None:
        print(f"target {TARGET / 2**30:.0f} GiB for {STEPS} steps: {'met' if peak < TARGET else 'MISSED'}")
    write({"benchmark": "product memory", "model": model, "target_bytes": TARGET, "cases": cases}, options.output)


if __name__ == "__main__":
    main()
