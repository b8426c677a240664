"""The spectra of a task's curvature matrices in one call: extremes, density, trace and condition numbers, by layer."""

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import xarray as xr

from probes.operators import MATRICES, CurvatureOperator
from probes.operators.blocks import layers
from probes.operators.dual import dual_is_cheaper, dual_survey
from probes.operators.factored import FactoredOperator
from probes.task import Task
from spectra import SurveyInterrupted, survey
from spectra.errors import ArgumentError, NonFiniteError
from spectra.provenance import provenance
from spectra.start_vectors import as_seed

__all__ = ["SPECTRUM_SCHEMA", "SPECTRUM_SCHEMA_VERSION", "SpectrumInterrupted", "measure"]

SPECTRUM_SCHEMA = "spectra/spectrum"
SPECTRUM_SCHEMA_VERSION = 1

#: What a matrix takes at the defaults (scripts/benchmarks/survey_accuracy.py): up to so many rows, the Gram matrix of
#: the outputs is cheaper.
EXPECTED_MATVECS = 80

Progress = Callable[[str, int, int], None]


class SpectrumInterrupted(KeyboardInterrupt):
    """Ctrl-C during a measurement; ``spectrum`` holds what had been measured."""

    def __init__(self, spectrum: xr.DataTree) -> None:
        super().__init__("measurement interrupted")
        self.spectrum = spectrum


def measure(
    task: Task,
    *,
    matrices: str | Iterable[str] = ("hessian",),
    per_layer: bool = False,
    num_extremal: int = 5,
    num_smallest: int = 1,
    tolerance: float = 1e-4,
    trace_rtol: float = 0.01,
    num_probes: int = 3,
    num_steps: int = 20,
    max_matvecs: int | None = None,
    keep_vectors: bool = False,
    level: float = 0.95,
    max_basis_bytes: int = 2**32,
    check: bool = True,
    strategy: str = "auto",
    rng: int | np.random.Generator = 0,
    progress: Progress | None = None,
    on_result: Callable[[xr.DataTree], object] | None = None,
) -> xr.DataTree:
    """Measure the spectra of a task's curvature matrices, each from one Lanczos run.

    For every matrix, and for every diagonal block of a layer if asked for: top and bottom eigenvalues with error
    bounds, trace with an interval, spectral density and moments, share of negative eigenvalues, condition numbers. See
    `spectra.survey`, which makes the run.

    Parameters
    ----------
    task : Task
        Model, loss and data; the model is measured in the mode it is in, and left as it was.
    matrices : str or iterable of str
        Names in ``probes.operators.MATRICES``: ``"hessian"``, ``"gauss_newton"``, ``"fisher"``, ...
    per_layer : bool
        Whether to measure the diagonal block of each module with parameters of its own as well.
    num_extremal, num_smallest, tolerance, trace_rtol, num_probes, num_steps, keep_vectors, level, max_basis_bytes
        As for `spectra.survey`.
    max_matvecs : int, optional
        Products at most, for each matrix and each of its layers; by default ``2 num_probes num_steps``.
    check : bool
        Whether to compare products with differences of gradients first, on a few samples, for each matrix.
    strategy : str
        How products are formed, see :mod:`probes.operators.ladder`. ``"auto"`` takes what is fastest, which may differ
        from run to run, and results with it by rounding; ``"kept_graph"`` gives the same digits for the same seed.
    rng : int or numpy.random.Generator
        Seed of everything random.
    progress : callable, optional
        Called with (what is being measured, products done, products at most).
    on_result : callable, optional
        Called with the tree so far after each matrix and layer, e.g. to save it.

    Returns
    -------
    xarray.DataTree
        One child per matrix, with the content and attributes of `spectra.survey` (``quantities``, ``measure``,
        ``eigenpairs``), and ``product_strategy``, ``remarks`` and ``seconds`` among its attributes; with ``per_layer``
        its child ``layers`` has one child of the same form per layer. The model itself, where it owns parameters, is
        the layer ``(model)``. Attributes of the root: ``schema``, ``schema_version``, ``task``, ``description``,
        ``loss``, ``loss_function``, ``num_samples``, ``num_batches``, ``dimension``, ``num_parameters`` of the model,
        ``mode`` ("train", "eval" or "mixed"), ``is_trained``, ``dtype``, ``device``, ``matrices`` (JSON),
        ``num_matvecs`` (all of them), ``seconds``, ``seed``, ``status`` ("complete" or "interrupted"), and the
        provenance.

    Raises
    ------
    ArgumentError
        For an unknown matrix, and as for `spectra.survey`.
    TaskError, NonFiniteError, NonDeterministicError, NotSymmetricError, DerivativeError
        If the task cannot be measured; the message names the likely cause.
    SpectrumInterrupted
        On Ctrl-C; it carries what was measured.

    Notes
    -----
    A Gauss-Newton, Fisher or empirical Fisher matrix whose outputs are few (at most ``max_matvecs``, or 80, over all
    samples) is not sampled: the Gram matrix of its outputs gives all its eigenvalues exactly, see
    :mod:`probes.operators.dual`; ``ended`` is then "exact".

    The data are read once, and all matrices share model and batches. At the defaults a matrix of a network of some
    thousand parameters took 73 to 92 products (``scripts/benchmarks/survey_accuracy.py``).

    See Also
    --------
    probes.measurement.measure_run : what a recommendation needs, before and after real steps.
    spectra.spectrum_report.render_spectrum : the tree as text, Markdown or JSON.

    Examples
    --------
    >>> import torch
    >>> x = torch.arange(12.0).reshape(6, 2)
    >>> task = Task(torch.nn.Linear(2, 1), torch.nn.MSELoss(), [(x, x[:, :1])])
    >>> spectrum = measure(task, matrices="gauss_newton")
    >>> trace = spectrum["gauss_newton/quantities"].to_dataset().sel(quantity="trace")
    >>> round(float(trace["value"]), 2), str(trace["status"].values)  # 2/6 of the sum of squares 0, 1, ..., 11, and 6
    (170.67, 'exact')
    """
    names = _matrix_names(matrices)
    options = {
        "num_extremal": num_extremal,
        "num_smallest": num_smallest,
        "tolerance": tolerance,
        "trace_rtol": trace_rtol,
        "num_probes": num_probes,
        "num_steps": num_steps,
        "max_matvecs": max_matvecs,
        "keep_vectors": keep_vectors,
        "level": level,
        "max_basis_bytes": max_basis_bytes,
        "rng": as_seed(rng),
    }
    session = _Session(task, names, options, check=check, strategy=strategy, progress=progress or (lambda *_: None))
    try:
        session.run(per_layer=per_layer, on_result=on_result or (lambda _: None))
    except KeyboardInterrupt as interrupt:
        raise SpectrumInterrupted(session.tree()) from interrupt
    session.status = "complete"
    return session.tree()


def _matrix_names(matrices: str | Iterable[str]) -> list[str]:
    """Return the names without repetitions, or raise ArgumentError for an unknown one."""
    names = list(dict.fromkeys([matrices] if isinstance(matrices, str) else matrices))
    unknown = [name for name in names if name not in MATRICES]
    if unknown or not names:
        raise ArgumentError(f"matrices must name at least one of {', '.join(MATRICES)}; got {unknown or names}")
    return names


class _Session:
    """One measurement: operators that share their data, and what has been found."""

    def __init__(
        self,
        task: Task,
        names: list[str],
        options: dict[str, Any],
        *,
        check: bool,
        strategy: str,
        progress: Progress,
    ) -> None:
        self.task, self.names, self.options, self.check, self.progress = task, names, options, check, progress
        self.strategy = strategy
        self.nodes: dict[str, xr.Dataset] = {}
        self.attrs: dict[str, Any] = {}
        self.num_matvecs = 0
        self.started = time.perf_counter()
        self.status = "interrupted"

    def run(self, *, per_layer: bool, on_result: Callable[[xr.DataTree], object]) -> None:
        """Measure one matrix after the other."""
        first: CurvatureOperator | None = None
        for name in self.names:
            self.progress(f"{name}: checking the operator", 0, 1)
            if first is None:
                operator = first = self.first_operator(MATRICES[name])
            else:
                operator = first.sibling(MATRICES[name], strategy=self.strategy)
                operator.checks = operator.self_check(rng=self.options["rng"]) if self.check else {}
            self.survey(name, operator, f"/{name}", on_result)
            for path, block in layers(operator).items() if per_layer else ():
                layer = path or "(model)"
                self.survey(f"{name} of {layer}", block, f"/{name}/layers/{layer}", on_result)

    def first_operator(self, kind: type[CurvatureOperator]) -> CurvatureOperator:
        """Build the operator whose data the others share, and note what is measured."""
        task = self.task
        operator = kind(
            task.model,
            task.loss,
            task.batches,
            **task.operator_options(),
            check=self.check,
            strategy=self.strategy,
            rng=self.options["rng"],
        )
        loss = float(operator.loss())
        if not np.isfinite(loss):
            raise NonFiniteError(f"the loss is {loss}; it must be finite before its curvature is measured")
        self.attrs = {
            "loss": loss,
            "loss_function": operator.objective.loss.name,
            "num_samples": operator.num_samples,
            "num_batches": len(task.batches),
            "dimension": operator.shape[0],
            "dtype": str(operator.dtype).removeprefix("torch."),
            "device": str(operator.device),
        }
        return operator

    def survey(
        self, label: str, operator: CurvatureOperator, path: str, on_result: Callable[[xr.DataTree], object]
    ) -> None:
        """Measure one operator and keep its answer, also that of an interrupted run."""
        began = time.perf_counter()
        dual = self.dual_survey(label, operator)
        if dual is not None:
            self.keep(dual, operator, path, time.perf_counter() - began)
            on_result(self.tree())
            return
        try:
            answer = survey(
                operator,
                positive_semidefinite=bool(getattr(operator, "is_semidefinite", False)),
                progress=lambda done, total: self.progress(label, done, total),
                **self.options,
            )
        except SurveyInterrupted as interrupt:
            if interrupt.survey is not None:
                self.keep(interrupt.survey, operator, path, time.perf_counter() - began)
            raise
        self.keep(answer, operator, path, time.perf_counter() - began)
        on_result(self.tree())

    def dual_survey(self, label: str, operator: CurvatureOperator) -> xr.DataTree | None:
        """Return the exact answer where the Gram matrix of the outputs gives it for fewer products, else None."""
        budget = self.options["max_matvecs"] or EXPECTED_MATVECS
        if self.options["keep_vectors"] or not dual_is_cheaper(operator, num_products=budget):
            return None
        self.progress(f"{label}: Gram matrix of the outputs", 0, 1)
        asked = {key: self.options[key] for key in ("tolerance", "trace_rtol")}
        assert isinstance(operator, FactoredOperator)  # no other has a dual
        return dual_survey(operator, num_extremal=self.options["num_extremal"], max_matvecs=budget, **asked)

    def keep(self, answer: xr.DataTree, operator: CurvatureOperator, path: str, seconds: float) -> None:
        """Add the answer for one operator to the tree."""
        self.num_matvecs += int(answer.attrs["num_matvecs"])
        for node in answer.subtree:
            self.nodes[path + node.path.rstrip("/")] = node.to_dataset(inherit=False)
        self.nodes[path].attrs |= {
            "product_strategy": str(getattr(operator, "product_strategy", "")),
            "remarks": "\n".join(getattr(operator, "remarks", [])),
            "parameters": json.dumps(list(operator.parameters)),
            "checks": json.dumps(operator.checks, default=str),
            "seconds": seconds,
        }

    def tree(self) -> xr.DataTree:
        """Return what has been found so far."""
        task, model = self.task, self.task.model
        modes = {module.training for module in model.modules()}
        root = xr.Dataset(
            attrs=provenance(
                schema=SPECTRUM_SCHEMA,
                schema_version=SPECTRUM_SCHEMA_VERSION,
                task=task.name,
                description=task.description,
                matrices=json.dumps(self.names),
                mode="mixed" if len(modes) > 1 else "train" if modes.pop() else "eval",
                is_trained=int(task.pretrained),
                num_parameters=sum(parameter.numel() for parameter in model.parameters()),
                seed=self.options["rng"],
                num_matvecs=self.num_matvecs,
                seconds=time.perf_counter() - self.started,
                status=self.status,
                **self.attrs,
            )
        )
        return xr.DataTree.from_dict({"/": root, **self.nodes})
