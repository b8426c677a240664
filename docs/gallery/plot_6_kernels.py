"""
What a kernel makes of a data set
=================================

How the eigenvalues of three kernels fall, which ridge to take and what error to expect of it, and how the error falls
with more samples: each from one Gram matrix, the last two beside errors of actual fits.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes, load_digits

from spectra.kernel_report import render_kernel
from spectra.kernels import (
    RBF,
    Laplace,
    Polynomial,
    analyze,
    best_ridge,
    eigendecay,
    extrapolate,
    learning_curve,
    median_distance,
    ridge_fit,
    ridge_path,
)

rng = np.random.default_rng(0)
data = load_diabetes()
X = data.data / data.data.std(axis=0)
y = (data.target - data.target.mean()) / data.target.std()
scale = median_distance(X)

# %%
# Three kernels, three laws. The law is not read off the eigenvalues of the sample: where the sample ends they bend, and
# the sum of all that are too small to be told apart adds to each of them, so that they fall more slowly than the dotted
# power. Ten features and degree 2 make 66 functions; the square of the one feature that has two values only is nothing
# new, and 65 remain.

figure, ax = plt.subplots(layout="constrained")
number = np.arange(1, len(X) + 1)
for kernel, color in ((Laplace(scale), "#0072B2"), (RBF(scale), "#D55E00"), (Polynomial(2), "#009E73")):
    name, decay = type(kernel).__name__, eigendecay(X, kernel=kernel)
    print(f"{name}: {decay}; {decay.why}")
    share = decay.eigenvalue / decay.eigenvalue[0]
    ax.plot(number, share, color=color, label=f"{name}: {decay.law}")
    if decay.law == "polynomial":
        power = share[9] * (number / 10) ** -decay.decay_exponent
        ax.plot(number[4:], power[4:], ":", color=color, label=f"exponent {decay.decay_exponent:.2f}")
ax.set(xscale="log", yscale="log", ylim=(1e-8, 2), xlabel="i", ylabel="eigenvalue / largest", title="442 samples")
ax.legend(fontsize="small")
plt.show()

# %%
# The ridge. Leave-one-out and generalized cross-validation (GCV) see 300 samples. Beside them the mean over 40 other
# splits into 300 and 142: the test error of a fit on so many samples, which both estimate.

kernel = RBF(scale)
K, ridges = kernel(X), np.logspace(-4, 2.5, 40)
seen = rng.permutation(len(X))[:300]
path = ridge_path(K[np.ix_(seen, seen)], y[seen], ridges)
best = best_ridge(K[np.ix_(seen, seen)], y[seen])
print(best.verdict)
measured = np.zeros((40, len(ridges)))
for errors in measured:
    order = rng.permutation(len(X))
    train, test = order[:300], order[300:]
    fit, across = ridge_fit(K[np.ix_(train, train)], y[train]), K[np.ix_(test, train)]
    errors[:] = [np.mean((y[test] - across @ fit.coefficients(ridge)[:, 0]) ** 2) for ridge in ridges]

doubted = path.is_trustworthy.values == 0
figure, ax = plt.subplots(layout="constrained")
ax.fill_between(ridges, path.low, path.high, color="#0072B2", alpha=0.2, linewidth=0, label="95 % interval")
ax.plot(ridges, path.leave_one_out, color="#0072B2", label="leave-one-out")
ax.plot(ridges, path.gcv, "--", color="#009E73", label="GCV")
ax.plot(ridges, measured.mean(axis=0), "k.", label="measured")
ax.plot(ridges[doubted], path.leave_one_out[doubted], "x", color="#D55E00", label="not to be trusted")
ax.axvspan(best.low, best.high, color="0.5", alpha=0.2, linewidth=0, label="as good as the best")
ax.set(xscale="log", yscale="log", xlabel="ridge", ylabel="squared error / variance", title="RBF, 300 samples")
ax.set_yticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
ax.minorticks_off()
ax.legend(fontsize="small")
plt.show()

# %%
# More samples. Up to a quarter of a pool of 400 digits its eigenpairs give the curve, beyond the pool two methods
# extrapolate it. Both are compared with fits on other samples.

images, labels = load_digits(return_X_y=True)
images, classes = images / 16, np.eye(10)[labels] - 0.1
shuffled = rng.permutation(len(images))
pool, others = shuffled[:400], shuffled[400:]
digits_kernel, ridge_per_sample = Laplace(median_distance(images[pool])), 1e-3
G = digits_kernel(images[pool])
inside = learning_curve(G, classes[pool], sizes=[12, 25, 50, 100], ridge_per_sample=ridge_per_sample)
beyond = extrapolate(G, classes[pool], sizes=[400, 600, 800, 1100], ridge_per_sample=ridge_per_sample)
figure, ax = plt.subplots(layout="constrained")
for curve, color, label in ((inside, "#0072B2", "from the pool"), (beyond, "#D55E00", "extrapolated")):
    one = curve.isel(ridge=0)
    ax.fill_between(one.num_samples, one.low, one.high, color=color, alpha=0.2, linewidth=0)
    ax.plot(one.num_samples, one.test_error, color=color, label=label)

for n in (12, 25, 50, 100, 200, 400, 800, 1100):
    errors = []
    for _ in range(10 if n < 800 else 3):
        order = rng.permutation(others)
        train, test = order[:n], order[-297:]
        fit = ridge_fit(digits_kernel(images[train]), classes[train])
        predicted = digits_kernel(images[test], images[train]) @ fit.coefficients(ridge_per_sample * n)
        errors.append(np.mean(np.sum((classes[test] - predicted) ** 2, axis=1)))
    ax.errorbar(n, np.mean(errors), np.std(errors), fmt="k.", label="measured" if n == 12 else None)
ax.axvline(len(pool), color="0.5", linestyle=":", label="the whole pool")
ax.set(xscale="log", yscale="log", xlabel="samples", ylabel="squared error", title="Laplace on digits")
ax.set_yticks([0.15, 0.2, 0.3, 0.5, 0.7], ["0.15", "0.2", "0.3", "0.5", "0.7"])
ax.minorticks_off()
ax.legend(fontsize="small")
plt.show()

# %%
# A law is that of so many samples. The eigenvalues of a Gaussian kernel fall faster than every power, but on 64
# features no sample of this size shows it: what is found is a power, whose exponent creeps up.

for n in (200, 400, 800, 1600):
    print(n, eigendecay(images[shuffled[:n]], kernel=RBF(median_distance(images[pool]))))

# sphinx_gallery_thumbnail_number = 2

# %%
# All of this in one call, as ``spectra kernel`` prints it. The pictures of a result are those of
# :func:`spectra.kernel_plot.plot_kernel`.

print(render_kernel(analyze(X, y, kernel=Laplace(scale), name="diabetes")))
