r"""Preconditioner with one Kronecker product for each layer, as K-FAC divides by.

For a layer :math:`s = \bar W \bar a` with input :math:`\bar a = (a, 1)` and weight :math:`\bar W = (W, b)`, the Fisher
block is about :math:`A \otimes B`, with :math:`A = E[\bar a \bar a^T]` and B the covariance of the gradients by s
(Martens and Grosse 2015, arXiv 1503.05671, section 3): they are taken to be independent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from probes.operators.preconditioned import Preconditioner, require_columns
from probes.parameters import positions
from spectra.arrays import finite_number
from spectra.errors import ArgumentError, NonFiniteError, ShapeError, TaskError

__all__ = ["KroneckerFactors", "KroneckerPreconditioner", "LayerFactors"]


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerFactors:
    """The two factors of a layer's block.

    Attributes
    ----------
    weight, bias : str or None
        Names of the parameters; ``None`` for one that is not measured or not there. Not both.
    input_covariance : torch.Tensor, shape (d, d)
        A: mean of the squares of inputs (or patches), the constant 1 last where there is a bias.
    gradient_covariance : torch.Tensor, shape (o, o)
        B: of the gradients by the layer's o outputs, in the unit of the curvature times squared outputs.
    """

    weight: str | None
    bias: str | None
    input_covariance: Tensor
    gradient_covariance: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class KroneckerFactors:
    """An approximation of a Fisher matrix: one Kronecker product per layer, and a diagonal for all else.

    Attributes
    ----------
    parameters : mapping of str to torch.Tensor
        The coordinates in order; only names and shapes matter.
    layers : mapping of str to LayerFactors
        By module path. Every parameter is in one layer at most.
    diagonal : mapping of str to torch.Tensor
        For each of the other parameters the diagonal of the Fisher matrix, of the parameter's shape.
    kind : str
        Which Fisher matrix, see :func:`probes.operators.kronecker_factors.kronecker_factors`.
    """

    parameters: Mapping[str, Tensor]
    layers: Mapping[str, LayerFactors]
    diagonal: Mapping[str, Tensor] = field(default_factory=dict)
    kind: str = "given"


@final
class KroneckerPreconditioner(Preconditioner):
    r""":math:`P = \mathrm{diag}(A_1 \otimes B_1, A_2 \otimes B_2, \dots, d) + \lambda I`, and its powers, exactly.

    With :math:`A = U \alpha U^T` and :math:`B = V \beta V^T` a power of a block maps the matrix X of a layer's weights
    to :math:`V ((\beta \alpha^T + \lambda)^t * (V^T X U)) U^T` (Martens and Grosse 2015, appendix B): Tikhonov's
    damping itself, not its factored approximation.

    Parameters
    ----------
    factors : KroneckerFactors
        Estimated by :func:`probes.operators.kronecker_factors.kronecker_factors`.
    damping : float
        :math:`\lambda > 0`, in the unit of the curvature (loss per squared parameter). Directions with less curvature
        than this count as if they had this much.
    name : str
        For messages and records.

    Raises
    ------
    TaskError
        A parameter is in no layer and not on the diagonal, or in two.
    ShapeError
        Factors do not fit the shapes of the parameters.
    ArgumentError
        The damping is not positive.
    NonFiniteError
        A factor is not finite.

    Notes
    -----
    Eigenvectors are computed once, in float64, at a cost of ``10 (d^3 + o^3)`` operations a layer, and kept in the
    dtype of the parameters: ``d^2 + o^2`` numbers. One column costs ``4 o d (o + d)`` operations a layer.

    Examples
    --------
    >>> import torch
    >>> layer = LayerFactors(
    ...     weight="w", bias=None, input_covariance=torch.tensor([[4.0]]), gradient_covariance=torch.tensor([[2.0]])
    ... )
    >>> factors = KroneckerFactors(parameters={"w": torch.zeros(1, 1)}, layers={"layer": layer})
    >>> KroneckerPreconditioner(factors, damping=1.0).multiply(torch.ones(1))
    tensor([9.])
    """

    def __init__(self, factors: KroneckerFactors, *, damping: float, name: str = "kronecker") -> None:
        damping = finite_number(damping, name="damping")
        if damping <= 0:
            raise ArgumentError(f"damping must be positive, in the unit of the curvature; got {damping:g}.")
        self.damping = damping
        self.name = name
        self.like = torch.cat([torch.zeros_like(p.detach()).reshape(-1) for p in factors.parameters.values()])
        _require_partition(factors)
        self._places = positions(factors.parameters)
        self._blocks = [_Block.of(layer, factors.parameters, damping) for layer in factors.layers.values()]
        self._diagonal: dict[str, Tensor] = {}
        for entry, values in factors.diagonal.items():
            if not bool(torch.isfinite(values).all()) or bool((values < 0).any()):
                raise NonFiniteError(f"the diagonal for {entry!r} must be finite and not negative.")
            self._diagonal[entry] = values.to(self.like).reshape(-1, 1) + damping

    def power(self, vectors: Tensor, exponent: float) -> Tensor:
        """Return ``P^t V``, block by block."""
        columns = require_columns(self, vectors)
        result = torch.empty_like(columns)
        for name, values in self._diagonal.items():
            result[self._places[name]] = values.pow(exponent) * columns[self._places[name]]
        for block in self._blocks:
            pieces = [columns[self._places[name]].reshape(block.outputs, -1, columns.shape[1]) for name in block.names]
            product = block.power(torch.cat(pieces, dim=1), exponent)
            for name, piece in zip(block.names, product.split([p.shape[1] for p in pieces], dim=1), strict=True):
                result[self._places[name]] = piece.reshape(-1, columns.shape[1])
        return result.reshape(vectors.shape)


@dataclass(frozen=True, eq=False)
class _Block:
    """A damped Kronecker product in its eigenvectors."""

    names: tuple[str, ...]
    inputs: Tensor
    gradients: Tensor
    eigenvalues: Tensor

    @property
    def outputs(self) -> int:
        return self.gradients.shape[0]

    @classmethod
    def of(cls, layer: LayerFactors, parameters: Mapping[str, Tensor], damping: float) -> "_Block":
        names = tuple(name for name in (layer.weight, layer.bias) if name is not None)
        outputs, columns = layer.gradient_covariance.shape[0], layer.input_covariance.shape[0]
        size = sum(parameters[name].numel() for name in names)
        factors = (layer.input_covariance, layer.gradient_covariance)
        squares = all(f.ndim == 2 and f.shape[0] == f.shape[1] for f in factors)
        if not squares or size != outputs * columns or any(parameters[name].shape[0] != outputs for name in names):
            raise ShapeError(
                f"factors for {', '.join(names)} must be (d, d) and (o, o) for parameters that form an o x d matrix of "
                f"{size} entries; got {tuple(factors[0].shape)} and {tuple(factors[1].shape)}."
            )
        kind = parameters[names[0]]
        a, inputs = _eigen(layer.input_covariance, names)
        b, gradients = _eigen(layer.gradient_covariance, names)
        return cls(names, inputs.to(kind), gradients.to(kind), (b[:, None, None] * a[:, None] + damping).to(kind))

    def power(self, x: Tensor, exponent: float) -> Tensor:
        """Return the power times o x d matrices, shape (o, d, k)."""
        rotated = torch.einsum("odk,op,de->pek", x, self.gradients, self.inputs)
        rotated = self.eigenvalues.pow(exponent) * rotated
        return torch.einsum("pek,op,de->odk", rotated, self.gradients, self.inputs)


def _eigen(covariance: Tensor, names: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Return eigenvalues, those below zero by rounding set to zero, and eigenvectors, in float64."""
    covariance = covariance.detach().double()
    if not bool(torch.isfinite(covariance).all()):
        raise NonFiniteError(f"a Kronecker factor for {', '.join(names)} is not finite; look at the data and the loss.")
    values, vectors = torch.linalg.eigh((covariance + covariance.T) / 2)
    return values.clamp(min=0), vectors


def _require_partition(factors: KroneckerFactors) -> None:
    """Raise unless every parameter is in exactly one place."""
    placed = [name for layer in factors.layers.values() for name in (layer.weight, layer.bias) if name is not None]
    placed += list(factors.diagonal)
    wrong = [name for name in factors.parameters if placed.count(name) != 1]
    wrong += [name for name in placed if name not in factors.parameters]
    if wrong:
        raise TaskError(
            f"every parameter must be in one layer or on the diagonal, and once; not so: {', '.join(wrong[:5])}."
        )
