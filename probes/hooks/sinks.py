"""Where scalars go besides the store: experiment trackers, behind one small protocol."""

import importlib
import math
import os
import time
from collections.abc import Mapping
from typing import Any, Protocol

from probes.state import preserved_random_state
from spectra.errors import MissingExtraError

__all__ = ["MLflowSink", "Sink", "TensorBoardSink", "WandbSink", "scalars_of"]

#: Of a row of the store, what is no scalar to be plotted.
_APART = ("step", "seconds", "num_products")


class Sink(Protocol):
    """Takes named numbers of a training step; any object with these two methods will do."""

    def log_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Take finite numbers of one step."""

    def close(self) -> None:
        """Write what is pending; nothing is logged afterwards."""


class TensorBoardSink:
    """Scalars for TensorBoard.

    Parameters
    ----------
    log_dir : str or path-like
        Folder of the event files.
    prefix : str
        Put before every name.

    Raises
    ------
    MissingExtraError
        Without ``tensorboard``.
    """

    def __init__(self, log_dir: str | os.PathLike[str], *, prefix: str = "curvature/") -> None:
        _require("tensorboard", "TensorBoardSink")
        from torch.utils.tensorboard import SummaryWriter

        self.prefix = prefix
        self._writer = SummaryWriter(os.fspath(log_dir))

    def log_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write numbers of one step."""
        for name, value in scalars.items():
            self._writer.add_scalar(self.prefix + name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class WandbSink:
    """Scalars for Weights & Biases.

    Each name is plotted against ``<prefix>step``, a metric of its own, so that a run which logs on its own counts on.

    Parameters
    ----------
    run : wandb.Run, optional
        A run of yours, which stays open; without it one is begun.
    mode : {"offline", "online"}
        Of a new run. ``"offline"`` writes to ``directory`` and needs neither account nor network; ``wandb sync`` sends
        it later.
    project, name : str, optional
        Of a new run.
    directory : str or path-like, optional
        Of a new run.
    prefix : str
        Put before every name.

    Raises
    ------
    MissingExtraError
        Without ``wandb``.
    """

    def __init__(
        self,
        run: Any = None,
        *,
        mode: str = "offline",
        project: str | None = None,
        name: str | None = None,
        directory: str | os.PathLike[str] | None = None,
        prefix: str = "curvature/",
    ) -> None:
        self._is_mine = run is None
        if run is None:
            wandb = _require("wandb", "WandbSink")
            run = wandb.init(
                mode=mode,
                project=project,
                name=name,
                dir=None if directory is None else os.fspath(directory),
                reinit="create_new",
                settings=wandb.Settings(console="off", silent=True),
            )
        self.run, self.prefix = run, prefix
        run.define_metric(f"{prefix}step")
        run.define_metric(f"{prefix}*", step_metric=f"{prefix}step")

    def log_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Log numbers of one step."""
        named = {self.prefix + name: value for name, value in scalars.items()}
        self.run.log({**named, f"{self.prefix}step": step})

    def close(self) -> None:
        """Finish a run that was begun here."""
        if self._is_mine:
            self.run.finish()


class MLflowSink:
    """Metrics for MLflow, through a client of its own: an active run of yours is not touched.

    MLflow draws names of runs from Python's global random numbers, which are kept as they were.

    Parameters
    ----------
    tracking_uri : str
        Such as ``"sqlite:///mlflow.db"`` for a local file, or the address of a server.
    experiment, run_name : str
        Made where they are missing.
    run_id : str, optional
        A run that exists, which stays open; without it one is begun.
    prefix : str
        Put before every name.

    Raises
    ------
    MissingExtraError
        Without ``mlflow`` (``mlflow-skinny`` with ``sqlalchemy`` and ``alembic`` suffices).
    """

    def __init__(
        self,
        tracking_uri: str,
        *,
        experiment: str = "spectra",
        run_name: str | None = None,
        run_id: str | None = None,
        prefix: str = "curvature/",
    ) -> None:
        self.prefix, self._is_mine = prefix, run_id is None
        with preserved_random_state():
            mlflow = _require("mlflow", "MLflowSink")
            if tracking_uri.startswith("sqlite"):
                _require("sqlalchemy", "MLflowSink")
            self._metric = mlflow.entities.Metric
            self._client = mlflow.tracking.MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
            self.run_id: str = self._begin(experiment, run_name) if run_id is None else run_id

    def _begin(self, experiment: str, run_name: str | None) -> str:
        found = self._client.get_experiment_by_name(experiment)
        number = self._client.create_experiment(experiment) if found is None else found.experiment_id
        run: str = self._client.create_run(number, run_name=run_name).info.run_id
        return run

    def log_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Log numbers of one step."""
        now = math.floor(time.time() * 1000)
        metrics = [self._metric(self.prefix + name, float(value), now, step) for name, value in scalars.items()]
        with preserved_random_state():
            self._client.log_batch(self.run_id, metrics=metrics)

    def close(self) -> None:
        """End a run that was begun here."""
        if self._is_mine:
            with preserved_random_state():
                self._client.set_terminated(self.run_id)


def scalars_of(row: Mapping[str, float]) -> dict[str, float]:
    """Return the finite numbers of a measured row that are worth a curve.

    Examples
    --------
    >>> scalars_of({"step": 3.0, "sharpness": 2.0, "noise_scale": float("nan"), "sharpness_status": 1})
    {'sharpness': 2.0}
    """
    return {
        name: value
        for name, value in row.items()
        if math.isfinite(value) and name not in _APART and not name.endswith("_status")
    }


def _require(module: str, owner: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"probes.hooks.{owner} needs {module}, which is not installed. Run pip install 'spectra-probes[hooks]'."
        ) from error
