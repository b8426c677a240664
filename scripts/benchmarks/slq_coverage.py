"""Does the interval of an integral against the spectral measure hold the truth? Coverage and error on seven spectra.

Probes are uniform on the sphere, so that nothing depends on the eigenvectors: each spectrum is that of a diagonal
operator. One of them belongs to the Gauss-Newton matrix of a small network trained on handwritten digits. For every
function and number of probes the JSON has the coverage of the 95 % interval among the runs that give one, the share of
these, the rms error over ``mean |f|``, and the same without the summation of resolved eigenvalues ("plain").

    python scripts/benchmarks/slq_coverage.py --output slq_coverage.json
    python scripts/benchmarks/slq_coverage.py --num-seeds 400 --only spikes
"""

from collections.abc import Callable
from typing import Any

from environment import arguments, set_threads, write

Function = Callable[[Any], Any]


def gauss_newton_eigenvalues() -> Any:
    """Return the eigenvalues of the Gauss-Newton matrix of a trained 64-16-10 network, n = 1210."""
    import numpy as np
    import torch

    from probes import GaussNewtonOperator
    from probes.examples import digits_mlp

    (batch,) = digits_mlp(batch_size=1797).data
    images, labels = batch[0].double(), batch[1]
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 16), torch.nn.Tanh(), torch.nn.Linear(16, 10)).double()
    loss = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        loss(model(images), labels).backward()
        optimizer.step()
    A = GaussNewtonOperator(model, loss, [(images, labels)])
    columns = torch.eye(A.shape[0], dtype=torch.float64)
    matrix = torch.cat([A @ part for part in columns.split(110, dim=1)], dim=1).numpy()
    return np.linalg.eigvalsh(0.5 * (matrix + matrix.T))


def spectra_of(n: int) -> dict[str, tuple[Any, dict[str, Function]]]:
    """Return eigenvalues and the functions to integrate, by name."""
    import numpy as np

    generator = np.random.default_rng(0)

    def marchenko_pastur(k: int) -> Any:
        samples = generator.standard_normal((k, 3 * k))
        return np.linalg.eigvalsh(samples @ samples.T / (3 * k))

    points = generator.standard_normal((n, 3))
    squares = np.sum((points[:, None] - points[None, :]) ** 2, axis=2)
    kernel = np.maximum(np.linalg.eigvalsh(np.exp(-0.5 * squares)), 0.0)
    indefinite = np.concatenate([np.zeros(3 * n // 4), generator.standard_normal(n - 3 * n // 4)])
    centers = np.where(np.arange(n) < n // 3, 5.0, 1.0)

    def identity(x: Any) -> Any:
        return x

    def saturating(scale: float) -> Function:
        return lambda x: x / (x + scale)

    network = np.maximum(gauss_newton_eigenvalues(), 0.0)
    return {
        "power law 1/i": (1.0 / np.arange(1.0, n + 1.0), {"x": identity, "log": np.log, "sqrt": np.sqrt}),
        "power law 1/i^2": (1.0 / np.arange(1.0, n + 1.0) ** 2, {"x": identity, "exp": np.exp}),
        "Marchenko-Pastur and 10 spikes": (
            np.concatenate([marchenko_pastur(n - 10), np.linspace(4.0, 10.0, 10)]),
            {"x": identity, "exp": np.exp, "log": np.log},
        ),
        "Marchenko-Pastur and a 10-fold spike": (
            np.concatenate([marchenko_pastur(n - 10), np.full(10, 8.0)]),
            {"x": identity, "exp": np.exp},
        ),
        "RBF kernel": (kernel, {"x": identity, "x/(x+1)": saturating(1.0), "log(x+0.1)": lambda x: np.log(x + 0.1)}),
        "indefinite, 75 % zeros": (indefinite, {"exp": np.exp, "x^2": np.square, "tanh": np.tanh}),
        "two clusters": (centers * (1.0 + 0.05 * generator.standard_normal(n)), {"log": np.log, "1/x": np.reciprocal}),
        "Gauss-Newton matrix of a trained network": (
            network,
            {"x": identity, "x^2": np.square, "x/(x+0.01)": saturating(0.01)},
        ),
    }


def cell(values: Any, f: Function, *, num_probes: int, num_steps: int, num_seeds: int) -> dict[str, Any]:
    """Return coverage and rms error, of the estimate and of the one without summed eigenvalues."""
    import numpy as np

    import spectra

    A = spectra.Operator(lambda block: values[:, None] * block, like=np.zeros(len(values)))
    truth, size = float(np.mean(f(values))), float(np.mean(np.abs(f(values))))
    rows: dict[str, list[tuple[float, bool, bool]]] = {"deflated": [], "plain": []}
    summed = []
    for seed in range(num_seeds):
        measure = spectra.slq(A, num_probes=num_probes, num_steps=num_steps, rng=seed)
        summed.append(int(measure["multiplicity"].sum()) if "multiplicity" in measure else 0)
        plain = measure.drop_vars(["multiplicity", "resolved_index"], errors="ignore")
        for name, version in (("deflated", measure), ("plain", plain)):
            estimate = spectra.expectation(version, f)
            given = estimate.low is not None
            rows[name].append((estimate.value - truth, given and estimate.low <= truth <= estimate.high, given))
    result: dict[str, Any] = {"mean_summed": float(np.mean(summed))}
    for name, found in rows.items():
        errors, hits, given = (np.array(column, dtype=float) for column in zip(*found, strict=True))
        result[name] = {
            "rms_error": float(np.sqrt(np.mean(errors**2))) / size,
            "coverage": float(np.sum(hits) / np.sum(given)) if np.any(given) else None,
            "share_with_interval": float(np.mean(given)),
        }
    return result


def main() -> None:
    """Run every cell and write JSON."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--num-seeds", type=int, default=200)
    parser.add_argument("--dimension", type=int, default=300)
    parser.add_argument("--num-steps", type=int, default=30)
    parser.add_argument("--only", default="", help="a part of the name of a spectrum")
    options = parser.parse_args()
    set_threads(1)
    num_seeds = 5 if options.quick else options.num_seeds
    cells = []
    for name, (values, functions) in spectra_of(options.dimension).items():
        if options.only not in name:
            continue
        for label, f in functions.items():
            for num_probes in (5, 10, 20):
                found = cell(values, f, num_probes=num_probes, num_steps=options.num_steps, num_seeds=num_seeds)
                cells.append({"spectrum": name, "n": len(values), "f": label, "num_probes": num_probes, **found})
    write(
        {"benchmark": "slq_coverage", "num_seeds": num_seeds, "num_steps": options.num_steps, "cells": cells},
        options.output,
    )


if __name__ == "__main__":
    main()
