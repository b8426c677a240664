"""Measurements of a run, as plain numbers: what the rules read, and how it lies in a run file.

A run is an :class:`xarray.DataTree`. Its root holds attributes only (task, optimizer, sizes, cost, provenance); the
child ``stages`` holds one entry for each measured state of training:

===========================  ====================================  ==============================================
variable                     dims                                  meaning
===========================  ====================================  ==============================================
``loss``                     stage                                 mean loss
``curvature``                stage, direction                      Ritz values ``v'Hv``, descending
``residual``                 stage, direction                      ``||H v - lam v||``
``start_curvature``          stage, start                          top Ritz value of each start vector alone
``smallest_curvature``       stage                                 smallest Ritz value
``curvature_noise_gram``     stage, direction, micro_batch, other  ``(H_i v)'(H_j v)``
``gradient_gram``            stage, micro_batch, other             ``g_i'g_j``
``gradient_curvature_gram``  stage, micro_batch, other             ``g_i'H g_j``
===========================  ====================================  ==============================================

all in the space of the preconditioner for Adam and AdamW, with the coordinate ``stage`` = number of real optimizer
steps taken. The child ``candidates`` holds the states that real steps at several learning rates lead to from the
initial one: the variables of a stage without the gradient Gram matrices along ``candidate``, with the coordinate
``learning_rate``, and ``training_loss (candidate, step)``; NaN where a candidate diverged. The child
``confirmations`` holds the same for rates that were followed for two or four times as many steps, with ``midway_loss``,
the loss after half of them. The child ``spectrum`` is a spectral measure at the last stage, and ``probe_steps`` the
training losses on the way. Schema version 1 had no candidates.

Curvatures are those of ``reference_size`` samples, the Gram matrices and losses those of ``noise_size``, both
attributes of the root.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from spectra.errors import SchemaError
from spectra.recommend.noise_scale import GradientStatistics, PairStatistic, gradient_statistics, scatter
from spectra.recommend.optimizer import OptimizerSpec

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "RUN_SCHEMA",
    "RUN_SCHEMA_VERSION",
    "MeasuredCandidate",
    "RunMeasurements",
    "Stage",
    "read_run",
    "read_stage",
]

RUN_SCHEMA = "spectra/run"
RUN_SCHEMA_VERSION = 2

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The curvature and noise of one state of training.

    Attributes
    ----------
    step : int
        Real optimizer steps taken before measuring.
    loss : float
        Mean loss on the reference set.
    curvature, residual : ndarray of shape (directions,)
        Top Ritz values, descending, and their residual norms.
    curvature_noise : tuple of PairStatistic
        ``s2(v)`` of the same directions, per sample.
    start_curvature : ndarray of shape (starts,)
        Top Ritz value that each start vector finds alone; their spread shows how settled the value is.
    smallest_curvature : float
        Smallest Ritz value.
    gradient : GradientStatistics or None
        Gradient norms and noise; ``None`` where they were not measured (the first of several stages, candidates).
    """

    step: int
    loss: float
    curvature: FloatArray
    residual: FloatArray
    curvature_noise: tuple[PairStatistic, ...]
    start_curvature: FloatArray
    smallest_curvature: float
    gradient: GradientStatistics | None


@dataclass(frozen=True, kw_only=True)
class MeasuredCandidate:
    """What real steps at one learning rate led to.

    Attributes
    ----------
    learning_rate : float
        Rate of the steps.
    training_losses : ndarray of shape (steps,)
        Losses of the training batches; shorter where it diverged.
    stage : Stage or None
        The state reached; ``None`` where the steps diverged.
    midway_loss : float or None
        Mean loss on the reference set after half of the steps, where that was looked at.
    """

    learning_rate: float
    training_losses: FloatArray
    stage: Stage | None
    midway_loss: float | None = None


@dataclass(frozen=True, kw_only=True)
class RunMeasurements:
    """Everything the rules need from a run, and what a report says about it.

    Attributes
    ----------
    optimizer : OptimizerSpec or None
        Optimizer whose steps were taken; ``None`` for a run that measured one state without training.
    batch_size : int
        Effective batch size of those steps.
    num_samples : int
        Samples of the data, the population of the batches.
    stages : tuple of Stage
        Measured states in the order of their steps; empty if the run stopped before the first.
    num_planned_stages : int
        Stages that were planned; fewer present means that the run was interrupted.
    is_trained : bool
        The task said that the model had been trained before.
    candidates : tuple of MeasuredCandidate
        Learning rates that were tried for some steps from the initial state, ascending.
    confirmations : tuple of MeasuredCandidate
        Rates that were followed for two or four times as many steps, ascending.
    notes : tuple of str
        Remarks of the measurement that the reader must see.
    attributes : dict
        The root attributes of the run (task, sizes, cost, provenance).
    """

    optimizer: OptimizerSpec | None
    batch_size: int
    num_samples: int
    stages: tuple[Stage, ...]
    num_planned_stages: int
    is_trained: bool
    candidates: tuple[MeasuredCandidate, ...] = ()
    confirmations: tuple[MeasuredCandidate, ...] = ()
    notes: tuple[str, ...] = ()
    attributes: dict = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether every planned stage was measured."""
        return len(self.stages) == self.num_planned_stages


def read_run(run: "xr.DataTree") -> RunMeasurements:
    """Read the measurements of a run file.

    Parameters
    ----------
    run : xarray.DataTree
        What :func:`probes.measurement.measure_run` returns and :func:`spectra.load` reads.

    Raises
    ------
    SchemaError
        If ``run`` is not a run of a schema version that this release reads.
    """
    attrs = dict(run.attrs)
    if attrs.get("schema") != RUN_SCHEMA:
        raise SchemaError(
            f"a run has attribute schema={RUN_SCHEMA!r}; got {attrs.get('schema')!r}. "
            "Recommendations need a file written by `spectra measure`."
        )
    if int(attrs.get("schema_version", 0)) > RUN_SCHEMA_VERSION:
        raise SchemaError(
            f"this run has schema version {attrs['schema_version']}, newer than {RUN_SCHEMA_VERSION} which this "
            "release reads; upgrade spectra-probes"
        )
    try:
        stages = _read_stages(run["stages"].to_dataset(), attrs) if "stages" in run.children else ()
        candidates, confirmations = (
            _read_candidates(run[name].to_dataset(), attrs) if name in run.children else ()
            for name in ("candidates", "confirmations")
        )
        optimizer = attrs["optimizer"]
        return RunMeasurements(
            optimizer=OptimizerSpec.from_json(optimizer) if optimizer else None,
            batch_size=int(attrs["batch_size"]),
            num_samples=int(attrs["num_samples"]),
            stages=stages,
            num_planned_stages=int(attrs["num_planned_stages"]),
            is_trained=bool(attrs["is_trained"]),
            candidates=candidates,
            confirmations=confirmations,
            notes=tuple(note for note in str(attrs.get("notes", "")).split("\n") if note),
            attributes=attrs,
        )
    except (KeyError, TypeError) as error:
        raise SchemaError(f"the run lacks or misspells {error}; it was damaged or written by other software") from error


def _read_stages(data: "xr.Dataset", attrs: dict) -> tuple[Stage, ...]:
    size = float(attrs["micro_batch_size"])
    count = float(attrs["num_samples"])
    return tuple(read_stage(data.sel(stage=step), int(step), size, count) for step in data["stage"].values)


def _read_candidates(data: "xr.Dataset", attrs: dict) -> tuple[MeasuredCandidate, ...]:
    size = float(attrs["micro_batch_size"])
    found = []
    for index in np.argsort(data["learning_rate"].values):
        at = data.isel(candidate=int(index))
        losses = at["training_loss"].values
        steps = int(np.sum(np.isfinite(losses)))
        found.append(
            MeasuredCandidate(
                learning_rate=float(at["learning_rate"]),
                training_losses=losses[:steps],
                stage=read_stage(at, steps, size) if np.isfinite(float(at["loss"])) else None,
                midway_loss=float(at["midway_loss"]) if "midway_loss" in at else None,
            )
        )
    return tuple(found)


def read_stage(at: "xr.Dataset", step: int, micro_batch_size: float, num_samples: float = np.inf) -> Stage:
    """Read one state from the variables of a stage.

    Parameters
    ----------
    at : xarray.Dataset
        One stage or candidate, its dimension taken off.
    step : int
        Real steps taken.
    micro_batch_size : float
        Samples in each micro-batch of the noise.
    num_samples : float
        Samples of the data.
    """
    curvature = at["curvature"].values
    kept = np.isfinite(curvature)
    noise = tuple(scatter(gram, batch_size=micro_batch_size) for gram in at["curvature_noise_gram"].values[kept])
    gradient = None
    if "gradient_gram" in at and np.all(np.isfinite(at["gradient_gram"].values)):
        gradient = gradient_statistics(
            at["gradient_gram"].values,
            at["gradient_curvature_gram"].values,
            batch_size=micro_batch_size,
            num_samples=num_samples,
        )
    return Stage(
        step=step,
        loss=float(at["loss"]),
        curvature=curvature[kept],
        residual=at["residual"].values[kept],
        curvature_noise=noise,
        start_curvature=at["start_curvature"].values,
        smallest_curvature=float(at["smallest_curvature"]),
        gradient=gradient,
    )
