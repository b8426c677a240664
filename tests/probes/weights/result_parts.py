"""Parts of the results of weight_spectra that several test files look at."""

import json

from probes.weights import weight_spectra
from spectra.weights_summary import summarize_weights


def row(model, **options):
    """Return the only row of a model as a Dataset without the dimension."""
    return weight_spectra(model, **options).isel(layer=0)


def look(source, **options):
    """Return what the only matrix of a source looks like, and its rank."""
    found = summarize_weights(weight_spectra(source, num_bootstrap=20, **options))["layers"][0]
    return found["looks_like"], found["rank"]


def left_out(found):
    """Return why each tensor is not in a result, by its name."""
    return {entry["name"]: entry["why"] for entry in json.loads(found.attrs["left_out"])}
