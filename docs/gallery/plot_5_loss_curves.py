"""
Loss curves from the spectrum
=============================

The expected loss of SGD on least squares follows from the eigenvalues, the loss that each mode holds, and the loss that
stays. How well depends on what stands for the gradient noise: the closure.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator
from sklearn.datasets import load_digits

from spectra.dynamics import batch_saturation, from_data, sgd_curve, simulate_sgd, stability

# %%
# Raw digits, a linear model, the value of the digit as the target. No part of this is Gaussian.

X, y = load_digits(return_X_y=True)
A, b = np.column_stack([X[:600] / 16, np.ones(600)]), y[:600] / 10
problem = from_data(A, b)
limits = stability(problem, closure="exact")
print(limits.reason, limits.learning_rate, limits.row_safe_learning_rate)

# %%
# Two closures and the referee: the mean of 100 runs with its standard error. Both closures see only the modes;
# ``kurtosis`` also knows how evenly the samples share each of them.

figure, left = plt.subplots(figsize=(6, 4), layout="constrained")
for share, color in ((0.1, "#0072B2"), (0.4, "#D55E00")):
    settings = {"learning_rate": share * limits.learning_rate, "num_steps": 5000}
    runs = simulate_sgd(A, b, num_runs=100, **settings)
    left.errorbar(runs.step[1:], runs.loss[1:], 2 * runs.stderr[1:], fmt=".", color=color, alpha=0.5)
    for closure, style in (("kurtosis", "-"), ("limit", ":")):
        curve = sgd_curve(problem, closure=closure, **settings)
        label = f"{share} of critical, {closure}"
        left.plot(curve.step[1:], curve.loss[1:], style, color=color, label=label)
left.set(xscale="log", yscale="log", xlabel="step", ylabel="training loss", title="batch size 1")
left.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
left.legend(fontsize="small")

# %%
# How far larger batches help: the fewest steps to a loss, and the samples that they take.

table = batch_saturation(problem, closure="kurtosis", batch_sizes=[1, 4, 16, 64, 150, 300])
figure, right = plt.subplots(figsize=(6, 4), layout="constrained")
right.plot(table.batch_size, table.num_steps, "o-", color="#0072B2", label="steps")
right.plot(table.batch_size, table.num_samples, "s--", color="#D55E00", label="samples")
right.axvline(table.attrs["knee"], color="0.5", linestyle=":", label="samples doubled")
right.set(xscale="log", yscale="log", xlabel="batch size", title=f"to a loss of {table.attrs['target']:.2g}")
right.legend(fontsize="small")
plt.show()
