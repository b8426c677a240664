r"""The empirical tangent kernel of a network on data, as one matrix."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, get_args

import torch
from torch import Tensor, nn

from probes.model_loss import ModelLoss, read_any_loss
from probes.operators.explanations import require_finite
from probes.operators.ntk import Outputs
from probes.operators.tangent.choice import Method, form
from probes.operators.tangent.routes import Plan
from probes.operators.tangent.sides import Side
from probes.parameters import ParameterSpec
from probes.task import Task
from spectra.errors import ArgumentError, ShapeError, TaskError

__all__ = ["EmpiricalNTK", "Method", "empirical_ntk"]


@dataclass(frozen=True, kw_only=True, eq=False)
class EmpiricalNTK:
    r"""A tangent kernel, and how it came about.

    Attributes
    ----------
    kernel : torch.Tensor, shape (n, m), or (n o, m o) for ``outputs="full"``
        m = n and symmetric unless there were ``other`` data. Detached, on the model's device. Functions of
        :mod:`spectra.kernels` take it as it is. Unit: squared output, times squared parameter in the inverse.
    outputs : {"trace", "sum", "full"}
        What became of the o outputs of a sample, see :func:`empirical_ntk`.
    method : {"structured", "mixed", "contraction", "matrix_free"}
        How it was formed.
    why : str
        Why so, one sentence.
    num_samples, num_others : int
        n and m.
    num_outputs, num_parameters : int
        o and P.
    deviation : float
        Of the structured kernel from rows of the Jacobian, on the first and last sample, relative; NaN for other
        methods.
    remarks : tuple of str
        What a reader of the numbers should know.
    """

    kernel: Tensor
    outputs: Outputs
    method: str
    why: str
    num_samples: int
    num_others: int
    num_outputs: int
    num_parameters: int
    deviation: float = float("nan")
    remarks: tuple[str, ...] = field(default=())

    @property
    def blocks(self) -> Tensor:
        """The kernel of ``outputs="full"`` as (n, o, m, o): the o x o block of samples i and j is ``[i, :, j, :]``.

        Raises
        ------
        ArgumentError
            Other outputs, whose blocks were not kept.
        """
        if self.outputs != "full":
            raise ArgumentError(f"only outputs='full' keeps the blocks of single outputs; this is {self.outputs!r}.")
        o = self.num_outputs
        return self.kernel.reshape(self.num_samples, o, self.num_others, o)


def empirical_ntk(
    task: Task | nn.Module,
    data: Any = None,
    *,
    other: Any = None,
    method: Method = "auto",
    outputs: Outputs = "trace",
    parameters: ParameterSpec = None,
    output: Callable[[Any], Tensor] | None = None,
    dtype: torch.dtype | None = None,
    micro_batch: int | None = None,
    memory_budget: int = 1 << 30,
) -> EmpiricalNTK:
    r"""Return the empirical tangent kernel of a network on data (Jacot, Gabriel and Hongler 2018).

    With :math:`J_i = \partial f(x_i) / \partial \theta`, of shape (o, P),

    ===========  ==================================  ===============================================================
    ``outputs``  entry of samples i and j            what it is
    ===========  ==================================  ===============================================================
    ``"full"``   :math:`J_i J_j^T`, o x o            the kernel of all outputs, of order n o
    ``"trace"``  :math:`\frac1o \operatorname{tr}    the mean kernel of a single output
                 J_i J_j^T`
    ``"sum"``    :math:`\frac1o 1^T J_i J_j^T 1`     the kernel of :math:`\hat f = o^{-1/2} \sum_k f_k` (Mohamadi, Bae
                                                     and Sutherland 2023), for one backward pass in place of o
    ===========  ==================================  ===============================================================

    Parameters
    ----------
    task : Task or torch.nn.Module
        In eval mode. It is left as it was found: flags, buffers, gradients, hooks and random states.
    data : optional
        Inputs alone as one tensor or array (n, ...), or batches with targets, which are not looked at, as for
        :class:`probes.batches.Batches`. By default the data of the task.
    other : optional
        Columns of the kernel: other data, of the same kind. By default ``data`` again.
    method : {"auto", "structured", "contraction", "matrix_free"}
        See the notes.
    outputs : {"trace", "sum", "full"}
        See above.
    parameters : None, str, iterable of str or callable
        See :func:`probes.parameters.select`; by default what the task says, or all trainable ones.
    output : callable, optional
        Reads the model's output; by default as the task says.
    dtype : torch.float32 or torch.float64, optional
        Compute in this precision, on a copy of the model.
    micro_batch : int, optional
        Samples of a block at most. By default as many as the budget allows.
    memory_budget : int
        Bytes for what is known of the samples on both sides, the graph of a block included, beside the kernel itself
        and temporary blocks of 64 MiB; a sample is never cut. What does not fit is computed again for each pair of
        blocks.

    Returns
    -------
    EmpiricalNTK

    Raises
    ------
    TaskError
        No data, a model that cannot be run on them, batch normalization in train mode, samples that influence each
        other, outputs without one row for each sample, nothing trainable, or ``method="structured"`` where no layer has
        a rule.
    NonDeterministicError
        Active dropout.
    NonFiniteError
        Data, outputs or derivatives are not finite.
    ShapeError
        ``other`` data with another number of outputs.
    ArgumentError
        An unknown ``method`` or ``outputs``, or a size below 1.

    Notes
    -----
    **Methods.** All three give the same numbers. F is a forward pass of one sample, P the number of parameters, and K
    the number of backward passes of a sample: o, or 1 for ``"sum"``. Novak, Sohl-Dickstein and Schoenholz (2022)
    compare them.

    ===============  =====================================================  =========================================
    ``method``       cost                                                   taken by ``"auto"``
    ===============  =====================================================  =========================================
    ``structured``   2 n (K + 1) F, and for each pair of samples            rules leave at most half of the
                     :math:`\sum_l \min(K p_l d_l, T_l^2 (d_l + K p_l +     multiplications for a pair of samples (80%
                     24))` instead of K P, for layers of d inputs and p     where they save 1e9 in all), or, where the
                     outputs at T positions (tokens, pixels)                rows of all samples do not fit into the
                                                                            budget, at most half of their memory
    ``contraction``  2 n K F, and K P for each pair (``"full"``: K^2 P)     otherwise, where rows of two samples fit
                                                                            into the budget
    ``matrix_free``  about 4 n^2 K F                                        otherwise, and for batches that cannot be
                                                                            cut into samples
    ===============  =====================================================  =========================================

    The structured method takes for each layer the cheaper of all pairs of positions and the gradients of the samples,
    so that at worst it is a contraction. It pays for layers at a single position, by factors of 10 and more for
    networks of them, and hardly for convolutions and transformers with many positions and narrow layers. There are
    rules for ``nn.Linear``, ``nn.Conv1d`` to ``3d`` (any stride, dilation, groups and padding), ``nn.Embedding``, and
    Layer-, RMS-, Group-, Instance- and (in eval mode) batch normalization, each called once, whose parameters are used
    nowhere else; parameters without a rule are contracted, and ``method`` is "mixed" then. The graph is searched for
    other uses; that every row of a layer belongs to one sample, and in order, is verified for all samples by a backward
    pass in which each sample has a factor of its own; and the kernel of two samples is compared with rows of the
    Jacobian. Where one of these fails the contraction is what counts, and ``why`` says so. Hooks on the gradients of
    parameters are no part of a derivative and may count or not.

    **Sums and traces.** Let the read-out have rows :math:`w_k`, independent, of mean zero. Outside of it
    :math:`(J_i J_j^T)_{kl} = w_k^T M_{ij} w_l`, whose mean vanishes for :math:`k \ne l`, and within it
    :math:`h_i \cdot h_j\, \delta_{kl}`. So ``"sum"`` and ``"trace"`` have one and the same mean at any width, and at
    initialization both converge to the infinite-width kernel of one output; the standard deviation of ``"sum"`` about
    it is :math:`\sqrt o` times larger for a Gaussian read-out (derived here). After training the two differ.

    For products with a kernel that is too large to be formed, use :class:`probes.operators.ntk.NTKOperator`.

    Examples
    --------
    A linear model has the kernel of its inputs:

    >>> import torch
    >>> x = torch.tensor([[1.0, 0.0], [1.0, 2.0]])
    >>> found = empirical_ntk(torch.nn.Linear(2, 3), x, method="structured")
    >>> found.kernel.tolist(), found.method
    ([[2.0, 2.0], [2.0, 6.0]], 'structured')
    """
    if method not in get_args(Method):
        raise ArgumentError(f"method must be one of {', '.join(get_args(Method))}; got {method!r}.")
    if outputs not in get_args(Outputs):
        raise ArgumentError(f"outputs must be one of {', '.join(get_args(Outputs))}; got {outputs!r}.")
    for name, size in (("micro_batch", micro_batch), ("memory_budget", memory_budget)):
        if size is not None and size < 1:
            raise ArgumentError(f"{name} must be at least 1; got {size}.")
    model, data, options = _read(task, data, parameters=parameters, output=output)
    options |= {"dtype": dtype, "micro_batch": micro_batch}
    left = Side(model, data, **options)
    right = None if other is None else Side(model, other, name="other", **options)
    if right is not None and right.output_shape != left.output_shape:
        raise ShapeError(
            f"other data must give outputs of the same shape as data, {tuple(left.output_shape)} for a sample; got "
            f"{tuple(right.output_shape)}."
        )
    plan = Plan(left=left, right=right, outputs=outputs, micro_batch=micro_batch, memory_budget=memory_budget)
    formed = form(plan, method)
    require_finite(formed.kernel, "the tangent kernel")
    return EmpiricalNTK(
        kernel=formed.kernel.detach(),
        outputs=outputs,
        method=formed.method,
        why=formed.why,
        num_samples=left.num_samples,
        num_others=(right or left).num_samples,
        num_outputs=left.num_outputs,
        num_parameters=left.workload.size,
        deviation=formed.deviation,
        remarks=tuple(dict.fromkeys([*left.workload.remarks, *formed.remarks])),
    )


def _read(
    task: Task | nn.Module, data: Any, *, parameters: ParameterSpec, output: Callable[[Any], Tensor] | None
) -> tuple[nn.Module, Any, dict[str, Any]]:
    """Return model, data and options from a task, or from a model with data."""
    if isinstance(task, Task):
        loss = read_any_loss(task.loss)
        if isinstance(loss, ModelLoss) and data is None:
            loss.outputs()
        parameters = task.parameters if parameters is None else parameters
        output = task.output if output is None else output
        return task.model, task.data if data is None else data, {"parameters": parameters, "output": output}
    if not isinstance(task, nn.Module):
        raise TaskError(f"a probes.Task or a torch.nn.Module is needed; got {type(task).__name__}.")
    if data is None:
        raise TaskError("data must be given with a model: inputs as one tensor, or batches (inputs, target).")
    return task, data, {"parameters": parameters, "output": output}
