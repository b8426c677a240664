"""``spectra recommend``: the main job."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from probes.cli import options as shared
from probes.cli.pages import Destinations
from probes.cli.session import (
    DEFAULT_BATCH,
    INTERRUPTED,
    MeasurementRefused,
    MeasureOptions,
    batch_check,
    effective_batch,
    is_run_file,
    measure_task,
    parse_steps,
    say,
    typed_options,
)
from spectra.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from spectra.recommend import Advice

__all__ = ["recommend"]

WITHHELD = 3

#: Not part of what a later command repeats: it names them itself, or they say where the answer goes.
NOT_REPEATED = (
    "target",
    "optimizer",
    "batch_size",
    "schedule",
    "output",
    "plot",
    "markdown",
    "html",
    "as_json",
    "verbose",
    "quiet",
    "debug",
)

#: What a run file can still be asked.
FOR_RUN_FILES = ("--micro-batch-size", "--accumulation", "--world-size")


def recommend(
    context: typer.Context,
    target: Annotated[
        str,
        typer.Argument(
            metavar="TASK|RUN",
            help="A task as package.module:function or file.py:function, or a run file of `spectra measure`.",
            show_default=False,
        ),
    ],
    optimizer: Annotated[
        str | None,
        typer.Option(
            "--optimizer",
            "-o",
            metavar="NAME",
            help=f"{shared.OPTIMIZERS}. Default adamw, or that of the run file or the optimizer state.",
            show_default=False,
            rich_help_panel=shared.OPTIMIZER,
        ),
    ] = None,
    batch_size: shared.BatchSize = None,
    micro_batch_size: shared.MicroBatchSize = None,
    accumulation: shared.Accumulation = None,
    world_size: shared.WorldSize = None,
    momentum: shared.Momentum = None,
    beta2: shared.Beta2 = 0.999,
    eps: shared.Eps = 1e-8,
    weight_decay: shared.WeightDecay = 0.0,
    clip_norm: shared.ClipNorm = None,
    optimizer_state: shared.OptimizerState = None,
    schedule: Annotated[
        shared.Schedule,
        typer.Option(help="Learning-rate schedule; linear decays to zero.", rich_help_panel=shared.OPTIMIZER),
    ] = shared.Schedule.CONSTANT,
    checkpoint: shared.Checkpoint = None,
    candidate_steps: shared.CandidateSteps = 40,
    probe_steps: shared.ProbeSteps = "10",
    probe_learning_rate: shared.ProbeLearningRate = None,
    micro_batches: shared.MicroBatches = 24,
    max_krylov_steps: shared.MaxKrylovSteps = 60,
    num_probes: shared.NumProbes = 0,
    num_steps: shared.NumSteps = 30,
    reference_size: shared.ReferenceSize = None,
    noise_size: shared.NoiseSize = None,
    seed: shared.Seed = 0,
    threads: shared.Threads = None,
    device: shared.Device = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            help="Folder for report.md, report.html, recommendation.png and run.nc; made if missing.",
            show_default=False,
            rich_help_panel=shared.OUTPUT,
        ),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(help="Write the page as Markdown.", show_default=False, rich_help_panel=shared.OUTPUT),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            help="Write the page as one self-contained HTML file.", show_default=False, rich_help_panel=shared.OUTPUT
        ),
    ] = None,
    plot: shared.Plot = None,
    as_json: shared.Json = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Every check, batch size and reason.", rich_help_panel=shared.OUTPUT),
    ] = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,
) -> None:
    """Recommend a learning rate for a model, its data and an optimizer, with the evidence.

    Takes real optimizer steps on a copy of the model at several learning rates, measures where they lead, and says
    which rate to use, which is the largest stable one, what limits it, and at which batch size that changes. The exit
    code is 3 when the evidence does not carry a recommendation; the failed check is named.

    Examples
    --------
      spectra recommend probes.examples:digits_mlp --optimizer adamw --batch-size 64

      spectra recommend my_project/train.py:task -o momentum -b 256 --schedule linear --output advice/

      spectra recommend train.py:task --checkpoint last.pt --optimizer-state optimizer.pt --html page.html

      spectra recommend run.nc --json
    """
    destinations = Destinations(
        output=output, markdown=markdown, html=html, plot=plot, as_json=as_json, verbose=verbose, quiet=quiet
    )
    typed = typed_options(context, leave_out=NOT_REPEATED)
    plan = {
        "probe_steps": parse_steps(probe_steps),
        "candidate_steps": candidate_steps,
        "probe_learning_rate": probe_learning_rate,
        "num_micro_batches": micro_batches,
        "max_krylov_steps": max_krylov_steps,
        "num_probes": num_probes,
        "num_steps": num_steps,
        "reference_size": reference_size,
        "noise_size": noise_size,
    }
    destinations.check()
    constants = {"momentum": momentum, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
    common: dict[str, Any] = {
        "optimizer_state": optimizer_state,
        "checkpoint": checkpoint,
        "device": device,
        "batch_size": batch_size,
        "micro_batch_size": micro_batch_size,
        "accumulation": accumulation,
        "world_size": world_size,
        "clip_norm": clip_norm,
        "plan": plan,
        "seed": seed,
        "threads": threads,
        "quiet": quiet,
        "typed": typed,
    }
    try:
        if is_run_file(target):
            run, batch = _saved(target, optimizer, MeasureOptions(optimizer=None, kind=None, **common), destinations)
        else:
            spec, kind = _asked(optimizer, constants, common)
            options = MeasureOptions(optimizer=spec, kind=kind, **common)
            run, batch = measure_task(target, options, path=destinations.run_path), None
    except MeasurementRefused as refusal:
        advice, run = _refused(refusal, target, optimizer, schedule.value, destinations)
        _deliver(destinations, lambda: advice, run)
    else:
        from spectra.recommend import advise

        advice = _deliver(destinations, lambda: advise(run, batch_size=batch, schedule=schedule.value), run)
    if str(advice.verdict) == "WITHHELD":
        raise typer.Exit(WITHHELD)


def _deliver(destinations: Destinations, make: "Callable[[], Advice]", run: Any) -> "Advice":
    """Make the advice and write its pages; on Ctrl-C say where the complete run is."""
    try:
        advice = make()
        destinations.write(advice, run)
    except KeyboardInterrupt:
        path = destinations.run_path
        if run is None or path is None:
            say("interrupted after the measurement; nothing was saved (no --output was named)")
        else:
            say(f"interrupted after the measurement, which is whole in {path}: `spectra recommend {path}` goes on")
        raise typer.Exit(INTERRUPTED) from None
    return advice


def _asked(name: str | None, constants: dict[str, Any], common: dict[str, Any]) -> tuple[Any, str | None]:
    """Return the description of the optimizer asked for, and its kind; None where the optimizer state tells."""
    from probes.cli.optimizer_names import read_kind, spec_of, unknown_check, unsupported_check

    typed = common["typed"]
    kind = None if name is None else read_kind(name)
    if name is not None and kind is None:
        raise MeasurementRefused(unknown_check(name), batch_size=common["batch_size"] or DEFAULT_BATCH)
    if common["optimizer_state"] is not None:
        unsupported = None if kind is None else unsupported_check(kind)
        if unsupported is not None:
            raise MeasurementRefused(unsupported, batch_size=common["batch_size"] or DEFAULT_BATCH)
        given = [option for option in ("--momentum", "--beta2", "--eps", "--weight-decay") if option in typed]
        if given:
            raise ArgumentError(f"--optimizer-state holds these constants already; leave {', '.join(given)} out")
        return None, kind
    if kind is None:
        say("no --optimizer given: assuming adamw", quiet=common["quiet"])
        kind = "adamw"
    return spec_of(kind, typed=typed, **constants), kind


def _saved(target: str, optimizer: str | None, options: MeasureOptions, destinations: Destinations) -> tuple[Any, int]:
    """Return a saved run and the batch size to advise for."""
    import json
    from dataclasses import asdict, replace

    from probes.cli.optimizer_names import read_kind
    from spectra.recommend.run import read_run
    from spectra.storage import load, save

    idle = [option for option in options.typed if option not in FOR_RUN_FILES]
    if idle:
        raise ArgumentError(
            f"{target} has been measured already, so that {', '.join(idle)} cannot change it; "
            "measure the task again with it"
        )
    run = load(target)
    measured = read_run(run)
    recorded = measured.optimizer.kind if measured.optimizer else measured.attributes.get("requested_optimizer", "")
    if optimizer is not None and read_kind(optimizer) != recorded:
        raise ArgumentError(
            f"{target} was measured with optimizer {recorded or 'none'}, not {optimizer}; "
            f"measure again: spectra recommend {run.attrs.get('task', 'TASK')} --optimizer {optimizer}"
        )
    if options.batch_size is None and options.micro_batch_size is None:
        options = replace(options, batch_size=measured.batch_size)
    batch = effective_batch(options, measured.num_samples)
    if batch.size > measured.num_samples:
        check = batch_check(batch.size, measured.num_samples)
        raise MeasurementRefused(check, batch_size=batch.size, num_samples=measured.num_samples, run=run)
    if any(option in options.typed for option in FOR_RUN_FILES):
        run.attrs["effective_batch"] = json.dumps(asdict(batch))
    if destinations.run_path is not None:
        save(run, destinations.run_path)
    return run, batch.size


def _refused(
    refusal: MeasurementRefused, target: str, optimizer: str | None, schedule: str, destinations: Destinations
) -> "tuple[Advice, Any]":
    """Return advice that names the failed check, with what had been measured before."""
    from dataclasses import replace

    from spectra.recommend import RunMeasurements, advise, read_run
    from spectra.recommend.advice import refused
    from spectra.recommend.refusal import refusal_attribute
    from spectra.storage import save

    check, run = refusal.check, refusal.run
    if run is not None and refusal.batch_size <= refusal.num_samples:
        run.attrs["refusal"] = refusal_attribute(
            claim=check.claim, observed=check.observed, required=check.required, source=check.source
        )
        if destinations.run_path is not None:
            save(run, destinations.run_path)
        return advise(run, schedule=schedule), run
    known = RunMeasurements(
        optimizer=None,
        batch_size=refusal.batch_size,
        num_samples=refusal.num_samples,
        stages=(),
        num_planned_stages=0,
        is_trained=False,
        attributes={"task": target, "requested_optimizer": optimizer or "adamw", "batch_size": refusal.batch_size},
    )
    if run is not None:
        saved = read_run(run)
        known = replace(known, optimizer=saved.optimizer, attributes={"task": saved.attributes.get("task", target)})
    return refused(known, (check,), batch_size=refusal.batch_size, schedule=schedule), None
