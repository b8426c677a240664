"""
A learning rate, and whether it comes true
==========================================

Recommend a learning rate for a small network on scikit-learn's digits, then sweep the rate and look.
"""

import copy

import matplotlib.pyplot as plt
import numpy as np
import torch

import probes
from probes.objective import forward
from probes.training import TrainingRun
from spectra.recommend import OptimizerSpec
from spectra.report import render

torch.set_num_threads(1)
task = probes.examples.digits_mlp()
advice = probes.recommend(task, optimizer="adamw", batch_size=64, plan=probes.MeasurementPlan(num_probes=0))
print(render(advice))

# %%
# Train from the same initial state at each rate of a grid, for 200 steps.

samples = task.samples()
everything = samples.take(np.arange(samples.num_samples))


def final_loss(rate):
    """Return the mean loss over all data after 200 steps."""
    model = copy.deepcopy(task.model)
    run = TrainingRun(
        task,
        model,
        list(model.parameters()),
        samples,
        optimizer=OptimizerSpec(kind="adamw"),
        batch_size=64,
        learning_rate=rate,
        rng=np.random.default_rng(5),
    )
    if not run.advance(200):
        return float("nan")
    with torch.no_grad():
        return float(task.loss(forward(model.eval(), everything), everything.target))


rates = 2.0 ** np.arange(-12, 1)
losses = [final_loss(rate) for rate in rates]

# %%
# The recommended rate with its interval, on the sweep.

result, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
ax.plot(rates, losses, marker="o", color="black", label="200 steps at this rate")
rate = advice.learning_rate
ax.axvspan(rate.low, rate.high, color="#D55E00", alpha=0.15, linewidth=0)
ax.axvline(rate.value, color="#D55E00", label=f"recommended: {rate.value:.2g}")
ax.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="final training loss")
ax.legend()
