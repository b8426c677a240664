"""
The Hessian of a batch
======================

The largest Hessian eigenvalue of a few samples is larger than that of all of them. By how much, random-matrix theory
says if the noise is the same in all directions. In a network it is not.
"""

import copy

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.ticker import LogLocator

import probes
import spectra
from probes.training import TrainingRun
from spectra.recommend import OptimizerSpec, batch_hessian_curve, measurement_set_size

torch.set_num_threads(1)
task = probes.examples.digits_mlp()
samples = task.samples()
total = samples.num_samples
sizes = 2 ** np.arange(2, 10)


def trained(num_steps):
    """Return the task with a copy of its model after some steps of SGD."""
    model = copy.deepcopy(task.model)
    run = TrainingRun(
        task,
        model,
        list(model.parameters()),
        samples,
        optimizer=OptimizerSpec(kind="sgd"),
        batch_size=64,
        learning_rate=0.1,
        rng=np.random.default_rng(0),
    )
    run.advance(num_steps)
    return probes.Task(model, task.loss, task.data)


def top_pair(state, indices):
    """Return the largest eigenvalue, with its vector, of the mean Hessian over some samples."""
    hessian = probes.HessianOperator(
        state.model, state.loss, [samples.take(indices)], check=False, strategy="kept_graph"
    )
    return spectra.eigenpairs(hessian, tolerance=1e-2, max_steps=120)


# %%
# At one state, measure the eigenvalue of all samples, the curvature noise of its eigenvector and of a random
# direction, and the eigenvalues of random batches.


def measured(state, num_batches=10):
    """Return both theoretical curves, the eigenvalues of batches, and the noise of the top direction."""
    top = top_pair(state, np.arange(total))
    vector = torch.as_tensor(top["eigenvector"].values.reshape(-1))
    random = torch.randn(len(vector), generator=torch.Generator().manual_seed(0))
    noise, isotropic = (probes.curvature_noise(state, v, num_batches=112, check=False) for v in (vector, random))
    curvature = float(top["eigenvalue"][0])
    curve = batch_hessian_curve(
        sizes,
        curvature=curvature,
        direction_noise=noise.value,
        isotropic_noise=isotropic.value,
        num_samples=total,
    )
    rng = np.random.default_rng(0)
    values = [
        [float(top_pair(state, rng.permutation(total)[:b])["eigenvalue"][0]) for _ in range(num_batches)] for b in sizes
    ]
    size = measurement_set_size(curvature=curvature, curvature_noise=noise, num_samples=total)
    print(f"largest eigenvalue {curvature:.3g}; noise {noise.value:.3g} along it, {isotropic.value:.2g} at random")
    print(f"  {size.value:.0f} samples measure it to 5% ({size.verdict}: {size.low:.0f} to {size.high:.0f})")
    return curve, np.array(values)


states = {"at initialization": measured(task), "after 200 steps of SGD": measured(trained(200))}

# %%
# The isotropic form sees almost no effect of the batch. With the noise measured along the top eigenvector it follows
# the batches at initialization, and falls short by up to a quarter after training: there a few samples carry most of
# the curvature, and a formula that knows the mean square only cannot see them. Single small batches scatter widely.

result, axes = plt.subplots(ncols=2, figsize=(9, 4.2), layout="constrained")
for ax, (name, (curve, values)) in zip(axes, states.items(), strict=True):
    jitter = np.exp(np.linspace(-0.12, 0.12, values.shape[1]))
    ax.plot(sizes[:, None] * jitter, values, ".", color="0.65", markersize=4)
    ax.plot([], [], ".", color="0.65", label="one batch")
    ax.plot(sizes, np.median(values, axis=1), "o", color="black", label="median of batches")
    curve["isotropic"].plot(ax=ax, color="#0072B2", linestyle="--", label="isotropic noise")
    curve["measured_direction"].plot(ax=ax, color="#D55E00", label="noise of the top direction")
    ax.axhline(curve.attrs["curvature"], color="black", linewidth=0.8, linestyle=":", label="all samples")
    ax.set(xscale="log", yscale="log", xlabel="batch size", ylabel="largest Hessian eigenvalue", title=name)
    ax.set_xticks(sizes, [str(b) for b in sizes])
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
axes[0].legend(fontsize="small")
