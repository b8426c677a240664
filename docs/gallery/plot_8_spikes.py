"""
Spikes in noise, freed of their bias
====================================

A few directions of a population have more variance than the rest. A sample shows their eigenvalues too large and their
directions turned, and hides the weak ones altogether. By how much is known, so that it can be undone.
"""

import matplotlib.pyplot as plt
import numpy as np

from spectra.laws import GeneralizedMarchenkoPastur, MarchenkoPastur
from spectra.laws.shrinkage import hard_threshold, noise_from_median, shrink_singular_values
from spectra.laws.spiked import SpikedCovariance
from spectra.laws.spiked_population import SpikedPopulation
from spectra.outliers import split_bulk

rng = np.random.default_rng(0)
blue, orange, green, gray = "#0072B2", "#D55E00", "#009E73", "0.5"


def sample(scales, n):
    """Return eigenvalues and eigenvectors of a sample covariance of so many samples; the population is diagonal."""
    X = np.sqrt(scales)[:, None] * rng.standard_normal((len(scales), n))
    return np.linalg.eigh(X @ X.T / n)


# %%
# A population with four eigenvalues that are not 1, seen through twice as many samples as variables. All noise
# eigenvalues are 1; those of the sample spread from 0.09 to 2.9. The bulk tells the variance of the noise, which is not
# given, and the edge. The weakest spike is below the threshold: no method sees it in the eigenvalues.

p, n, spikes = 500, 1000, np.array([1.4, 2.4, 4.0, 6.0])
population = np.ones(p)
population[: len(spikes)] = spikes
values, _ = sample(population, n)
found = split_bulk(values, num_samples=n)
model = SpikedCovariance(aspect_ratio=p / n, variance=found.variance)
print(found, f"variance {found.variance:.3f}, threshold for spikes {model.threshold:.3f}")
print("outliers", found.outlier.round(2), "p-values", *(f"{value:.1g}" for value in found.p_value))
print("spikes  ", model.spike(found.outlier).round(2), "overlap", model.overlap(model.spike(found.outlier)).round(2))

law = MarchenkoPastur(aspect_ratio=p / n, variance=found.variance)
x = np.linspace(*law.support[0], 300)
figure, ax = plt.subplots(layout="constrained")
ax.hist(values, bins=np.arange(0, 3.1, 0.1), density=True, color=blue, alpha=0.4, label="sample")
ax.plot(x, law.pdf(x), color=blue, label="Marchenko-Pastur")
ax.axvline(found.threshold, color=gray, linestyle=":", label="outliers above")
ax.plot(found.outlier, np.full(found.num_outliers, 0.06), "o", color=orange, label="outliers")
ax.plot(
    model.spike(found.outlier), np.full(found.num_outliers, 0.06), "|", color=green, markersize=14, label="debiased"
)
ax.plot(spikes, np.full(len(spikes), 0.0), "^", color="black", clip_on=False, zorder=3, label="population")
ax.set(xlabel="eigenvalue", ylabel="density", ylim=(0, 1.0))
ax.legend(fontsize="small")
plt.show()

# %%
# One spike of varying strength, ten draws of each. What is seen is above what is there. Below the threshold the largest
# eigenvalue is that of noise, and its vector tells nothing. Within the bulk there is nothing to debias (NaN). Just
# above its edge a small change of the outlier is a large one of the spike, and noise alone reaches there by chance:
# ``split_bulk`` keeps a margin.

p, n = 200, 400
model, strengths = SpikedCovariance(aspect_ratio=p / n), np.linspace(1.1, 4, 15)
largest, overlap = np.empty((2, len(strengths), 10))
for i, strength in enumerate(strengths):
    for j in range(10):
        values, vectors = sample(np.r_[strength, np.ones(p - 1)], n)
        largest[i, j], overlap[i, j] = values[-1], vectors[0, -1] ** 2
fine = np.linspace(1, 4, 300)
figure, (left, right) = plt.subplots(ncols=2, figsize=(9, 4.2), layout="constrained")
left.plot(strengths, largest, ".", color=orange, markersize=4)
left.plot(fine, np.nan_to_num(model.outlier(fine), nan=model.edge), color=orange, label="largest of the sample")
left.plot(strengths, model.spike(largest), ".", color=green, markersize=4)
left.plot(fine, fine, color=green, label="debiased")
left.set(xlabel="eigenvalue of the population", ylabel="eigenvalue")
right.plot(strengths, overlap, ".", color=blue, markersize=4)
right.plot(fine, model.overlap(fine), color=blue, label="theory")
right.set(xlabel="eigenvalue of the population", ylabel="squared cosine of the vectors")
for ax in (left, right):
    ax.axvline(model.threshold, color=gray, linestyle=":", label="threshold")
    ax.legend(fontsize="small")
plt.show()

# %%
# A signal of rank 3 in white noise of unknown variance. To drop small singular values is not enough: those that are
# kept are too large, and their vectors are off. Shrinking takes both into account, and needs neither the rank nor the
# variance.

shape, rank = (200, 400), 3
strengths, errors = np.linspace(0.5, 4, 12), {"the three largest": [], "hard threshold": [], "shrunk": []}
for strength in strengths:
    rows = []
    for _ in range(5):
        u, v = (np.linalg.qr(rng.standard_normal((side, rank)))[0] for side in shape)
        signal = strength * u @ v.T
        U, s, V = np.linalg.svd(signal + rng.standard_normal(shape) / np.sqrt(shape[1]), full_matrices=False)
        cut = hard_threshold(shape, singular_values=s)
        kept = (
            np.where(np.arange(len(s)) < rank, s, 0),
            np.where(s > cut, s, 0),
            shrink_singular_values(s, shape).values,
        )
        rows.append([np.sum(((U * one) @ V - signal) ** 2) / np.sum(signal**2) for one in kept])
    for own, error in zip(errors.values(), np.mean(rows, axis=0), strict=True):
        own.append(error)
print(f"noise {noise_from_median(s, shape):.4f}, true {shape[1] ** -0.5:.4f}")
figure, ax = plt.subplots(layout="constrained")
for (name, own), color, line in zip(errors.items(), (gray, orange, blue), ("--", "-.", "-"), strict=True):
    ax.plot(strengths, own, line, color=color, marker=".", label=name)
ax.axhline(1, color="black", linewidth=0.8, linestyle=":", label="no estimate at all")
ax.set(xlabel="singular value of the signal / noise", ylabel="squared error / signal", ylim=(0, 3))
ax.legend(fontsize="small")
plt.show()

# %%
# Noise that is not the same in all directions: half of the population has 1, the other half 3, and two directions have
# 12 and 20. The law of white noise takes a part of the bulk for outliers. ``split_bulk`` sees that this law does not
# fit, and takes the way that assumes no law. Debiasing needs the population of the bulk, which is given here;
# :func:`spectra.laws.population_recovery.recover_population` estimates it.

p, n = 300, 1200
population = np.r_[np.ones(p // 2), np.full(p // 2 - 2, 3.0), 12.0, 20.0]
values, _ = sample(population, n)
for method in ("auto", "marchenko_pastur"):
    print(f"{method}: {split_bulk(values, num_samples=n, method=method)}")
found = split_bulk(values, num_samples=n)
bulk = SpikedPopulation(population=population[:-2], aspect_ratio=p / n)
print("outliers", found.outlier.round(2), "debiased", bulk.spike(found.outlier).round(2))
law = GeneralizedMarchenkoPastur(population=population[:-2], aspect_ratio=p / n)
x = np.linspace(0.05, 6.2, 400)
figure, ax = plt.subplots(layout="constrained")
ax.hist(values, bins=np.arange(0, 25, 0.25), density=True, color=blue, alpha=0.4, label="sample")
ax.plot(x, law.pdf(x), color=blue, label="law of this population")
white = split_bulk(values, num_samples=n, method="marchenko_pastur")
ax.axvline(white.high, color=orange, linestyle="--", label="edge of white noise")
ax.axvline(found.high, color=green, label="edge without a law")
ax.plot(found.outlier, [0.01, 0.01], "o", color=orange, label="outliers")
ax.plot(bulk.spike(found.outlier), [0.01, 0.01], "|", color=green, markersize=14, label="debiased")
ax.set(xlabel="eigenvalue", ylabel="density")
ax.legend(fontsize="small")
plt.show()
