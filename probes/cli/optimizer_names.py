"""From the name of an optimizer on the command line to its description, or to the check that refuses it."""

import difflib
from typing import TYPE_CHECKING, get_args

from spectra.errors import ArgumentError

if TYPE_CHECKING:
    from spectra.recommend import Check, OptimizerSpec

__all__ = ["read_kind", "spec_of", "unknown_check", "unsupported_check"]

#: Which kinds an option belongs to.
OWNERS = {
    "--momentum": ("momentum", "nesterov", "adam", "adamw", "rmsprop"),
    "--beta2": ("adam", "adamw"),
    "--eps": ("adam", "adamw", "rmsprop"),
}


def read_kind(name: str) -> str | None:
    """Return the kind that a name means, in any case and with any hyphens; None if it is unknown.

    Examples
    --------
    >>> read_kind("AdamW"), read_kind("schedule-free"), read_kind("adma")
    ('adamw', 'schedulefree', None)
    """
    from spectra.recommend import UNSUPPORTED_OPTIMIZERS, OptimizerKind

    plain = name.lower().replace("-", "").replace("_", "")
    return plain if plain in (*get_args(OptimizerKind), *UNSUPPORTED_OPTIMIZERS) else None


def unknown_check(name: str) -> "Check":
    """Return the failed check of an unknown optimizer, with the names that come near."""
    from spectra.recommend import UNSUPPORTED_OPTIMIZERS, Check, OptimizerKind

    known = get_args(OptimizerKind)
    matches = (difflib.get_close_matches(name.lower(), names, n=2) for names in (known, UNSUPPORTED_OPTIMIZERS))
    near = [match for found in matches for match in found]
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    return Check(
        claim="the optimizer is known",
        observed=f"{name!r}{hint}",
        required=f"one of {', '.join(known)}",
        passed=False,
        source="spectra.recommend.optimizer",
    )


def unsupported_check(kind: str) -> "Check | None":
    """Return the failed check of an optimizer without a known stable limit; None for one that has it.

    Examples
    --------
    >>> unsupported_check("adamw") is None, unsupported_check("sophia").claim
    (True, 'the optimizer has a known stable limit')
    """
    from spectra.recommend import UNSUPPORTED_OPTIMIZERS, Check, OptimizerKind

    if kind not in UNSUPPORTED_OPTIMIZERS:
        return None
    return Check(
        claim="the optimizer has a known stable limit",
        observed=f"{kind}: {UNSUPPORTED_OPTIMIZERS[kind]}",
        required=f"one of {', '.join(get_args(OptimizerKind))}",
        passed=False,
        source="spectra.recommend.unsupported",
    )


def spec_of(
    kind: str,
    *,
    typed: dict[str, str],
    momentum: float | None,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> "OptimizerSpec":
    """Return the description of an optimizer, or raise ArgumentError for a constant that it does not have."""
    from spectra.recommend import OptimizerSpec

    for option, owners in OWNERS.items():
        if option in typed and kind not in owners:
            hint = ". Say --optimizer momentum" if (kind, option) == ("sgd", "--momentum") else ""
            raise ArgumentError(
                f"{option} belongs to {', '.join(owners)}; optimizer {kind!r} has no momentum or "
                f"moment of that kind{hint}"
            )
    return OptimizerSpec(kind=kind, momentum=momentum, beta2=beta2, eps=eps, weight_decay=weight_decay)
