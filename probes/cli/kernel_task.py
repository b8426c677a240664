"""The tangent kernel of a task's network with targets for it, for ``spectra kernel``."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from probes.cli.kernel_data import KernelData
from probes.cli.session import say
from probes.losses.cross_entropy import CrossEntropy
from probes.losses.squared import MeanSquaredError
from probes.model_loss import read_any_loss
from probes.objective import Objective
from probes.state import preserved
from probes.tangent_kernel import empirical_ntk
from spectra.errors import TaskError
from spectra.start_vectors import as_seed

if TYPE_CHECKING:
    from probes.batch import Batch
    from probes.task import Task

__all__ = ["tangent_kernel_data"]

#: Backward passes that the trace over outputs may take unasked: a network of 1000 samples and 1000 outputs has as many,
#: and minutes become hours beyond (measured: language model of 64 tokens, no end after 200 s).
MAX_PASSES = 1_000_000
LAZY = (
    "the tangent kernel describes training as long as the network stays close to its linearization, which `spectra "
    "dynamics` checks; the error is that of kernel regression, not of the network after training"
)


def tangent_kernel_data(
    task: "Task", *, name: str, outputs: str, max_samples: int, seed: int, quiet: bool = False
) -> KernelData:
    """Return the tangent kernel on random samples of a task, and what it has to fit there.

    Parameters
    ----------
    task : Task
        In eval mode.
    name : str
        For reports.
    outputs : {"trace", "sum"}
        See :func:`probes.empirical_ntk`.
    max_samples : int
        Samples at most.
    seed : int
        Of their choice.
    quiet : bool
        Whether to say nothing before the kernel is formed, which may take minutes.

    Returns
    -------
    KernelData
        Targets: for squared errors what the network leaves, y - f(x); for cross-entropy one column for each class, 1
        for its samples, less the mean, without what the network says already; otherwise none.

    Raises
    ------
    TaskError
        If the trace over outputs would take more than a million passes.
    TaskError, NonFiniteError, NonDeterministicError
        See :func:`probes.empirical_ntk`.
    """
    samples = task.samples()
    n = samples.num_samples
    order = np.random.default_rng(as_seed(seed)).permutation(n)
    batch = samples.take(np.sort(order[:max_samples]))
    num_outputs = _num_outputs(task, samples.take(np.array([0])))
    if outputs == "trace" and num_outputs * batch.size > MAX_PASSES:
        raise TaskError(
            f"{name} has {num_outputs} outputs for each of {batch.size} samples, and their trace would take as many "
            f"backward passes for each; use --outputs sum, of one pass for each sample, or a far smaller --max-dense"
        )
    many = "1 output" if num_outputs == 1 else f"{num_outputs} outputs"
    say(f"forming the tangent kernel of {batch.size} samples with {many} each", quiet=quiet)
    # In float32 the smallest eigenvalues of a tangent kernel are rounding, and with them what it overfits.
    found = empirical_ntk(task, [(batch.inputs, batch.target)], outputs=outputs, dtype=torch.float64)  # type: ignore[arg-type]
    remarks = [
        f"tangent kernel of {found.num_parameters} parameters ({outputs} over {many}), {found.method}: {found.why}",
        *found.remarks,
        LAZY,
    ]
    if n > max_samples:
        remarks.append(f"{max_samples} random samples of {n}")
    target, remark = _targets(task, batch)
    return KernelData(gram=found.kernel, target=target, name=name, remarks=(*remarks, remark))


def _num_outputs(task: "Task", batch: "Batch") -> int:
    """Return the number of outputs of one sample; 1 where a loss does not show them."""
    loss = read_any_loss(task.loss)
    if not isinstance(loss, CrossEntropy | MeanSquaredError):
        return 1
    with preserved(task.model), torch.no_grad():
        return Objective(task.model, loss, task.output).outputs(batch).numel() // batch.size


def _targets(task: "Task", batch: "Batch") -> tuple[np.ndarray | None, str]:
    """Return targets of a regression with the kernel, and a sentence about them."""
    loss = read_any_loss(task.loss)
    if not isinstance(loss, CrossEntropy | MeanSquaredError):
        return None, "targets are taken for squared errors and cross-entropy only, so that no error is predicted"
    with preserved(task.model), torch.no_grad():
        outputs = Objective(task.model, loss, task.output).outputs(batch)
    target: Any = batch.target
    if isinstance(loss, MeanSquaredError):
        left = (target.to(outputs.dtype) - outputs).reshape(batch.size, -1)
        return _host(left), "targets are what the network leaves of them, y - f(x)"
    if outputs.ndim != 2 or target.shape != outputs.shape[:1]:
        return None, "classes at several positions of a sample are not analyzed, so that no error is predicted"
    classes = _host(torch.nn.functional.one_hot(target, outputs.shape[1]))
    return classes - np.mean(classes, axis=0), (
        f"targets are {outputs.shape[1]} columns, one for each class, less their means; squared errors stand for the "
        "cross-entropy"
    )


def _host(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().to(torch.float64).numpy()
