r"""What a loss is to this package: a value, a denominator, and its curvature in the space of the outputs.

Notation: outputs z of shape ``(N, ...)``, :math:`L` the loss of a batch, D what its mean divides by. A vector u has the
outputs' shape, after any leading axes: ``(*output.shape)``, ``(k, *output.shape)``.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from spectra.errors import ShapeError, SpectraError, TaskError

__all__ = ["Loss", "LossLike"]

#: ``(output, target) -> scalar``, a ``torch.nn`` loss or any callable.
LossLike = Callable[[Any, Any], Tensor]


class Loss(ABC):
    """A loss read from the user's: its value on a batch, its denominator, samples, output Hessian and output Fisher.

    Every tensor that is returned is on the outputs' device and has their dtype. Products are detached from the network.

    Attributes
    ----------
    name : str
        For messages and records.
    function : callable
        What evaluates the loss.
    reduction : {"mean", "sum"}
        For ``"sum"`` the operator is of the sum over all data, nothing is divided.
    """

    def __init__(self, function: LossLike, *, name: str, reduction: Literal["mean", "sum"] = "mean") -> None:
        self.function = function
        self.name = name
        self.reduction = reduction

    @property
    def is_convex(self) -> bool:
        """Whether the output Hessian is known to be positive semidefinite."""
        return False

    @property
    def has_closed_form(self) -> bool:
        """Whether ``hessian_product`` uses a formula rather than automatic differentiation."""
        return False

    @property
    def is_likelihood(self) -> bool:
        """Whether the loss is the negative log-likelihood of a distribution that the outputs parametrize."""
        return False

    def value(self, output: Tensor, target: Any) -> Tensor:
        """Return the user's loss of a batch, a tensor without axes.

        Raises
        ------
        TaskError
            The loss cannot be evaluated or is not one number.
        """
        value = self._evaluate(self.function, output, target)
        if not isinstance(value, Tensor) or value.numel() != 1:
            came = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise TaskError(
                f"the loss {self.name} must return one number as a tensor, the mean over the samples of a batch; got "
                f"{came}."
            )
        return value.reshape(())

    def weight(self, output: Tensor | None, target: Any, size: int) -> float:
        """Return :math:`D_j`, by which the mean of a batch of ``size`` samples counts (1 for sums).

        ``output`` is not needed by any loss so far and may be ``None``.
        """
        return 1.0 if self.reduction == "sum" else float(size)

    @abstractmethod
    def sample_values(self, output: Tensor, target: Any) -> Tensor:
        r"""Return what each sample contributes, :math:`\ell_n`, shape ``(N,)``, differentiable by the outputs.

        A sample is a row of ``output``. ``value`` is :math:`\sum_n \ell_n` for sums and :math:`\sum_n \ell_n / D` for
        means, with D = ``weight(output, target, N)``.

        Raises
        ------
        TaskError
            The loss cannot be evaluated, or couples samples so that there are no such contributions.
        """

    @abstractmethod
    def hessian_product(self, output: Tensor, target: Any, vector: Tensor) -> Tensor:
        r"""Return S u, with :math:`S = \partial^2 L / \partial z^2` the Hessian of ``value``; shape of ``vector``.

        What does not depend on ``vector`` is computed once for all its leading axes; ``torch.func.vmap`` over it works.

        Raises
        ------
        ShapeError
            The last axes of ``vector`` are not those of ``output``.
        """

    def root_product(self, output: Tensor, target: Any, vector: Tensor) -> Tensor:
        r"""Return :math:`L^T u` for a factor :math:`S = L L^T` of the output Hessian; shape of ``vector``.

        Raises
        ------
        TaskError
            S is not positive semidefinite, or no factor is known.
        """
        raise self._no_root()

    def root_transposed_product(self, output: Tensor, target: Any, vector: Tensor) -> Tensor:
        r"""Return :math:`L w`, the transposed of :meth:`root_product`, so that their composition is S."""
        raise self._no_root()

    def fisher_product(self, output: Tensor, target: Any, vector: Tensor) -> Tensor:
        r"""Return F u with the Fisher matrix of the outputs, :math:`F = (1/D) \sum E_{y \sim p(y|z)} [s s^T]`.

        :math:`s = -\partial \log p(y|z) / \partial z`. The sum runs over what the loss averages over, D of them
        (positions for softmax losses, elements for elementwise ones); no division for sums. The target only says which
        positions are ignored (type 2 of Kunstner, Balles and Hennig 2019, equation 3; Martens 2020, section 5).

        Raises
        ------
        TaskError
            The loss is not the negative log-likelihood of a distribution.
        """
        raise self._no_likelihood()

    def draw_scores(self, output: Tensor, target: Any, num: int, generator: Generator) -> Tensor:
        r"""Draw scores :math:`s = -\partial \log p(y|z) / \partial z` with :math:`y \sim p(y|z)`.

        Parameters
        ----------
        output : Tensor
        target : Tensor
            Scores of ignored positions are 0.
        num : int
            Draws.
        generator : torch.Generator
            On the CPU; the random numbers are drawn there, so that they are the same on every device.

        Returns
        -------
        Tensor, shape ``(num, *output.shape)``
            Independent between draws, and between positions (softmax losses) or elements (elementwise ones).
        """
        raise self._no_likelihood()

    def scores_product(self, output: Tensor, target: Any, scores: Tensor, vector: Tensor) -> Tensor:
        r"""Return :math:`\hat F u`, :math:`\hat F = (1 / (D\,num)) \sum_s s s^T`, unbiased for :meth:`fisher_product`.

        Scores of different positions (elements) are independent with mean zero, so their cross terms are zero in
        expectation and are left out: one block per position, or the diagonal.
        """
        raise self._no_likelihood()

    def to(self, dtype: torch.dtype) -> "Loss":
        """Return a copy whose own floating-point tensors (class weights, say) have ``dtype``."""
        other = copy.copy(self)
        if isinstance(self.function, nn.Module):
            other.function = copy.deepcopy(self.function).to(dtype)
        return other

    def _evaluate(self, function: LossLike, output: Tensor, target: Any) -> Any:
        """Call a function of output and target; whatever goes wrong is a :class:`TaskError`."""
        try:
            return function(output, target)
        except (SpectraError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            shape = tuple(target.shape) if isinstance(target, Tensor) else type(target).__name__
            raise TaskError(
                f"the loss {self.name} failed on outputs of shape {tuple(output.shape)} {output.dtype} and target "
                f"{shape}: {type(error).__name__}: {error}"
            ) from error

    def _terms(self, output: Tensor, target: Any) -> Tensor:
        """Return the terms that a ``torch.nn`` loss reduces."""
        unreduced: Any = copy.copy(self.function)
        unreduced.reduction = "none"
        return self._evaluate(unreduced, output, target)

    def _require_shape(self, output: Tensor, vector: Tensor) -> None:
        """Raise :class:`ShapeError` unless the last axes of a vector are those of the outputs."""
        if vector.shape[max(vector.ndim - output.ndim, 0) :] != output.shape:
            raise ShapeError(
                f"a vector of output space needs the outputs' shape {tuple(output.shape)}, after any leading axes; got "
                f"{tuple(vector.shape)}."
            )

    def _require_likelihood(self, output: Tensor, vector: Tensor | None = None, scores: Tensor | None = None) -> None:
        """Raise :class:`TaskError` without a Fisher matrix, :class:`ShapeError` for shapes that do not fit."""
        if not self.is_likelihood:
            raise self._no_likelihood()
        if vector is not None:
            self._require_shape(output, vector)
        if scores is not None and scores.shape[1:] != output.shape:
            raise ShapeError(
                f"scores need shape (num, {', '.join(map(str, output.shape))}), as draw_scores gives them; got "
                f"{tuple(scores.shape)}."
            )

    def _no_likelihood(self) -> TaskError:
        return TaskError(
            f"the loss {self.name}{self._departure()} is not the negative log-likelihood of a distribution of the "
            "targets given the outputs, so there is no Fisher matrix. Use GaussNewtonOperator, which needs only the "
            "output Hessian of the loss."
        )

    def _departure(self) -> str:
        """Say what takes the loss away from a likelihood, to follow its name in a message."""
        return ""

    def _no_root(self) -> TaskError:
        return TaskError(
            f"the output Hessian of the loss {self.name} is not known to be positive semidefinite, so it has no real "
            "factor L L'. Use GaussNewtonOperator itself, which needs no factor."
        )
