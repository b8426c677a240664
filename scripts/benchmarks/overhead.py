"""What does the quadrature cost beyond its products? Total time / (products x time of one product).

Cases: a dense matrix (NumPy, n = 4000, float64), and Hessians of two PyTorch networks of a million parameters (float32;
all 1797 digits), 10 probes and 30 steps with full reorthogonalization. The time of one product is that of the bare
block product (``a @ V``, ``operator @ V`` without `spectra`) divided by its columns, in whichever memory order of ``V``
is the faster. Repeats are interleaved: bare products, the whole call, bare products, ... Two clocks are recorded; on a
machine shared with other work the processor time (one thread) is the one to read.

``in_run`` is the total divided by the time spent inside the same call's products: what does not depend on how fast the
machine was at another moment. The profile lists where the rest went.

    python scripts/benchmarks/overhead.py --output overhead.json
    python scripts/benchmarks/overhead.py --case dense --repeats 9 --threads 2
"""

import cProfile
import pstats
import time
from collections.abc import Callable
from typing import Any

from environment import arguments, set_threads, write


class Clock:
    """Wall and processor time since its creation, or since it was resumed."""

    def __init__(self) -> None:
        self.wall = self.processor = 0.0
        self.resume()

    def resume(self) -> None:
        """Start a further interval."""
        self._since = (time.perf_counter(), time.process_time())

    def pause(self) -> "Clock":
        """Add the time since the last start."""
        wall, processor = time.perf_counter(), time.process_time()
        self.wall += wall - self._since[0]
        self.processor += processor - self._since[1]
        return self


def dense_case(quick: bool) -> tuple[Any, Any, Callable[[Any], Any]]:
    """Return matrix, template vector, and a function that reorders a block to columns (Fortran order)."""
    import numpy as np

    n = 500 if quick else 4000
    a = np.random.default_rng(0).standard_normal((n, n))
    return a + a.T, np.zeros(n), np.asfortranarray


def network_case(kind: str, quick: bool) -> tuple[Any, Any, Callable[[Any], Any]]:
    """Return the Hessian operator of a network of about a million parameters on the digits."""
    import torch
    from sklearn.datasets import load_digits

    import probes

    data = load_digits()
    images, labels = torch.tensor(data.data / 16.0, dtype=torch.float32), torch.tensor(data.target)
    if quick:
        images, labels = images[:64], labels[:64]
    torch.manual_seed(0)
    if kind == "mlp":
        width = 100 if quick else 960
        model = torch.nn.Sequential(
            torch.nn.Linear(64, width),
            torch.nn.Tanh(),
            torch.nn.Linear(width, width),
            torch.nn.Tanh(),
            torch.nn.Linear(width, 10),
        )
    else:
        width = 8 if quick else 96
        images = images.reshape(-1, 1, 8, 8)
        model = torch.nn.Sequential(
            torch.nn.Conv2d(1, width, 3, padding=1),
            torch.nn.GELU(),
            torch.nn.Conv2d(width, 2 * width, 3, padding=1, stride=2),
            torch.nn.GELU(),
            torch.nn.Conv2d(2 * width, 4 * width, 3, padding=1, stride=2),
            torch.nn.GELU(),
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
            torch.nn.Linear(4 * width, 384),
            torch.nn.GELU(),
            torch.nn.Linear(384, 10),
        )
    operator = probes.HessianOperator(model, torch.nn.CrossEntropyLoss(), (images, labels), check=False)
    return operator, operator.like, lambda block: block.T.contiguous().T


def time_bare(a: Any, blocks: list[Any], num: int) -> list[Clock]:
    """Time ``num`` bare block products for each memory order, interleaved."""
    clocks = [Clock().pause() for _ in blocks]
    for _ in range(num):
        for clock, block in zip(clocks, blocks, strict=True):
            clock.resume()
            a @ block
            clock.pause()
    return clocks


def profile(call: Callable[[], Any], *, num: int) -> list[dict[str, Any]]:
    """Return the functions in which a call spent most time itself."""
    profiler = cProfile.Profile()
    profiler.runcall(call)
    entries = pstats.Stats(profiler).stats.items()  # type: ignore[attr-defined]
    total = sum(values[2] for _, values in entries)
    rows = [
        {
            "function": f"{where[0].rpartition('site-packages/')[2]}:{where[1]} {where[2]}",
            "share": round(values[2] / total, 4),
            "calls": values[1],
        }
        for where, values in entries
    ]
    return sorted(rows, key=lambda row: -row["share"])[:num]


def measure(case: str, *, quick: bool, repeats: int, num_steps: int, num_probes: int) -> dict[str, Any]:
    """Run one case."""
    import numpy as np

    import spectra

    a, like, columns_first = dense_case(quick) if case == "dense" else network_case(case, quick)
    block = spectra.start_vectors(like, num=num_probes)
    plain = block * 1.0
    rows_first = plain.contiguous() if hasattr(plain, "contiguous") else np.ascontiguousarray(plain)
    blocks = [rows_first, columns_first(block)]
    inside = [0.0]

    def matmat(given: Any) -> Any:
        began = time.perf_counter()  # cheap; the processor clock is a system call, and would count as overhead
        product = a @ given
        inside[0] += time.perf_counter() - began
        return product

    operator = spectra.Operator(matmat, like=like, name=case)
    spectra.slq(operator, num_probes=num_probes, num_steps=2)  # imports, first use of BLAS
    time_bare(a, blocks, 1)
    num_bare = max(2, num_steps // 4)
    runs = []
    for _ in range(repeats):
        before = time_bare(a, blocks, num_bare)
        inside[0] = 0.0
        total = Clock()
        measured = spectra.slq(operator, num_probes=num_probes, num_steps=num_steps)
        total.pause()
        after = time_bare(a, blocks, num_bare)
        products = int(measured.attrs["num_matvecs"])
        run: dict[str, Any] = {"num_matvecs": products}
        for clock in ("wall", "processor"):
            bare = min(
                getattr(first, clock) + getattr(last, clock) for first, last in zip(before, after, strict=True)
            ) / (2 * num_bare * num_probes)
            run[clock] = {
                "total": getattr(total, clock),
                "product": bare,
                "ratio": getattr(total, clock) / (products * bare),
            }
        run["in_run"] = total.wall / inside[0]
        runs.append(run)
    summary = {clock: float(np.median([run[clock]["ratio"] for run in runs])) for clock in ("wall", "processor")}
    summary["in_run"] = float(np.median([run["in_run"] for run in runs]))
    return {
        "n": int(like.shape[0]),
        "dtype": str(like.dtype),
        "num_probes": num_probes,
        "num_steps": num_steps,
        "median": summary,
        "runs": runs,
        "profile": profile(lambda: spectra.slq(operator, num_probes=num_probes, num_steps=num_steps), num=12),
    }


def main() -> None:
    """Measure and write."""
    parser = arguments(__doc__)
    parser.add_argument("--case", choices=("dense", "mlp", "cnn"), action="append", help="all by default")
    parser.add_argument("--repeats", type=int, help="by default 7 (dense) and 1 (networks, minutes each)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--num-steps", type=int, default=30)
    parser.add_argument("--num-probes", type=int, default=10)
    options = parser.parse_args()
    set_threads(options.threads)
    cases = {}
    for case in options.case or ("dense", "mlp", "cnn"):
        repeats = options.repeats or (7 if case == "dense" and not options.quick else 1)
        cases[case] = measure(
            case, quick=options.quick, repeats=repeats, num_steps=options.num_steps, num_probes=options.num_probes
        )
    write({"benchmark": "overhead", "cases": cases}, options.output)


if __name__ == "__main__":
    main()
