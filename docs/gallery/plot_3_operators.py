"""
Three curvature matrices of one network
=======================================

Hessian, Gauss-Newton and Fisher matrix of a small network on scikit-learn's digits: built, multiplied, and compared by
their spectra. None of them is ever formed.
"""

import matplotlib.pyplot as plt
import torch

import probes
from spectra.plot import plot_density
from spectra.spectrum_report import render_spectrum

torch.set_num_threads(1)
task = probes.examples.digits_mlp()

# %%
# An operator has ``.shape`` and ``@``. The first block of vectors decides how products are formed: every way that
# works and agrees is timed on the first batch. Which one wins may differ from run to run.

hessian = probes.HessianOperator(task.model, task.loss, task.data)
print(hessian)
print("single vectors:", hessian.product_strategy)

block = torch.randn(hessian.shape[0], 8, generator=torch.Generator().manual_seed(0))
product = hessian @ block
print("blocks:", hessian.product_strategy)
print("among:", ", ".join(hessian.ladder.seconds))

# %%
# Naming a strategy fixes it; the numbers are the same up to rounding.

fixed = probes.HessianOperator(task.model, task.loss, task.data, strategy="kept_graph")
apart = torch.linalg.vector_norm(fixed @ block - product) / torch.linalg.vector_norm(product)
print(f"relative difference {float(apart):.0e}")

# %%
# For cross-entropy the Fisher matrix *is* the Gauss-Newton matrix, and the Hessian is that and a residual, which comes
# from the curvature of the network itself.

gauss_newton = probes.GaussNewtonOperator(task.model, task.loss, task.data)
fisher = probes.FisherOperator(task.model, task.loss, task.data)
residual = hessian - gauss_newton
norm = torch.linalg.vector_norm
image = gauss_newton @ block
print(f"|F V - G V| / |G V| = {float(norm(fisher @ block - image) / norm(image)):.0e}")
print(f"|(H - G) V| / |G V| = {float(norm(residual @ block) / norm(image)):.2f}")

# %%
# One run for each matrix gives its extreme eigenvalues, trace and density, with error bars.

names = ["hessian", "gauss_newton", "fisher"]
spectrum = probes.measure(task, matrices=names)
print(render_spectrum(spectrum))

# %%
# The Hessian of a young network is nearly symmetric about zero: as much negative curvature as positive. The
# Gauss-Newton matrix has none, and most of its eigenvalues are zero or nearly so.

result, axes = plt.subplots(nrows=3, figsize=(7, 9.5), layout="constrained", sharex=True)
for ax, name in zip(axes, names, strict=True):
    plot_density(spectrum[f"{name}/measure"].to_dataset(), ax=ax, x_scale="linear")
    ax.set_title(f"{name}, {spectrum[name].attrs['num_matvecs']} products", fontsize="medium")
reach = 1.2 * float(spectrum["hessian/eigenpairs"]["eigenvalue"].max())
axes[0].set_xlim(-reach, reach)
