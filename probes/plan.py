"""What a measurement does, and how carefully."""

import itertools
from dataclasses import dataclass

from spectra.errors import ArgumentError

__all__ = ["MeasurementPlan"]


@dataclass(frozen=True, kw_only=True)
class MeasurementPlan:
    """What to measure, and how carefully.

    Attributes
    ----------
    probe_steps : tuple of int
        Real optimizer steps at which to measure, increasing, from 0.
    probe_learning_rate : float, optional
        Rate of those steps; by default 1e-3 for Adam and AdamW (1e-5 if the task is pretrained), ``1/lam_0`` for SGD
        and ``(1 - beta)/lam_0`` for SGD with momentum, ``lam_0`` being the larger of batch sharpness and largest
        curvature at the start. Quartered until the steps do not raise the loss.
    candidate_steps : int
        Real steps at each candidate learning rate; 0 tries none. On 27 cells of three tuning tasks of
        docs/validation.md 40 steps led to a lower mean regret than 80 for each optimizer.
    num_directions : int
        Top Ritz vectors at which the curvature noise is measured.
    num_starts : int
        Start vectors of the eigenpair search.
    max_krylov_steps : int
        Step limit of that search.
    num_probes, num_steps : int
        Start vectors and Lanczos steps of the spectral measure; with ``num_probes=0``, the default, there is none.
    num_micro_batches, micro_batch_size : int
        Disjoint micro-batches for the noise.
    reference_size : int, optional
        Samples of the reference set, on which curvature is measured; ``max(32, 4 batch_size)``, at most all, by
        default. On the tuning tasks of docs/validation.md 128 at least led to the same rates, at up to four times the
        cost.
    noise_size : int, optional
        Samples for noise, preconditioner and loss, those of the reference set among them; ``max(128, reference_size)``
        by default.
    matrix : {"hessian", "gauss_newton"}
        Matrix of the spectral measure. Limits always come from the Hessian.
    """

    probe_steps: tuple[int, ...] = (0, 10)
    probe_learning_rate: float | None = None
    candidate_steps: int = 40
    num_directions: int = 3
    num_starts: int = 2
    max_krylov_steps: int = 60
    num_probes: int = 0
    num_steps: int = 30
    num_micro_batches: int = 24
    micro_batch_size: int = 16
    reference_size: int | None = None
    noise_size: int | None = None
    matrix: str = "hessian"

    def __post_init__(self) -> None:
        """Refuse plans that cannot be carried out."""
        steps = self.probe_steps
        if not steps or steps[0] != 0 or any(b <= a for a, b in itertools.pairwise(steps)):
            raise ArgumentError(f"probe_steps must increase from 0; got {steps}")
        for name in ("num_directions", "num_starts", "max_krylov_steps", "num_steps", "micro_batch_size"):
            if getattr(self, name) < 1:
                raise ArgumentError(f"{name} must be at least 1; got {getattr(self, name)}")
        if self.candidate_steps < 0:
            raise ArgumentError(f"candidate_steps must not be negative; got {self.candidate_steps}")
        if self.num_probes < 0:
            raise ArgumentError(f"num_probes must not be negative; got {self.num_probes}")
        for name in ("reference_size", "noise_size"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ArgumentError(f"{name} must be at least 1; got {getattr(self, name)}")
        if self.probe_learning_rate is not None and not 0 < self.probe_learning_rate < float("inf"):
            raise ArgumentError(f"probe_learning_rate must be positive and finite; got {self.probe_learning_rate}")
        if self.matrix not in ("hessian", "gauss_newton"):
            raise ArgumentError(f"matrix must be 'hessian' or 'gauss_newton'; got {self.matrix!r}")
