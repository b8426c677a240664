"""Spectra of all weight matrices of MiniLM (22.7 million weights), beside WeightWatcher doing the same work.

The same work: power-law exponent, Marchenko-Pastur fit with spikes, and a randomized control of every matrix. Ours adds
a p-value and a comparison with Gaussian matrices; WeightWatcher can also give exponents alone, which is timed too. Runs
are interleaved, on one model in memory. WeightWatcher is no dependency: install it aside and name its folder::

    python -m venv /tmp/aside && /tmp/aside/bin/pip install weightwatcher
    python scripts/benchmarks/weights.py --weightwatcher /tmp/aside/lib/python3.11/site-packages
"""

import contextlib
import io
import logging
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

from environment import arguments, set_threads, write

set_threads(1)

import numpy as np  # noqa: E402
from torch import nn  # noqa: E402

from probes.examples.sentences import minilm  # noqa: E402
from probes.weights import weight_spectra  # noqa: E402


def _timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """Return seconds and result of a call that must print nothing."""
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = action()
    return time.perf_counter() - start, result


def _watcher(folder: str | None, model: nn.Module) -> Any:
    """Return WeightWatcher on a model; None if it does not import."""
    if folder is not None:
        # Last, so that both sides use the NumPy, SciPy and PyTorch of this environment.
        sys.path.append(folder)
    try:
        import weightwatcher
    except ImportError as error:
        print(f"weightwatcher is left out: {error}", file=sys.stderr)
        return None
    logging.getLogger("weightwatcher").setLevel(logging.ERROR)
    return weightwatcher.WeightWatcher(model=model)


def main() -> None:
    """Time both sides in turn."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--weightwatcher", metavar="FOLDER", help="site-packages with weightwatcher")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    model: nn.Module = minilm().model
    if options.quick:
        model = model.bert.encoder["layer"][0]  # type: ignore[union-attr,index,assignment]
    calls: dict[str, Callable[[], Any]] = {"ours": lambda: weight_spectra(model)}
    watcher = _watcher(options.weightwatcher, model)
    if watcher is not None:
        calls["weightwatcher, the same work"] = lambda: watcher.analyze(mp_fit=True, randomize=True)
        calls["weightwatcher, exponents alone"] = lambda: watcher.analyze()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    results: dict[str, Any] = {}
    for _ in range(1 if options.quick else options.repeats):
        for name, call in calls.items():
            took, results[name] = _timed(call)
            seconds[name].append(took)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ours = results["ours"]
    result: dict[str, Any] = {
        "matrices": ours.sizes["layer"],
        "weights": int(ours.attrs["num_parameters"]),
        "exponents given": int(np.isfinite(ours["exponent"].values).sum()),
        "seconds": seconds,
        "median seconds": medians,
        "times ours": {name: median / medians["ours"] for name, median in medians.items() if name != "ours"},
    }
    if watcher is not None:
        result["weightwatcher exponents"] = int(np.isfinite(results["weightwatcher, exponents alone"]["alpha"]).sum())
    write(result, options.output)


if __name__ == "__main__":
    main()
