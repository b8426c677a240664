r"""Curvature and noise of the state a model is in, on a fixed reference set, in the space of its optimizer.

The space of an optimizer that divides its steps by P is that of :math:`P^{-1/2} H P^{-1/2}`; groups of parameters with
learning rates ``r_g`` times the first one's belong to it as :math:`P_g / r_g`.
"""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from probes.batches import Batch, Samples
from probes.batchwise import BatchwiseHessian
from probes.cost import Cost
from probes.noise import MIN_MICRO_BATCHES, MicroBatches, curvature_noise_grams, gram, micro_batch_gradients
from probes.noise import micro_batches as draw_micro_batches
from probes.operators import HessianOperator
from probes.parameters import flatten, select
from probes.plan import MeasurementPlan
from probes.task import Task
from spectra import Operator, eigenpairs
from spectra.errors import NonFiniteError
from spectra.recommend import OptimizerSpec

__all__ = ["StateMeter", "batch_normalization"]

Progress = Callable[[str, int, int], None]

#: Samples in one piece of the reference set: bounds the memory of a product, does not change its value.
CHUNK_SAMPLES = 256
#: Samples at least, for curvature and for noise; see :class:`probes.plan.MeasurementPlan`.
MIN_REFERENCE_SAMPLES, MIN_NOISE_SAMPLES = 32, 128
#: Residual of the eigenpairs of a stage, relative to the norm; their error is of its square.
TOLERANCE = 2e-2
#: Gradients below so many eps of the largest are rounding.
ROUNDING = 8


def batch_normalization(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Return the layers of a model whose output depends on the other samples of the batch in train mode."""
    return [module for module in model.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]


class StateMeter:
    """A copy of a task's model, the data on which it is measured, and the measurement.

    Curvature is measured on a fixed reference set. Noise, preconditioner and loss are cheaper and take more samples,
    of which the reference set is a part: a coordinate that is curved in it must not have a preconditioner of eps. A
    network with batch normalization is measured as it trains: each batch of
    the reference set has the training batch size and is normalized by itself.

    Parameters
    ----------
    task : Task
        Its model is copied.
    samples : Samples
        All samples of the task.
    optimizer : OptimizerSpec or None
        Defines the space; ``None`` is plain SGD's.
    batch_size : int
        Effective batch size of training.
    plan : MeasurementPlan
        Sizes.
    seed : int
        Of the draws and start vectors.
    progress : callable
        Called with (what is being done, done, total).
    parameters : sequence of str, optional
        Names of the measured parameters; those of the task by default.
    relative_rates : Tensor of shape (n,), optional
        Learning rate of each coordinate over that of the first parameter group.
    """

    def __init__(
        self,
        task: Task,
        samples: Samples,
        *,
        optimizer: OptimizerSpec | None,
        batch_size: int,
        plan: MeasurementPlan,
        seed: int,
        progress: Progress,
        parameters: Sequence[str] | None = None,
        relative_rates: torch.Tensor | None = None,
    ) -> None:
        self.task, self.samples, self.optimizer, self.batch_size = task, samples, optimizer, batch_size
        self.plan, self.seed, self.progress = plan, seed, progress
        self.cost = Cost()
        self.relative_rates = relative_rates
        self.model = copy.deepcopy(task.model)
        for module in self.model.modules():
            if isinstance(module, torch.nn.RNNBase):
                module.flatten_parameters()  # which a copy is not, as cuDNN notes at every call
        self.model.eval()
        self.normalization = batch_normalization(self.model)
        for module in self.normalization:
            module.train()
        self.parameters = select(self.model, task.parameters if parameters is None else parameters)
        count = samples.num_samples
        size = min(count, plan.reference_size or reference_size(batch_size))
        wide = min(count, max(size, plan.noise_size or MIN_NOISE_SAMPLES))
        drawn = np.random.default_rng([seed, 0]).permutation(count)
        order, among = np.sort(drawn[:size]), np.sort(drawn[:wide])
        shuffled = np.random.default_rng([seed, 4]).permutation(among)
        self.reference: list[Batch]
        self.loss_batches: list[Batch]
        self.micro: MicroBatches
        self.moment_batches: list[Batch]
        if self.normalization:
            self._draw_whole_batches(shuffled, size)
        else:
            self.reference_size, self.noise_size = size, wide
            self.reference = [samples.take(rows) for rows in np.array_split(order, -(-size // CHUNK_SAMPLES))]
            self.loss_batches = [samples.take(rows) for rows in np.array_split(among, -(-wide // CHUNK_SAMPLES))]
            self.micro = draw_micro_batches(
                samples,
                num=plan.num_micro_batches,
                size=plan.micro_batch_size,
                rng=np.random.default_rng([seed, 1]),
                within=among,
            )
            pieces = np.array_split(shuffled, max(2, wide // plan.micro_batch_size))
            self.moment_batches = [samples.take(rows) for rows in pieces]

    def _draw_whole_batches(self, shuffled: npt.NDArray[np.int64], wanted: int) -> None:
        """Cut the data into batches of the training size; micro-batches are smaller only where too few would remain."""
        size = min(self.batch_size, len(shuffled))
        whole = shuffled[: len(shuffled) // size * size]
        self.loss_batches = [self.samples.take(np.sort(rows)) for rows in whole.reshape(-1, size)]
        self.reference = self.loss_batches[: max(1, wanted // size)]
        self.reference_size, self.noise_size = size * len(self.reference), len(whole)
        small = max(1, min(size, self.samples.num_samples // (MIN_MICRO_BATCHES + 4)))
        self.micro = draw_micro_batches(
            self.samples, num=self.plan.num_micro_batches, size=small, rng=np.random.default_rng([self.seed, 1])
        )
        self.moment_batches = list(self.micro.batches)

    @property
    def coupled_decay(self) -> float:
        """L2 weight decay that adds itself to gradient and Hessian; AdamW's is decoupled."""
        return self.optimizer.coupled_weight_decay if self.optimizer else 0.0

    def hessian(self, batches: Sequence[Batch], *, check: bool = False) -> "HessianOperator | BatchwiseHessian":
        """Return the Hessian of the model as it is; each batch is normalized by itself, as in training."""
        kind = BatchwiseHessian if self.normalization else HessianOperator
        return kind(self.model, self.task.loss, batches, **self.options(), check=check)

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments of a curvature operator of the model.

        The strategy is a named one: one that is chosen by its speed would change the last digits from run to run.
        """
        names = list(self.parameters)
        return {**self.task.operator_options(), "parameters": names, "rng": self.seed, "strategy": "kept_graph"}

    def space(self, operator: Any, scaling: torch.Tensor | None) -> Operator:
        """Return the operator in the space of the optimizer: coupled weight decay added, then preconditioned."""
        result = Operator(lambda block: operator @ block, like=operator.like, name=operator.name)
        if self.coupled_decay:
            result = result.shift(self.coupled_decay)
        return result if scaling is None else result.congruence(scaling)

    def loss(self) -> float:
        """Return the mean loss on the samples of the noise, which are more than those of the reference set."""
        self.cost.gradients(1, self.noise_size / 3)
        return float(self.hessian(self.loss_batches).loss())

    def sums_losses(self) -> bool:
        """Whether the loss of a batch is the sum over its samples, not their mean: its halves then add up to it."""
        batch = self.loss_batches[0]
        half = batch.size // 2
        if self.normalization or not half:
            return False
        halves = [batch.take(slice(half)), batch.take(slice(half, 2 * half))]
        if batch.size > 2 * half:
            batch = batch.take(slice(2 * half))
        whole, first, second = (float(self.hessian([piece]).loss()) for piece in (batch, *halves))
        return math.isclose(whole, first + second, rel_tol=1e-3) and not math.isclose(whole, 0.0, abs_tol=1e-12)

    def flat_parameters(self) -> torch.Tensor:
        """Return the current parameters as one vector."""
        return flatten(list(self.parameters.values())).detach()

    def measure(
        self,
        label: str,
        *,
        second_moment: torch.Tensor | None = None,
        start: xr.Dataset | None = None,
        tolerance: float = TOLERANCE,
        num_directions: int | None = None,
        max_steps: int | None = None,
        num_micro_batches: int | None = None,
        loss: float | None = None,
        with_gradients: bool = True,
    ) -> tuple[xr.Dataset, torch.Tensor | None, xr.Dataset]:
        """Measure the current state.

        Parameters
        ----------
        label : str
            What the progress bar calls it.
        second_moment : Tensor of shape (n,), optional
            Adam's or RMSprop's running second moment, bias-corrected.
        start : Dataset, optional
            Eigenpairs of a state nearby, to start from.
        tolerance : float
            Of the eigenpairs, relative to the norm.
        num_directions : int, optional
            Eigenpairs at which the noise is measured; that of the plan by default.
        max_steps : int, optional
            Of the eigenpair search; that of the plan by default.
        num_micro_batches : int, optional
            From how many of the micro-batches noise is estimated; all by default.
        loss : float, optional
            Loss of this state, where it is known already.
        with_gradients : bool
            Whether to measure gradient noise as well, which costs one product for each micro-batch.

        Returns
        -------
        stage : Dataset
            The variables of one stage, see :mod:`spectra.recommend.run`, without coordinates.
        scaling : Tensor of shape (n,) or None
            ``P^-1/2``.
        pairs : Dataset
            The eigenpairs, with vectors.
        """
        plan, directions = self.plan, num_directions or self.plan.num_directions
        hessian = self.hessian(self.reference)
        micro = self.hessian(list(self.micro.batches)[:num_micro_batches])
        scaling = self.preconditioner(second_moment)
        operator = self.space(hessian, scaling)
        self.progress(f"{label}: Ritz pairs", 0, plan.max_krylov_steps)
        pairs = eigenpairs(
            operator,
            num=directions,
            which="largest",
            start=start,
            num_starts=plan.num_starts if start is None else 1,
            max_steps=max_steps or plan.max_krylov_steps,
            tolerance=tolerance,
            rng=self.seed,
            progress=lambda done, total: self.progress(f"{label}: Ritz pairs", done, total),
        )
        self.progress(f"{label}: curvature noise", 0, 1)
        vectors = torch.as_tensor(pairs["eigenvector"].values.T.copy()).to(hessian.like)
        noise = curvature_noise_grams(micro, vectors, scaling=scaling)
        self.cost.products(int(pairs.attrs["num_matvecs"]), self.reference_size)
        self.cost.products(noise.shape[0] * noise.shape[1], self.micro.size)

        def padded(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            return _filled(values, directions)

        stage = xr.Dataset(
            {
                "loss": self.loss() if loss is None else loss,
                "curvature": ("direction", padded(pairs["eigenvalue"].values)),
                "residual": ("direction", padded(pairs["residual"].values)),
                "start_curvature": ("start", _filled(pairs["start_largest"].values, plan.num_starts)),
                "smallest_curvature": float(pairs["start_smallest"].min()),
                "curvature_noise_gram": (("direction", "micro_batch", "other"), padded(noise)),
            }
        )
        if with_gradients:
            self.progress(f"{label}: gradient noise", 0, 1)
            stage = stage.assign(self._gradient_grams(micro, operator, scaling))
        return stage, scaling, pairs

    def _gradient_grams(self, micro: Any, operator: Operator, scaling: torch.Tensor | None) -> dict[str, Any]:
        gradients = micro_batch_gradients(micro)
        if self.coupled_decay:
            gradients = gradients + self.coupled_decay * self.flat_parameters()[:, None]
        if scaling is not None:
            gradients = scaling[:, None] * gradients
        count = gradients.shape[1]
        self.cost.gradients(count, self.micro.size)
        self.cost.products(count, self.reference_size)
        grams = gram(gradients)
        if not np.all(np.isfinite(grams)):
            raise NonFiniteError("a gradient of a micro-batch is not finite")
        dims = ("micro_batch", "other")
        return {
            "gradient_gram": (dims, grams),
            "gradient_curvature_gram": (dims, gram(gradients, operator @ gradients)),
        }

    def preconditioner(self, second_moment: torch.Tensor | None) -> torch.Tensor | None:
        r"""Return ``P^-1/2``, ``P = sqrt(max(v_hat, E g_b^2)) + eps``, times the root of the groups' relative rates.

        Young second moments are near zero for many coordinates, which makes the preconditioned curvature explode;
        their expectation ``E g_b^2 = G^2 + diag(Sigma)/b`` under the current state takes over until they have filled.
        ``G`` and ``diag(Sigma)`` are the mean and the scaled scatter of the gradients of pieces of samples among which
        *all* are on which the curvature is measured: a coordinate that few samples use must not be curved there and
        flat here. Coordinates whose gradients are rounding, such as a bias before batch normalization, are left out:
        ``P^-1/2`` would blow up the rounding of their curvature. None for plain SGD with one learning rate.
        """
        root = None if self.relative_rates is None else self.relative_rates.sqrt()
        if self.optimizer is None or not self.optimizer.is_adaptive:
            return root
        operator = self.hessian(self.moment_batches)
        count = len(self.moment_batches)
        size = (self.micro.size * count if self.normalization else self.noise_size) / count
        mean = torch.zeros_like(operator.like)
        squared = torch.zeros_like(operator.like)
        for index, gradient in enumerate(operator.batch_gradients(), 1):
            decayed = gradient + self.coupled_decay * self.flat_parameters()
            step = decayed - mean
            mean += step / index
            squared += step * (decayed - mean)
        variance = size * squared / (count - 1)
        self.cost.gradients(count, size)
        scatter = variance * max(0.0, 1 / self.batch_size - 1 / (size * count))
        moment = scatter if self.optimizer.centered else mean**2 + scatter
        if second_moment is not None:
            moment = torch.maximum(moment, second_moment)
        root_moment = moment.sqrt()
        is_known = root_moment > ROUNDING * torch.finfo(moment.dtype).eps * root_moment.max()
        scaling = torch.where(is_known, (root_moment + self.optimizer.eps).rsqrt(), 0.0)
        return scaling if root is None else scaling * root


def reference_size(batch_size: int) -> int:
    """Return how many samples curvature is measured on by default: four batches, and at least 32.

    The largest eigenvalue on ``R`` samples exceeds that on all by about ``s2 / (R lam)``, the limit's noise term is
    ``k s2 / (b lam)`` with ``k >= 1``: for ``R >= 4 b`` the excess is at most a quarter of the noise term.
    """
    return max(MIN_REFERENCE_SAMPLES, 4 * batch_size)


def _filled(values: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    """Return ``values`` with ``count`` entries along the first axis, NaN where there are fewer."""
    out = np.full((count, *values.shape[1:]), np.nan)
    out[: len(values)] = values[:count]
    return out
