"""A callback for the ``Trainer`` of Hugging Face transformers."""

import os
from collections.abc import Callable
from typing import Any

from probes.hooks.callbacks import RecorderSettings
from probes.hooks.recorder import Recorder
from spectra.errors import MissingExtraError

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError(
        "probes.hooks.transformers needs transformers, which is not installed. Run pip install 'spectra-probes[hooks]'."
    ) from error

__all__ = ["RecorderCallback", "own_loss"]


def own_loss(model: Any, batch: Any) -> Any:
    """Return the loss that a model of transformers computes itself where the batch holds ``labels``."""
    return model(**batch).loss


class RecorderCallback(TrainerCallback):
    """Records curvature and noise while the ``Trainer`` of transformers trains; see :class:`probes.Recorder`.

    Pass it to ``Trainer(callbacks=[...])``. The recorder is made when training begins, on the first process only, and
    closed when training ends; after an error, what was recorded is written when the trainer goes, the program ends, or
    training begins anew. A second ``train`` goes on in the same recording.

    The ``Trainer`` does not tell callbacks the loss of a step. Where it is wanted, hand it in from ``compute_loss``:
    ``callback.recorder.log_loss(loss)``.

    Parameters
    ----------
    path : str or path-like
        The Zarr store to write.
    loss : callable, optional
        ``(model, batch) -> mean``, or ``(output, target) -> mean``. By default the model's own loss.
    data : batches, DataLoader or one batch, optional
        To draw the reference set from; by default random samples of the training set, put together by the trainer's
        collator.
    batch_size : int, optional
        Effective batch; by default samples per device x accumulation x processes.
    **options
        Everything else that :class:`probes.Recorder` takes.

    Attributes
    ----------
    recorder : Recorder or None
        The latest.

    Raises
    ------
    MissingExtraError
        Without ``transformers``, when this module is imported.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        loss: Callable[..., Any] = own_loss,
        data: Any = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> None:
        self._settings = RecorderSettings(path, loss, data, batch_size, **options)
        self.recorder: Recorder | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Make the recorder."""
        if not state.is_world_process_zero:
            return
        self.recorder = self._settings.recorder(
            kwargs["model"],
            kwargs["optimizer"],
            data=kwargs["train_dataloader"],
            samples=args.train_batch_size,
            times=args.gradient_accumulation_steps * args.world_size,
            name=type(kwargs["model"]).__name__,
            step=state.global_step,
            previous=self.recorder,
        )

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Record a step, before the gradients are set to zero."""
        if self.recorder is not None:
            self.recorder.step()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the recorder."""
        if self.recorder is not None:
            self.recorder.close()
