"""What one run of `spectra.survey` finds, for what it costs, and how the alternatives compare at equal products.

Four Hessians of digit classifiers (a perceptron of 3466 and a convolutional network of 3658 parameters, at their
initialization and after 300 steps of Adam; float32 products) and four synthetic spectra. For each:

* ``survey``: products, errors of the five largest and of the smallest eigenvalue over the norm, share of pairs whose
  bound holds a true eigenvalue, share of runs whose interval holds the ends of the spectrum and the trace, rms error of
  the trace over the nuclear norm and its standard error, Wasserstein-1 distance of the measure over the width;
* ``slq_trace``, ``xtrace_trace``: rms error of the trace over the nuclear norm with as many products, from
  `spectra.slq` (as many probes as `survey`'s steps allow) and from `spectra.trace`;
* ``blocks``: the same run with 1, 2, 4 and 6 start vectors in place of 3, with as many products in the space: errors of
  the ends, and standard error of the trace with 20 samples.

    python scripts/benchmarks/survey_accuracy.py --output survey.json
"""

from typing import Any

from environment import arguments, set_threads, write

SPACE, SAMPLES = 60, 20


def network(kind: str, num_steps: int) -> Any:
    """Return the dense Hessian of a digit classifier over 512 images, float64."""
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    pixels, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(pixels / 16.0), torch.tensor(labels)
    torch.manual_seed(0)
    if kind == "perceptron":
        layers = [nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)]
    else:
        x = x.reshape(-1, 1, 8, 8)
        layers = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU()]
        layers += [nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)]
    model = nn.Sequential(*layers).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(num_steps):
        batch = torch.randint(0, len(y), (128,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
    parameters = list(model.parameters())
    loss = nn.functional.cross_entropy(model(x[:512]), y[:512])
    gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, parameters, create_graph=True)])
    rows = []
    for block in torch.eye(len(gradient), dtype=torch.float64).split(64):
        pieces = torch.autograd.grad(gradient, parameters, grad_outputs=block, is_grads_batched=True, retain_graph=True)
        rows.append(torch.cat([piece.reshape(len(block), -1) for piece in pieces], 1))
    matrix = torch.cat(rows).numpy()
    return 0.5 * (matrix + matrix.T)


def problems(*, quick: bool) -> Any:
    """Yield name and symmetric matrix."""
    import numpy as np

    from spectra.testing import matrix_with_spectrum

    n = 300 if quick else 2000
    rng = np.random.default_rng(0)
    if not quick:
        for kind in ("perceptron", "convolutional network"):
            for num_steps in (0, 300):
                yield f"{kind}, {num_steps} steps", network(kind, num_steps)
    bulk = np.linalg.eigvalsh(np.cov(rng.standard_normal((n, 2 * n)), bias=True))
    bulk[-10:] = np.linspace(5.0, 20.0, 10)
    indefinite = np.concatenate([np.arange(2.0, 8.0), 0.1 * rng.standard_normal(n // 4 - 6), np.zeros(n - n // 4)])
    yield "power law 1/i", matrix_with_spectrum(1.0 / np.arange(1.0, n + 1.0))
    yield "exponential decay", matrix_with_spectrum(np.exp(-np.arange(n) / 10.0))
    yield "indefinite, three quarters zero", matrix_with_spectrum(indefinite)
    yield "Marchenko-Pastur and 10 spikes", matrix_with_spectrum(bulk)


def surveys(matrix: Any, values: Any, *, seeds: int) -> dict[str, Any]:
    """Return what surveys with many seeds find."""
    import numpy as np

    import spectra

    norm, nuclear, width = np.max(np.abs(values)), np.sum(np.abs(values)), values[-1] - values[0]
    rows = []
    for seed in range(seeds):
        answer = spectra.survey(matrix, rng=seed, positive_semidefinite=bool(values[0] > -1e-9 * norm))
        pairs, numbers = answer["eigenpairs"].to_dataset(), answer["quantities"].to_dataset()
        found = pairs["eigenvalue"].values
        nearest = np.min(np.abs(found[:, None] - values), axis=1)
        trace, low, high = (
            numbers.sel(quantity=name) for name in ("trace", "smallest_eigenvalue", "largest_eigenvalue")
        )
        rows.append(
            {
                "products": answer.attrs["num_matvecs"],
                "reached": answer.attrs["extremes_reached"] and answer.attrs["trace_reached"],
                "top": np.max(np.abs(found[:5] - values[::-1][:5])) / norm,
                "smallest": abs(found[5] - values[0]) / norm,
                "bounds_hold": np.mean(nearest <= pairs["error_bound"].values),
                "ends_hold": float(low["low"]) <= values[0] and values[-1] <= float(high["high"]),
                "trace_error": (float(trace["value"]) - np.sum(values)) / nuclear,
                "trace_stderr": float(trace["stderr"]) / nuclear,
                "trace_holds": float(trace["low"]) <= np.sum(values) <= float(trace["high"]),
                "wasserstein": spectra.wasserstein_distance(answer["measure"].to_dataset(), values) / width,
            }
        )

    def column(name: str) -> Any:
        return np.array([row[name] for row in rows], dtype=float)

    return {
        "products": [
            int(column("products").min()),
            round(float(column("products").mean())),
            int(column("products").max()),
        ],
        "every_target_reached": float(column("reached").mean()),
        "largest_error_of_top_five": float(column("top").max()),
        "largest_error_of_smallest": float(column("smallest").max()),
        "bounds_hold": float(column("bounds_hold").mean()),
        "ends_hold": float(column("ends_hold").mean()),
        "trace_rms": float(np.sqrt(np.mean(column("trace_error") ** 2))),
        "trace_stderr": float(column("trace_stderr").mean()),
        "trace_holds": float(column("trace_holds").mean()),
        "wasserstein": float(column("wasserstein").mean()),
    }


def others(matrix: Any, values: Any, *, products: int, seeds: int) -> dict[str, Any]:
    """Return the errors of the trace that other estimators make with as many products."""
    import numpy as np

    import spectra

    n, nuclear, truth = len(values), np.sum(np.abs(values)), np.sum(values)

    def rms(estimates: list[float]) -> float:
        return float(np.sqrt(np.mean((np.array(estimates) - truth) ** 2)) / nuclear)

    quadratures = [
        spectra.slq(matrix, num_probes=max(1, products // 20), num_steps=20, rng=seed) for seed in range(seeds)
    ]
    return {
        "slq_trace": rms([n * spectra.moment(measure, 1).value for measure in quadratures]),
        "xtrace_trace": rms([spectra.trace(matrix, num_matvecs=products, rng=seed).value for seed in range(seeds)]),
    }


def blocks(matrix: Any, values: Any, *, seeds: int) -> dict[str, Any]:
    """Return errors of the ends, and the standard error of the trace, by number of start vectors."""
    import numpy as np

    from spectra.block_run import BlockRun
    from spectra.operators import as_operator

    norm, nuclear = np.max(np.abs(values)), np.sum(np.abs(values))
    found = {}
    for num_starts in (1, 2, 3, 4, 6):
        top, smallest, stderr = [], [], []
        for seed in range(seeds):
            run = BlockRun(as_operator(matrix), num_starts=num_starts, seed=seed)
            for _ in range(SPACE // num_starts):
                run.step()
            run.sample(SAMPLES)
            ritz = run.products.unscaled(run.ritz().values)
            top.append(np.max(np.abs(ritz[-5:] - values[-5:])) / norm)
            smallest.append(abs(ritz[0] - values[0]) / norm)
            stderr.append(float(run.products.unscaled(run.trace().stderr)) / nuclear)
        found[str(num_starts)] = {
            "largest_error_of_top_five": float(np.max(top)),
            "largest_error_of_smallest": float(np.max(smallest)),
            "trace_stderr": float(np.mean(stderr)),
        }
    return found


def main() -> None:
    """Run all problems."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--num-seeds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    set_threads(options.threads)
    import numpy as np

    seeds = 4 if options.quick else options.num_seeds
    results = {}
    for name, matrix in problems(quick=options.quick):
        values = np.linalg.eigvalsh(matrix)
        if values[0] > -1e-9 * values[-1]:
            values = np.maximum(values, 0.0)  # what is negative is rounding of the dense eigenvalues
        single = matrix.astype(np.float32)
        found = surveys(single, values, seeds=seeds)
        results[name] = {
            "dimension": len(values),
            "trace_over_nuclear_norm": float(np.sum(values) / np.sum(np.abs(values))),
            "survey": found,
            **others(single, values, products=found["products"][1], seeds=seeds),
            "blocks": blocks(single, values, seeds=max(2, seeds // 10)),
        }
        print(name, results[name]["survey"], flush=True)
    write({"benchmark": "survey_accuracy", "num_seeds": seeds, "results": results}, options.output)


if __name__ == "__main__":
    main()
