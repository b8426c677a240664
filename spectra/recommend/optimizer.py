"""What the rules need to know of an optimizer: its kind and its constants, in torch's conventions."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Literal, get_args

from spectra.errors import ArgumentError, SchemaError
from spectra.recommend.unsupported import UNSUPPORTED_OPTIMIZERS

__all__ = ["OptimizerKind", "OptimizerSpec"]

#: Kinds with a stable limit. Others are recognized too, see :data:`spectra.recommend.unsupported`.
OptimizerKind = Literal["sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop"]

_MOMENTUM = {"momentum": 0.9, "nesterov": 0.9, "adam": 0.9, "adamw": 0.9}
_ADAM = ("adam", "adamw")


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec:
    """Description of a first-order optimizer.

    Attributes
    ----------
    kind : {"sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop"}, or one without a limit
        ``"momentum"`` is :class:`torch.optim.SGD` with its *sum* form of the heavy ball,
        ``m <- beta m + (1 - dampening) g; w <- w - learning_rate m``, whose effective rate is
        ``learning_rate (1 - dampening) / (1 - beta)``; ``"nesterov"`` steps by ``g + beta m`` instead of ``m``.
        Adam's first moment is an *average*, ``m <- beta m + (1 - beta) g``. RMSprop's momentum is a sum of
        preconditioned gradients. Kinds of :data:`spectra.recommend.unsupported.UNSUPPORTED_OPTIMIZERS`, such as
        ``"muon"``, can be named but have no limit here: see :attr:`why_unsupported`.
    momentum : float
        ``beta`` of either form (Adam's ``beta1``, RMSprop's ``momentum``). Default 0.9, and 0 for ``"sgd"`` and
        ``"rmsprop"``, as in torch.
    beta2, eps : float
        Adam's second-moment decay; denominator constant of Adam and RMSprop.
    weight_decay : float
        Decoupled for ``"adamw"``; coupled L2 for the others (it adds itself to the Hessian).
    dampening : float
        Of ``"momentum"`` only, in [0, 1): the part of the gradient that does not enter the buffer after the first step.
    amsgrad : bool
        Adam and AdamW only: the denominator is the largest second moment so far.
    alpha : float
        RMSprop's second-moment decay.
    centered : bool
        RMSprop only: the denominator is a variance, not a mean square.

    Raises
    ------
    ArgumentError
        For an unknown kind, a constant outside its range, or one that the kind does not have.

    Examples
    --------
    >>> OptimizerSpec(kind="adamw").gain
    19.0
    >>> OptimizerSpec(kind="lion").why_unsupported.partition(",")[0]
    'its steps are signs of averaged gradients'
    """

    kind: str
    momentum: float | None = None
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    dampening: float = 0.0
    amsgrad: bool = False
    alpha: float = 0.99
    centered: bool = False

    def __post_init__(self) -> None:
        """Check ranges and fill in the default momentum."""
        known = get_args(OptimizerKind)
        if self.kind not in known and self.kind not in UNSUPPORTED_OPTIMIZERS:
            raise ArgumentError(
                f"optimizer must be one of {', '.join(known)}; got {self.kind!r}. Recognized, but without a stable "
                f"limit: {', '.join(UNSUPPORTED_OPTIMIZERS)}"
            )
        if self.momentum is None:
            object.__setattr__(self, "momentum", _MOMENTUM.get(self.kind, 0.0))
        if self.kind == "sgd" and self.momentum != 0:
            raise ArgumentError(
                f"optimizer 'sgd' has no momentum, got momentum={self.momentum}; say optimizer 'momentum'"
            )
        if self.kind == "nesterov" and self.momentum == 0:
            raise ArgumentError("optimizer 'nesterov' needs a positive momentum, got 0; without it, say 'sgd'")
        for name, value in (
            ("momentum", self.beta),
            ("beta2", self.beta2),
            ("dampening", self.dampening),
            ("alpha", self.alpha),
        ):
            if not 0 <= value < 1:
                raise ArgumentError(f"{name} must lie in [0, 1); got {value}")
        for name, value in (("eps", self.eps), ("weight_decay", self.weight_decay)):
            if not 0 <= value < float("inf"):
                raise ArgumentError(f"{name} must be finite and not negative; got {value}")
        for name, present, owners in (
            ("dampening", self.dampening != 0, ("momentum",)),
            ("amsgrad", self.amsgrad, _ADAM),
            ("centered", self.centered, ("rmsprop",)),
        ):
            if present and self.kind not in owners:
                raise ArgumentError(f"{name} belongs to {' and '.join(owners)}; optimizer {self.kind!r} has none")

    @property
    def why_unsupported(self) -> str | None:
        """Reason for which there is no stable limit for this kind, one sentence; None where there is one."""
        return UNSUPPORTED_OPTIMIZERS.get(self.kind)

    @property
    def beta(self) -> float:
        """Momentum as a plain float."""
        return 0.0 if self.momentum is None else float(self.momentum)

    @property
    def is_adaptive(self) -> bool:
        """Whether steps are preconditioned by second moments of the gradient, in whose space limits are measured."""
        return self.kind in (*_ADAM, "rmsprop")

    @property
    def decoupled_weight_decay(self) -> float:
        """Decay that shrinks the weights beside the step; 0 where it is part of the gradient."""
        return self.weight_decay if self.kind == "adamw" else 0.0

    @property
    def coupled_weight_decay(self) -> float:
        """Decay that is part of the gradient and adds itself to the Hessian; 0 where it is decoupled."""
        return self.weight_decay - self.decoupled_weight_decay

    @property
    def gain(self) -> float:
        """``k = (1 + beta) / (1 - beta)``: 1 without momentum, 19 at 0.9."""
        return round((1 + self.beta) / (1 - self.beta), 12)

    @property
    def label(self) -> str:
        """The optimizer in words."""
        moments = f"(beta1 {self.beta:g}, beta2 {self.beta2:g}{', amsgrad' if self.amsgrad else ''})"
        words = {
            "sgd": "SGD",
            "momentum": f"SGD with momentum {self.beta:g}"
            + (f" and dampening {self.dampening:g}" if self.dampening else ""),
            "nesterov": f"SGD with Nesterov momentum {self.beta:g}",
            "adam": f"Adam {moments}",
            "adamw": f"AdamW {moments}",
            "rmsprop": f"RMSprop (alpha {self.alpha:g}{', centered' if self.centered else ''}"
            + (f", momentum {self.beta:g})" if self.beta else ")"),
        }.get(self.kind, self.kind)
        return words + (f", weight decay {self.weight_decay:g}" if self.weight_decay else "")

    def to_json(self) -> str:
        """Return the description as JSON text, as stored in run files; later fields only where they say something."""
        kept = asdict(self)
        for field in fields(self):
            if field.name in ("dampening", "amsgrad", "alpha", "centered") and kept[field.name] == field.default:
                del kept[field.name]
        return json.dumps(kept)

    @staticmethod
    def from_json(text: str) -> "OptimizerSpec":
        """Read what :meth:`to_json` wrote, now or in an earlier release.

        Raises
        ------
        SchemaError
            The text is damaged, or describes an optimizer that this release does not know.
        """
        try:
            return OptimizerSpec(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise SchemaError(
                f"the description of the optimizer cannot be read ({error}): it is damaged or written by a newer "
                f"release; upgrade spectra-probes, or measure again. It says {text[:200]!r}"
            ) from error
