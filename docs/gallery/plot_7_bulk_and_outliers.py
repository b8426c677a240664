"""
Bulk and outliers of a trained network
======================================

The Hessian of a trained classifier has a bulk of small eigenvalues and a few large ones outside. How many, and where
the bulk ends, is told by a Lanczos run or by all eigenvalues; here by both.
"""

import copy

import matplotlib.pyplot as plt
import numpy as np
import torch

import probes
import spectra
from probes.training import TrainingRun
from spectra.outliers import split_bulk
from spectra.recommend import OptimizerSpec

torch.set_num_threads(1)
torch.manual_seed(0)
samples = probes.examples.digits_mlp().samples()
model = torch.nn.Sequential(torch.nn.Linear(64, 20), torch.nn.Tanh(), torch.nn.Linear(20, 10))
task = probes.Task(model, torch.nn.CrossEntropyLoss(), [samples.take(np.arange(samples.num_samples))])
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
steps, states = [0, 10, 30, 100, 300, 1000], []
for before, after in zip([0, *steps], steps, strict=False):
    if after > before:
        run.advance(after - before)
    states.append(copy.deepcopy(model))

# %%
# After training, from 4 x 60 products with the Hessian: no law is assumed for the bulk, only that it is one interval.
# The network is so small that all of its 1510 eigenvalues can be had, from as many products. Of these it is assumed
# that the bulk ends like a square root.


def hessian(state):
    """Return the Hessian of the loss over all samples."""
    return probes.HessianOperator(state, task.loss, task.data)


def all_eigenvalues(H):
    """Return all of them, from the matrix itself."""
    return np.linalg.eigvalsh((H @ torch.eye(H.shape[0])).double().numpy())


H = hessian(states[-1])
measure = spectra.slq(H, num_probes=4, num_steps=60)
from_measure = split_bulk(measure)
eigenvalues = all_eigenvalues(H)
from_eigenvalues = split_bulk(eigenvalues)
for found in (from_measure, from_eigenvalues):
    print(found)
    print("  above", found.outlier[found.side > 0].round(2), "below", found.outlier[found.side < 0].round(2))
print("edges", *(f"{found.high:.3f} +- {found.high_stderr:.3f}" for found in (from_measure, from_eigenvalues)))

# %%
# Both find the same eigenvalues far outside; eight or nine are apart from the rest, about as many as there are classes.
# Where the bulk ends they see differently, by a factor of two, and both say why: eigenvalues become rarer step by step,
# so that there is no end. With more Lanczos steps, or with fewer eigenvalues at the edge to fit, there are ever more
# "outliers". So go by what lies far outside, and read the edge of such a spectrum as an order of magnitude.

figure, (left, right) = plt.subplots(ncols=2, figsize=(9, 4.2), layout="constrained")
for ax, bins in ((left, np.linspace(-0.05, 1.9, 79)), (right, np.linspace(-0.03, 0.22, 76))):
    ax.hist(eigenvalues, bins=bins, color="#0072B2", alpha=0.5, label="all eigenvalues")
    ax.axvline(from_measure.high, color="#D55E00", label="edge, Lanczos")
    ax.axvline(from_eigenvalues.high, color="#009E73", linestyle="--", label="edge, all eigenvalues")
    marks = np.full(from_measure.num_outliers, 0.7)
    ax.plot(from_measure.outlier, marks, "v", color="#D55E00", label="outliers, Lanczos")
    ax.set(yscale="log", ylim=(0.5, 3000), xlim=(bins[0], bins[-1]), xlabel="Hessian eigenvalue", ylabel="number")
left.legend(fontsize="small")
plt.show()

# %%
# In the course of training the bulk shrinks, and the outliers grow at first and shrink once the loss is small. Most of
# these splits do not trust themselves.

by_measure, by_eigenvalues = [], []
for step, state in zip(steps, states, strict=True):
    H = hessian(state)
    by_measure.append(split_bulk(spectra.slq(H, num_probes=4, num_steps=60)))
    by_eigenvalues.append(split_bulk(all_eigenvalues(H)))
    print(f"step {step}: {by_measure[-1]}\n  {by_eigenvalues[-1]}")
figure, ax = plt.subplots(layout="constrained")
places = np.arange(len(steps))
for splits, color, label in ((by_measure, "#0072B2", "Lanczos"), (by_eigenvalues, "#009E73", "all eigenvalues")):
    edges = np.array([(split.low, split.high) for split in splits])
    trusted = np.array([split.is_trustworthy for split in splits])
    ax.plot(places, edges, "--", color=color, label=[f"edges, {label}", None])
    ax.plot(places[trusted], edges[trusted], "s", color=color, label=["trusted", None])
for place, split in zip(places, by_measure, strict=True):
    label = "outliers, Lanczos" if place == 0 else None
    ax.plot(np.full(split.num_outliers, place), split.outlier, "o", color="#D55E00", markersize=3, label=label)
ax.set_xticks(places, [str(step) for step in steps])
ax.set_yscale("symlog", linthresh=0.1)
ax.set(xlabel="steps of SGD", ylabel="Hessian eigenvalue", ylim=(-0.5, 4))
ax.legend(fontsize="small", loc="lower right")
plt.show()

# %%
# These are Hessians over all samples. That of a few samples has larger eigenvalues: see
# :ref:`sphx_glr_examples_plot_4_batch_hessian.py`.
