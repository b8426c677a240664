"""What a recorder measures at one state of the training: numbers, and for what could not be measured the reason."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn, optim

from probes.hooks.coordinates import fingerprint
from probes.hooks.failures import reason_of
from probes.hooks.quantities import applicable, is_scaled
from probes.hooks.top_pair import TopPair, top_pair
from probes.hooks.workbench import Workbench
from probes.noise import gram
from probes.operators import preconditioner_of
from probes.optimizers import group_ratios
from probes.optimizers.reading import inner
from spectra.errors import SpectraError
from spectra.recommend import OptimizerSpec, pair_statistic, scatter, stable_limit
from spectra.recommend.noise_scale import ratio

__all__ = ["Measurement", "Probe"]

#: Steps after which the second moments of an adaptive optimizer are taken as they are; before that they are bounded
#: below by what the gradients of the present state give (a design choice, as in the recommender).
TRUSTED_MOMENT_STEPS = 100


@dataclass(frozen=True)
class Measurement:
    """One measured state.

    Attributes
    ----------
    values : dict of str to float
        By the names of :data:`spectra.recording.VARIABLES`; what was not measured is missing.
    failures : dict of str to str
        By quantity: the reason for which it could not be measured.
    """

    values: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


class Probe:
    """Measures states of one training run, each from the eigenvectors of the one before.

    Parameters
    ----------
    model : torch.nn.Module
        Live; looked at for parameters that were exchanged, frozen or freed.
    build : callable
        Returns the :class:`Workbench`, for the first measurement, and whenever the parameters are others.
    optimizer : torch.optim.Optimizer, optional
        Live; only read.
    spec : OptimizerSpec, optional
        What it is, where that is known.
    batch_size : int
        Effective batch of the training.
    quantities : sequence of str, optional
        See :func:`probes.hooks.quantities.applicable`.
    check : bool
        Whether products are compared with differences once, before the first are taken.
    tolerance : float
        Relative residual at which the search for the largest eigenvalue ends.
    max_products : int
        Of one search.
    rng : int
        Seed of the check and of random parts of start vectors.
    """

    def __init__(
        self,
        model: nn.Module,
        build: Callable[[], Workbench],
        *,
        optimizer: optim.Optimizer | None,
        spec: OptimizerSpec | None,
        batch_size: int,
        quantities: tuple[str, ...] | None,
        check: bool,
        tolerance: float,
        max_products: int,
        rng: int,
    ) -> None:
        self._model, self._build, self.spec, self.batch_size = model, build, spec, batch_size
        self.optimizer = None if optimizer is None else inner(optimizer)
        self.quantities, self.tolerance, self.max_products = quantities, tolerance, max_products
        self._unchecked, self._rng = check, rng
        self._bench: Workbench | None = None
        self._fingerprint: tuple[Any, ...] = ()
        self._generator: torch.Generator | None = None
        self._starts: dict[str, Tensor] = {}

    @property
    def bench(self) -> Workbench:
        """The loss on the reference set, as it was last built."""
        if self._bench is None:
            raise SpectraError("nothing has been measured yet")
        return self._bench

    def measure(self, *, learning_rate: float) -> Measurement:
        """Measure the present state; never raises but for interrupts."""
        result = Measurement()
        scaled = self.optimizer is not None and is_scaled(self.optimizer, self.spec)
        asked = applicable(self.quantities, scaled=scaled)
        try:
            self._keep_up()
            if set(asked) != {"noise_scale"}:
                self._note_check(result, asked)
            with self.bench.open():
                self._measure(result, asked, learning_rate)
                result.values["reference_loss"] = self.bench.loss
        except Exception as error:
            for name in asked:
                result.failures.setdefault(name, reason_of(error))
        for name in asked:
            result.values[f"{name}_status"] = 2 if name in result.failures else 1
        result.values["num_products"] = 0 if self._bench is None else self._bench.num_products
        return result

    def _keep_up(self) -> None:
        """Build what measures, anew if the parameters are not those of the last measurement."""
        present = fingerprint(self._model, self.optimizer)
        if self._bench is not None and present == self._fingerprint:
            return
        before = {} if self._bench is None else {name: p.shape for name, p in self._bench.parameters.items()}
        self._bench = None  # its memory is free before the next is built
        self._bench = self._build()
        self._fingerprint = present
        if before != {name: p.shape for name, p in self._bench.parameters.items()}:
            self._starts = {}

    def _note_check(self, result: Measurement, asked: tuple[str, ...]) -> None:
        """Compare products with differences until that has gone well once; searches of products that fail are off."""
        if not self._unchecked:
            return
        try:
            self.bench.check(rng=self._rng)
            self._unchecked = False
        except Exception as error:
            searches = ("preconditioned_sharpness", "sharpness")
            result.failures.update({name: reason_of(error) for name in searches if name in asked})

    def _measure(self, result: Measurement, asked: tuple[str, ...], learning_rate: float) -> None:
        scaled, young = "preconditioned_sharpness" in asked, self._is_young()
        pair: TopPair | None = None
        scaling: Tensor | None = None
        moment: Tensor | None = None
        if "noise_scale" in asked or (scaled and young):
            with self._noting(result, "noise_scale"):
                gradients = self.bench.gradients()
                moment = self._expected_square(gradients) if scaled and young else None
                if "noise_scale" in asked:
                    self._note_noise(result, gradients)
                del gradients
        if scaled and "preconditioned_sharpness" not in result.failures:
            with self._noting(result, "preconditioned_sharpness"):
                scaling = self._scaling(moment, learning_rate)
                pair = self._search(result, "preconditioned_sharpness", scaling)
        if "sharpness" in asked and "sharpness" not in result.failures:
            with self._noting(result, "sharpness"):
                plain = self._search(result, "sharpness", None)
                pair = pair if scaled else plain
        self.bench.release()
        if "curvature_noise" in asked:
            with self._noting(result, "curvature_noise"):
                self._note_curvature_noise(result, pair, scaling)
            if pair is not None and "curvature_noise" in result.values and self.spec is not None:
                with self._noting(result, "max_stable_learning_rate"):
                    self._note_limit(result, pair, self.spec, is_scaled=scaled, learning_rate=learning_rate)

    @contextlib.contextmanager
    def _noting(self, result: Measurement, name: str) -> Iterator[None]:
        """Note the reason for which a quantity could not be measured."""
        try:
            with self.bench.explaining():
                yield
        except Exception as error:
            result.failures[name] = reason_of(error)

    def _note_noise(self, result: Measurement, gradients: Tensor) -> None:
        products, size = gram(gradients), self.bench.micro_batches[0].size
        squared, trace = pair_statistic(products), scatter(products, batch_size=size)
        for name, statistic in (
            ("squared_gradient", squared),
            ("trace_covariance", trace),
            ("noise_scale", ratio(trace, squared)),
        ):
            result.values[name], result.values[f"{name}_stderr"] = statistic.value, statistic.stderr

    def _search(self, result: Measurement, name: str, scaling: Tensor | None) -> TopPair:
        like, before = self.bench.like, self._starts.get(name)
        if self._generator is None or self._generator.device != like.device:
            # On the device: drawing a vector on the host takes longer than a step of a large model on a GPU.
            self._generator = torch.Generator(device=like.device).manual_seed(self._rng)
        start = before
        if start is None:
            start = torch.randn(like.shape, generator=self._generator, device=like.device)
        pair = top_pair(
            self._space(scaling),
            start.to(like),
            tolerance=self.tolerance,
            max_products=self.max_products,
            generator=None if before is None else self._generator,
        )
        result.values[name], result.values[f"{name}_residual"] = pair.value, pair.residual
        # On the host, so that nothing of it stays on the device.
        self._starts[name] = pair.successor.cpu()
        return replace(pair, successor=self._starts[name])

    def _space(self, scaling: Tensor | None) -> Callable[[Tensor], Tensor]:
        """Return products with H, or with the matrix whose space the optimizer's steps live in."""
        if scaling is None:
            return self.bench.multiply
        decay = 0.0 if self.spec is None else self.spec.coupled_weight_decay

        def multiply(vector: Tensor) -> Tensor:
            direction = scaling * vector
            product = self.bench.multiply(direction)
            return scaling * (product.add_(direction, alpha=decay) if decay else product)

        return multiply

    def _scaling(self, moment: Tensor | None, learning_rate: float) -> Tensor:
        """Return the diagonal of ``P^-1/2``, parameter groups with other rates included."""
        if self.optimizer is None:
            raise SpectraError("preconditioned sharpness needs the optimizer: pass optimizer=, or attach(optimizer)")
        if moment is None and self._is_young():
            raise SpectraError(
                f"second moments younger than {TRUSTED_MOMENT_STEPS} steps need the gradients of the present state "
                "beside them, and these could not be formed"
            )
        differ = any(ratio != 1.0 for ratio in group_ratios(self.optimizer))
        P = preconditioner_of(
            self.optimizer,
            self.bench.parameters if self.bench.workload.model is self.bench.workload.source else self._live(),
            second_moment=moment,
            relative_to=learning_rate if differ else None,
        )
        return P.diagonal.to(self.bench.like).rsqrt()

    def _live(self) -> dict[str, nn.Parameter]:
        """Return the live parameters, where a copy in another precision is measured."""
        named = dict(self.bench.workload.source.named_parameters())
        return {name: named[name] for name in self.bench.parameters}

    def _is_young(self) -> bool:
        if self.optimizer is None or self.spec is None or not self.spec.is_adaptive:
            return False
        states = [self.optimizer.state.get(p, {}) for p in self._live().values()]
        return min(float(state.get("step", 0.0)) for state in states) < TRUSTED_MOMENT_STEPS

    def _expected_square(self, gradients: Tensor) -> Tensor:
        """Return ``E g_b^2 = G^2 + diag(Sigma)/b`` at the batch size of training, from micro-batches, shape (n,)."""
        count, size = gradients.shape[1], self.bench.micro_batches[0].size
        mean = gradients.mean(dim=1)
        variance = size * gradients.var(dim=1, correction=1)
        return mean.square() + variance * max(0.0, 1 / self.batch_size - 1 / (size * count))

    def _note_curvature_noise(self, result: Measurement, pair: TopPair | None, scaling: Tensor | None) -> None:
        if pair is None:
            raise SpectraError("no top direction was found, so there is none along which to measure its noise")
        products = self.bench.products_of_micro_batches(pair.vector if scaling is None else scaling * pair.vector)
        if scaling is not None:
            products *= scaling[:, None]
        noise = scatter(gram(products), batch_size=self.bench.micro_batches[0].size)
        result.values["curvature_noise"], result.values["curvature_noise_stderr"] = noise.value, noise.stderr

    def _note_limit(
        self, result: Measurement, pair: TopPair, spec: OptimizerSpec, *, is_scaled: bool, learning_rate: float
    ) -> None:
        if spec.why_unsupported:
            raise SpectraError(f"no largest stable learning rate for {spec.label}: {spec.why_unsupported}")
        # Coupled decay is part of the preconditioned matrix already.
        curvature = pair.value + (0.0 if is_scaled else spec.coupled_weight_decay)
        noise = max(result.values["curvature_noise"], 0.0)
        limit = float(stable_limit(curvature, noise, batch_size=self.batch_size, optimizer=spec))
        result.values["max_stable_learning_rate"] = limit
        if learning_rate > 0:
            result.values["learning_rate_margin"] = limit / learning_rate
