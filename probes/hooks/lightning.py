"""A callback for Lightning's ``Trainer``."""

import os
from collections.abc import Callable
from typing import Any

from torch import nn

from probes.hooks.recorder import Recorder
from probes.task import Task
from spectra.errors import MissingExtraError, TaskError

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError(
        "probes.hooks.lightning needs lightning, which is not installed. Run pip install 'spectra-probes[hooks]'."
    ) from error

__all__ = ["RecorderCallback"]


class RecorderCallback(Callback):
    """Records curvature and noise while Lightning trains; see :class:`probes.Recorder`.

    Pass it to ``Trainer(callbacks=[...])``. The recorder is made when training starts, for the first optimizer, on the
    first process only, and closed when training ends, also by an error.

    Parameters
    ----------
    path : str or path-like
        The Zarr store to write.
    loss : torch.nn loss or callable
        ``(output, target) -> mean`` for the output of the module, or ``(module, batch) -> mean``. ``training_step`` is
        not called, since it logs.
    data : batches, DataLoader or one batch, optional
        To draw the reference set from; the training loader by default.
    module : callable, optional
        Takes the ``LightningModule`` and gives the part that is measured, such as ``lambda m: m.model``.
    batch_size : int, optional
        Effective batch; by default that of the loader times accumulation times processes.
    **options
        Everything else that :class:`probes.Recorder` takes.

    Attributes
    ----------
    recorder : Recorder or None
        The latest.

    Raises
    ------
    MissingExtraError
        Without ``lightning``, when this module is imported.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        loss: Callable[..., Any],
        data: Any = None,
        module: Callable[[LightningModule], nn.Module] | None = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.path, self.loss, self.data, self.module = path, loss, data, module
        self.batch_size, self.options = batch_size, options
        self.recorder: Recorder | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the recorder and attach it to the first optimizer."""
        if not trainer.is_global_zero:
            return
        loader = trainer.train_dataloader
        size = self.batch_size
        if size is None:
            own = getattr(loader, "batch_size", None)
            if own is None:
                raise TaskError(
                    f"the training loader ({type(loader).__name__}) does not say its batch size; pass "
                    "RecorderCallback(..., batch_size=), samples x accumulation x processes."
                )
            size = own * trainer.accumulate_grad_batches * trainer.world_size
            self.options.setdefault("samples_in_memory", max(1, own // 4))
        model = pl_module if self.module is None else self.module(pl_module)
        task = Task(model, self.loss, loader if self.data is None else self.data, name=type(pl_module).__name__)
        self.recorder = Recorder(task, self.path, batch_size=size, **self.options)
        self.recorder.attach(trainer.optimizers[0])

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Any) -> None:
        """Hand in the loss of the step; of an accumulated batch that of the last part."""
        if self.recorder is not None:
            self.recorder.log_loss(loss.detach() * trainer.accumulate_grad_batches)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the recorder."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the recorder."""
        self._close()

    def _close(self) -> None:
        if self.recorder is not None:
            self.recorder.close()
