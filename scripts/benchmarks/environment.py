"""What a benchmark ran on, and its JSON file. Not a benchmark itself: run on its own it prints the environment.

Imports nothing heavy, so that a benchmark can fix the number of threads before NumPy and PyTorch read it::

    from environment import set_threads

    set_threads(1)
    import numpy
"""

import argparse
import importlib
import importlib.util
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def set_threads(num: int) -> None:
    """Fix the number of threads of BLAS, OpenMP and PyTorch; call it before they are imported.

    Raises
    ------
    RuntimeError
        If NumPy has been imported already, for it would not notice.
    """
    if "numpy" in sys.modules:
        raise RuntimeError("set_threads must be called before NumPy is imported")
    for variable in _THREAD_VARIABLES:
        os.environ[variable] = str(num)
    if importlib.util.find_spec("torch") is not None:
        importlib.import_module("torch").set_num_threads(num)


def environment() -> dict[str, Any]:
    """Return processor, threads and versions."""
    packages = ("numpy", "scipy", "torch", "xarray", "sklearn", "jax")
    versions = {name: str(sys.modules[name].__version__) for name in packages if name in sys.modules}
    threads = {variable: os.environ.get(variable) for variable in _THREAD_VARIABLES}
    if "torch" in sys.modules:
        threads["torch"] = sys.modules["torch"].get_num_threads()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "platform": platform.platform(),
        "processor": _processor(),
        "cpu_count": os.cpu_count(),
        "openblas_coretype": os.environ.get("OPENBLAS_CORETYPE"),
        "python": platform.python_version(),
        "versions": versions,
        "threads": threads,
    }


def write(result: dict[str, Any], output: Path | None) -> None:
    """Write a result with its environment as JSON, to a file or else to stdout."""
    text = json.dumps({"environment": environment(), **result}, indent=1, allow_nan=False)
    if output is None:
        print(text)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text + "\n")
    print(f"wrote {output}", file=sys.stderr)


def arguments(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--output", type=Path, help="JSON file; by default the result goes to stdout")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    return parser


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    print(json.dumps(environment(), indent=1))
