"""What the rules need to know of an optimizer: its kind and its constants, in torch's conventions."""

import json
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from spectra.errors import ArgumentError

__all__ = ["OptimizerKind", "OptimizerSpec"]

OptimizerKind = Literal["sgd", "momentum", "adam", "adamw"]


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec:
    """Description of a first-order optimizer.

    Attributes
    ----------
    kind : {"sgd", "momentum", "adam", "adamw"}
        ``"momentum"`` is :class:`torch.optim.SGD` with its *sum* form of the heavy ball,
        ``m <- beta m + g; w <- w - learning_rate m``, whose effective rate is ``learning_rate / (1 - beta)``.
        Adam's first moment is an *average*, ``m <- beta m + (1 - beta) g``.
    momentum : float
        ``beta`` of either form (Adam's ``beta1``); 0 for ``"sgd"``. Default 0.9 except for ``"sgd"``.
    beta2, eps : float
        Adam's second-moment decay and denominator constant.
    weight_decay : float
        Coupled L2 for ``"sgd"``, ``"momentum"`` and ``"adam"`` (it adds itself to the Hessian), decoupled for
        ``"adamw"``.

    Raises
    ------
    ArgumentError
        For an unknown kind or a constant outside its range.

    Examples
    --------
    >>> OptimizerSpec(kind="adamw").gain
    19.0
    """

    kind: OptimizerKind
    momentum: float | None = None
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Check ranges and fill in the default momentum."""
        if self.kind not in get_args(OptimizerKind):
            raise ArgumentError(f"optimizer must be one of {', '.join(get_args(OptimizerKind))}; got {self.kind!r}")
        if self.momentum is None:
            object.__setattr__(self, "momentum", 0.0 if self.kind == "sgd" else 0.9)
        if self.kind == "sgd" and self.momentum != 0:
            raise ArgumentError(
                f"optimizer 'sgd' has no momentum, got momentum={self.momentum}; say optimizer 'momentum'"
            )
        for name, value in (("momentum", self.beta), ("beta2", self.beta2)):
            if not 0 <= value < 1:
                raise ArgumentError(f"{name} must lie in [0, 1); got {value}")
        for name, value in (("eps", self.eps), ("weight_decay", self.weight_decay)):
            if not 0 <= value < float("inf"):
                raise ArgumentError(f"{name} must be finite and not negative; got {value}")

    @property
    def beta(self) -> float:
        """Momentum as a plain float."""
        return 0.0 if self.momentum is None else float(self.momentum)

    @property
    def is_adaptive(self) -> bool:
        """Whether steps are preconditioned by second moments of the gradient."""
        return self.kind in ("adam", "adamw")

    @property
    def gain(self) -> float:
        """``k = (1 + beta) / (1 - beta)``: 1 without momentum, 19 at 0.9."""
        return round((1 + self.beta) / (1 - self.beta), 12)

    @property
    def label(self) -> str:
        """The optimizer in words."""
        words = {
            "sgd": "SGD",
            "momentum": f"SGD with momentum {self.beta:g}",
            "adam": f"Adam (beta1 {self.beta:g}, beta2 {self.beta2:g})",
            "adamw": f"AdamW (beta1 {self.beta:g}, beta2 {self.beta2:g})",
        }[self.kind]
        return words + (f", weight decay {self.weight_decay:g}" if self.weight_decay else "")

    def to_json(self) -> str:
        """Return the description as JSON text, as stored in run files."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "OptimizerSpec":
        """Read what :meth:`to_json` wrote."""
        return OptimizerSpec(**json.loads(text))
