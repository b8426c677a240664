"""Which quantities a recorder measures for an optimizer."""

import contextlib
from collections.abc import Sequence

from torch import optim

from probes.optimizers import group_ratios
from spectra.errors import SpectraError
from spectra.recommend import OptimizerSpec
from spectra.recording import MEASURED

__all__ = ["applicable", "is_scaled"]


def is_scaled(optimizer: optim.Optimizer, spec: OptimizerSpec | None) -> bool:
    """Whether the steps of the optimizer are gradients times something that differs by coordinate."""
    if spec is not None and spec.is_adaptive:
        return True
    # An optimizer that sets its own rates may have none in its groups.
    with contextlib.suppress(SpectraError, TypeError, ValueError, KeyError):
        return any(ratio != 1.0 for ratio in group_ratios(optimizer))
    return False


def applicable(quantities: Sequence[str] | None, *, scaled: bool) -> tuple[str, ...]:
    """Return what is measured: all that apply, or what was asked for and the top direction that it needs.

    Parameters
    ----------
    quantities : sequence of str, optional
        Of :data:`spectra.recording.MEASURED`.
    scaled : bool
        Whether the optimizer's steps live in another space than the gradients, see :func:`is_scaled`.

    Examples
    --------
    >>> applicable(["curvature_noise"], scaled=True)
    ('preconditioned_sharpness', 'curvature_noise')
    """
    if quantities is None:
        return tuple(name for name in MEASURED if scaled or name != "preconditioned_sharpness")
    asked = set(quantities)
    if "curvature_noise" in asked:
        asked.add("preconditioned_sharpness" if scaled or "preconditioned_sharpness" in asked else "sharpness")
    return tuple(name for name in MEASURED if name in asked)
