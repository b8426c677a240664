"""Are the Hessians of small batches what random-matrix theory says? Measure them and compare.

For a network on scikit-learn's digits, at its initialization and after training, this takes the largest Hessian
eigenvalue of many random batches of each size, and sets medians and 90 % quantiles beside the two forms of
:func:`spectra.recommend.batch_hessian_curve`: *isotropic* (curvature noise of random directions, Granziol, Zohren and
Roberts, JMLR 2022) and *measured direction* (curvature noise of the top eigenvector).

    python scripts/batch_hessian.py                      # about two minutes on one core
    python scripts/batch_hessian.py --output result.nc   # keep the numbers
"""

import argparse
import copy
from pathlib import Path

import numpy as np
import torch
import xarray as xr

import probes
import spectra
from probes.training import TrainingRun
from spectra.recommend import OptimizerSpec, batch_hessian_curve

SIZES = (4, 8, 16, 32, 64, 128, 256, 512)


def trained(task: probes.Task, num_steps: int, *, learning_rate: float = 0.1, batch_size: int = 64) -> probes.Task:
    """Return the task with a copy of its model after ``num_steps`` steps of SGD."""
    model = copy.deepcopy(task.model)
    run = TrainingRun(
        task,
        model,
        list(model.parameters()),
        task.samples(),
        optimizer=OptimizerSpec(kind="sgd"),
        batch_size=batch_size,
        learning_rate=learning_rate,
        rng=np.random.default_rng(0),
    )
    if num_steps and not run.advance(num_steps):
        raise SystemExit(f"training diverged at learning rate {learning_rate}")
    return probes.Task(model, task.loss, task.data, name=task.name)


def top_pair(task: probes.Task, batches: list, *, keep_vectors: bool = False) -> xr.Dataset:
    """Return the largest eigenvalue of the mean Hessian over ``batches``, to a relative error of 1e-3."""
    operator = probes.HessianOperator(task.model, task.loss, batches, check=False, strategy="kept_graph")
    return spectra.eigenpairs(operator, num=1, tolerance=1e-3, max_steps=120, keep_vectors=keep_vectors)


def measure(task: probes.Task, *, sizes: tuple[int, ...] = SIZES, num_batches: int = 40, seed: int = 0) -> xr.Dataset:
    """Measure batch Hessians and both forms at one state.

    Parameters
    ----------
    task : probes.Task
        Model, loss and data.
    sizes : tuple of int
        Batch sizes.
    num_batches : int
        Random batches of each size.
    seed : int
        Of the batches.

    Returns
    -------
    xarray.Dataset
        ``eigenvalue`` (batch_size, batch), ``isotropic`` and ``measured_direction`` (batch_size); attributes
        ``curvature``, ``direction_noise`` with its standard error, ``isotropic_noise``.
    """
    rng = np.random.default_rng(seed)
    samples = task.samples()
    total = samples.num_samples
    top = top_pair(task, [samples.take(np.arange(total))], keep_vectors=True)
    curvature = float(top["eigenvalue"][0])
    vector = torch.as_tensor(top["eigenvector"].values.reshape(-1))
    noise = probes.curvature_noise(task, vector, num_batches=total // 16, batch_size=16, check=False)
    generator = torch.Generator().manual_seed(seed)
    isotropic = np.mean(
        [
            probes.curvature_noise(
                task, torch.randn(len(vector), generator=generator), num_batches=total // 16, batch_size=16, check=False
            ).value
            for _ in range(4)
        ]
    )
    eigenvalues = np.array(
        [
            [
                float(top_pair(task, [samples.take(rng.permutation(total)[:size])])["eigenvalue"][0])
                for _ in range(num_batches)
            ]
            for size in sizes
        ]
    )
    curve = batch_hessian_curve(
        sizes,
        curvature=curvature,
        direction_noise=noise.value,
        isotropic_noise=float(isotropic),
        num_samples=total,
    )
    curve["eigenvalue"] = (("batch_size", "batch"), eigenvalues)
    return curve.assign_attrs(direction_noise_stderr=noise.stderr)


def table(result: xr.Dataset, state: str) -> str:
    """Return the comparison as a Markdown table."""
    eigenvalue = result["eigenvalue"]
    median, mean = eigenvalue.median("batch"), eigenvalue.mean("batch")
    error = eigenvalue.std("batch", ddof=1) / np.sqrt(eigenvalue.sizes["batch"])
    low, high = (eigenvalue.quantile(q, "batch") for q in (0.05, 0.95))
    attrs = result.attrs
    lines = [
        f"\n{state}: largest eigenvalue {attrs['curvature']:.4g}, noise of its direction "
        f"{attrs['direction_noise']:.4g} +- {attrs['direction_noise_stderr']:.2g}, of random directions "
        f"{attrs['isotropic_noise']:.3g} (ratio {attrs['direction_noise'] / attrs['isotropic_noise']:.0f})\n",
        "| batch size | median [5%, 95%] of batches | mean | isotropic | error | measured direction | error |",
        "|---|---|---|---|---|---|---|",
    ]
    for index, size in enumerate(result["batch_size"].values):
        cells = [f"{size:.0f}", f"{median[index]:.3g} [{low[index]:.3g}, {high[index]:.3g}]"]
        cells.append(f"{mean[index]:.3g} +- {error[index]:.2g}")
        for name in ("isotropic", "measured_direction"):
            value = float(result[name][index])
            cells += [f"{value:.3g}", f"{value / float(mean[index]) - 1:+.0%}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure all states and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=40, help="random batches of each size")
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 200, 2000], help="SGD steps before measuring")
    parser.add_argument("--output", type=Path, help="file for the numbers (.nc)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    for num_steps in arguments.steps:
        state = trained(probes.examples.digits_mlp(), num_steps)
        results.append(measure(state, num_batches=arguments.batches))
        print(table(results[-1], f"after {num_steps} steps" if num_steps else "at initialization"), flush=True)
    if arguments.output:
        states = xr.concat(results, dim="num_steps", combine_attrs="drop_conflicts")
        for name in ("curvature", "direction_noise", "direction_noise_stderr", "isotropic_noise"):
            states[name] = ("num_steps", [result.attrs[name] for result in results])
        states.assign_coords(num_steps=arguments.steps).to_netcdf(arguments.output, engine="h5netcdf")


if __name__ == "__main__":
    main()
