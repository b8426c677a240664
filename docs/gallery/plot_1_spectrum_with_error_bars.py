"""
A spectrum, and how sure one can be of it
=========================================

A matrix with a known spectrum: a Marchenko-Pastur bulk and five outliers. Stochastic Lanczos quadrature sees only
products with it. How close is it, and do the error bars tell the truth?
"""

import matplotlib.pyplot as plt
import numpy as np

import spectra
from spectra.plot import plot_cdf, plot_density

rng = np.random.default_rng(0)
n = 1000
factors = rng.standard_normal((n, 2 * n)) / np.sqrt(2 * n)
outliers = np.array([6.0, 7.5, 9.0, 12.0, 16.0])
directions = np.linalg.qr(rng.standard_normal((n, len(outliers))))[0]
matrix = factors @ factors.T + (directions * outliers) @ directions.T
exact = np.linalg.eigvalsh(matrix)

# %%
# Ten start vectors with thirty steps each: 300 products in place of a full diagonalization.

measure = spectra.slq(matrix, num_probes=10, num_steps=30, rng=0)
print(f"products: {measure.attrs['num_matvecs']}")
print(f"Wasserstein distance to the exact spectrum: {spectra.wasserstein_distance(measure, exact):.4f}")

# %%
# The density is a picture, smoothed with a stated width. The cumulative distribution is not smoothed; its band is
# certain for each start vector (Chebyshev-Markov-Stieltjes).

result, axes = plt.subplots(ncols=2, figsize=(11, 4.2), layout="constrained")
plot_density(measure, ax=axes[0])
plot_cdf(measure, ax=axes[1])
axes[1].plot(exact, np.arange(1, n + 1) / n, color="black", linewidth=1, label="exact")
axes[1].legend()

# %%
# Sums over eigenvalues come with an interval. Here is what it covered, over forty seeds.

truth = np.log1p(exact).mean()
estimates = [
    spectra.expectation(spectra.slq(matrix, num_probes=10, num_steps=20, rng=seed), np.log1p) for seed in range(40)
]
covered = sum(e.low <= truth <= e.high for e in estimates)
print(estimates[0])
print(f"exact {truth:.4f}; the 95% interval covered it in {covered} of {len(estimates)} seeds")

# %%
# Outliers are eigenvalues only with a certificate: the residual bounds the distance to the nearest eigenvalue.

pairs = spectra.eigenpairs(matrix, num=5, which="largest", rng=0)
for value, residual, true in zip(pairs["eigenvalue"].values, pairs["residual"].values, exact[::-1], strict=False):
    print(f"{value:9.5f} +- {residual:.1e}   exact {true:9.5f}")
