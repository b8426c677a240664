"""Torch optimizers, read: what they are, how their groups relate, the same again for a copy of the model, their files.

===================  ==========================================================
``reading``          :func:`describe_optimizer`: kind and constants
``groups``           :func:`group_ratios`, :func:`group_differences`, :func:`set_learning_rate`
``rebuilding``       :func:`rebuild`: a copy with its state, for a copy of the model
``moments``          :func:`second_moment` as kept in the state
``files``            :func:`load_optimizer_state`: a saved state, read safely
``restoring``        :func:`optimizer_from_state`: the optimizer that it belongs to
===================  ==========================================================
"""

from probes.optimizers.files import load_optimizer_state
from probes.optimizers.groups import group_differences, group_ratios, set_learning_rate
from probes.optimizers.moments import second_moment
from probes.optimizers.reading import describe_optimizer
from probes.optimizers.rebuilding import rebuild
from probes.optimizers.restoring import optimizer_from_state

__all__ = [
    "describe_optimizer",
    "group_differences",
    "group_ratios",
    "load_optimizer_state",
    "optimizer_from_state",
    "rebuild",
    "second_moment",
    "set_learning_rate",
]
