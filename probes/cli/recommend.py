"""``spectra recommend``: the main job."""

from pathlib import Path
from typing import Annotated

import typer

from probes.cli import options as shared
from probes.cli.session import MeasureOptions, is_run_file, measure_task, parse_steps, say, write_picture

__all__ = ["recommend"]

WITHHELD = 3


def recommend(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TASK|RUN",
            help="A task as package.module:function or file.py:function, or a run file of `spectra measure`.",
            show_default=False,
        ),
    ],
    optimizer: Annotated[
        shared.OptimizerName | None,
        typer.Option(
            "--optimizer",
            "-o",
            help="Default adamw, or that of the run file.",
            rich_help_panel=shared.OPTIMIZER,
        ),
    ] = None,
    batch_size: shared.BatchSize = None,
    momentum: shared.Momentum = None,
    beta2: shared.Beta2 = 0.999,
    eps: shared.Eps = 1e-8,
    weight_decay: shared.WeightDecay = 0.0,
    schedule: Annotated[
        shared.Schedule,
        typer.Option(help="Learning-rate schedule; linear decays to zero.", rich_help_panel=shared.OPTIMIZER),
    ] = shared.Schedule.CONSTANT,
    probe_steps: shared.ProbeSteps = "10,20",
    probe_learning_rate: shared.ProbeLearningRate = None,
    micro_batches: shared.MicroBatches = 24,
    max_krylov_steps: shared.MaxKrylovSteps = 60,
    num_probes: shared.NumProbes = 10,
    num_steps: shared.NumSteps = 30,
    reference_size: shared.ReferenceSize = None,
    seed: shared.Seed = 0,
    threads: shared.Threads = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            help="Folder for report.md, spectrum.png and run.nc; made if missing.",
            rich_help_panel=shared.OUTPUT,
        ),
    ] = None,
    plot: shared.Plot = None,
    as_json: shared.Json = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,
) -> None:
    """Recommend a learning rate for a model, its data and an optimizer, with the evidence.

    Takes a few real optimizer steps on a copy of the model, measures curvature and noise, and says which learning
    rate to use, which is the largest stable one, what limits it, and at which batch size that changes. The exit code
    is 3 when the evidence does not carry a recommendation.

    Examples
    --------
      spectra recommend probes.examples:digits_mlp --optimizer adamw --batch-size 64

      spectra recommend my_project/train.py:task -o momentum -b 256 --schedule linear --output advice/

      spectra recommend run.nc --json
    """
    from spectra.errors import ArgumentError

    run_path = None
    if output is not None:
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArgumentError(f"--output must be a folder that can be made or written; {output}: {error}") from error
        run_path = output / "run.nc"
    if is_run_file(target):
        from spectra.recommend.run import read_run
        from spectra.storage import load, save

        run = load(target)
        recorded = read_run(run).optimizer  # type: ignore[arg-type]
        if optimizer is not None and (recorded is None or recorded.kind != optimizer.value):
            raise ArgumentError(
                f"{target} was measured with optimizer {recorded.kind if recorded else 'none'}, not {optimizer.value}; "
                f"measure again: spectra recommend {run.attrs.get('task', 'TASK')} --optimizer {optimizer.value}"
            )
        if run_path is not None:
            save(run, run_path)
    else:
        name = optimizer or shared.OptimizerName.ADAMW
        if optimizer is None:
            say("no --optimizer given: assuming adamw", quiet=quiet)
        run = measure_task(
            target,
            MeasureOptions(
                optimizer=name.value,
                batch_size=batch_size,
                momentum=momentum,
                beta2=beta2,
                eps=eps,
                weight_decay=weight_decay,
                plan={
                    "probe_steps": parse_steps(probe_steps),
                    "probe_learning_rate": probe_learning_rate,
                    "num_micro_batches": micro_batches,
                    "max_krylov_steps": max_krylov_steps,
                    "num_probes": num_probes,
                    "num_steps": num_steps,
                    "reference_size": reference_size,
                },
                seed=seed,
                threads=threads,
                quiet=quiet,
            ),
            path=run_path,
        )

    from spectra.recommend import Verdict, advise
    from spectra.report import render

    advice = advise(run, batch_size=batch_size, schedule=schedule.value)
    typer.echo(render(advice, format="json" if as_json else "text"))
    if plot is not None or output is not None:
        from spectra.advice_plot import plot_advice

        figure = plot_advice(advice, run)
        if plot is not None:
            write_picture(figure, plot)
        if output is not None:
            write_picture(figure, output / "spectrum.png")
            text = render(advice, format="markdown") + "\n\n![spectrum and learning rate](spectrum.png)\n"
            (output / "report.md").write_text(text, encoding="utf-8")
            say(f"\nwrote {output / 'report.md'}, {output / 'spectrum.png'} and {run_path}", quiet=quiet)
    if advice.verdict is Verdict.WITHHELD:
        raise typer.Exit(WITHHELD)
