"""A callback for Lightning's ``Trainer``."""

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from probes.hooks.callbacks import RecorderSettings
from probes.hooks.recorder import Recorder
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
    first process only, and closed when training ends, also by an error. A second ``fit`` goes on in the same recording.

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
        self._settings, self.module = RecorderSettings(path, loss, data, batch_size, **options), module
        self.recorder: Recorder | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the recorder and attach it to the first optimizer."""
        if not trainer.is_global_zero:
            return
        loader = trainer.train_dataloader
        own = None if self._settings.batch_size else getattr(loader, "batch_size", None)
        if own is None and not self._settings.batch_size:
            raise TaskError(
                f"the training loader ({type(loader).__name__}) does not say its batch size; pass "
                "RecorderCallback(..., batch_size=), samples x accumulation x processes."
            )
        optimizer = trainer.optimizers[0]
        self.recorder = self._settings.recorder(
            pl_module if self.module is None else self.module(pl_module),
            optimizer,
            data=loader,
            samples=own,
            times=trainer.accumulate_grad_batches * trainer.world_size,
            name=type(pl_module).__name__,
            # Steps of several optimizers are counted together.
            step=trainer.global_step if len(trainer.optimizers) == 1 else 0,
            previous=self.recorder,
        )
        self.recorder.attach(optimizer)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Any) -> None:
        """Hand in the loss of the step; of an accumulated batch that of the last part."""
        if self.recorder is not None:
            loss = loss.detach() * trainer.accumulate_grad_batches
            scaler = getattr(trainer.precision_plugin, "scaler", None)
            # A product with the scale, since the scale itself cannot be had without waiting for the device.
            self.recorder.log_loss(loss if scaler is None else loss / scaler.scale(torch.ones_like(loss)))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the recorder."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the recorder."""
        self._close()

    def _close(self) -> None:
        if self.recorder is not None:
            self.recorder.close()
