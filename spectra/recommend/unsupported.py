"""Optimizers that are recognized by name but for which no stable limit is known or measured, and why."""

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["UNSUPPORTED_OPTIMIZERS", "recognized_kind"]

_SIGNS = (
    "of a length that does not shrink with the gradient; their limit needs the norm of the curvature from the largest "
    "entry to the sum of moduli, which is not measured"
)
_MATRICES = "of a length that does not shrink with the gradient; their limit needs the curvature in a spectral norm of "
_LAYERS = "it rescales the step of every layer by the norm of its weights, so that its length does not shrink with the "

#: Kind to one sentence of reason, without the full stop.
UNSUPPORTED_OPTIMIZERS: Mapping[str, str] = MappingProxyType(
    {
        "adadelta": "the length of its steps follows from two running averages, not from a learning rate alone",
        "adafactor": "its second moments are factored, and its steps are clipped and scaled by the size of the weights",
        "adagrad": "its denominator grows with every step, so that a limit measured at one state does not hold later",
        "adamax": "it divides by a decayed maximum of gradients, for which no limit was compared with training",
        "asgd": "it lowers its own learning rate as it runs and averages its iterates",
        "dadapt": "it chooses its own learning rate as it runs",
        "lamb": _LAYERS + "gradient",
        "lars": _LAYERS + "gradient",
        "lbfgs": "it takes its directions from past gradients and evaluates a closure several times in each step",
        "lion": f"its steps are signs of averaged gradients, {_SIGNS}",
        "muon": f"its steps are orthogonalized matrices, {_MATRICES}each layer, which is not measured",
        "nadam": "its momentum changes from step to step, and limits are for one that stays",
        "prodigy": "it chooses its own learning rate as it runs",
        "radam": "it changes from momentum to preconditioned steps as it runs, so that no single space describes it",
        "rprop": "it keeps a step length for every weight, changed by signs of full-batch gradients",
        "sam": "its gradient is taken at a perturbed point, whose curvature is not measured",
        "schedulefree": "its gradient is taken between an iterate and an average whose weights change as it runs",
        "scion": f"its steps are extreme points of a norm ball of each layer, {_MATRICES}each layer, not measured",
        "shampoo": "its preconditioner is a product of matrix roots of each layer, which is not measured",
        "signsgd": f"its steps are signs of gradients, {_SIGNS}",
        "soap": "it preconditions in a rotated basis of each layer, which is not measured",
        "sophia": "its steps are clipped entry by entry, so that their length does not follow from the curvature",
        "sparseadam": "it steps only in the entries of a sparse gradient, which no single preconditioner describes",
    }
)


def recognized_kind(name: str) -> str | None:
    """Return the unsupported kind that a class name speaks of, or None.

    Examples
    --------
    >>> recognized_kind("SophiaG"), recognized_kind("AdamWScheduleFree"), recognized_kind("AdamW")
    ('sophia', 'schedulefree', None)
    """
    plain = name.lower().replace("_", "")
    found = [kind for kind in UNSUPPORTED_OPTIMIZERS if kind in plain]
    return max(found, key=len, default=None)
