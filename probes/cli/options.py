"""Options that several subcommands share, with their help."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Accumulation",
    "BatchSize",
    "Beta2",
    "CandidateSteps",
    "Checkpoint",
    "ClipNorm",
    "Debug",
    "Device",
    "Eps",
    "Json",
    "MaxKrylovSteps",
    "MicroBatchSize",
    "MicroBatches",
    "Momentum",
    "NoiseSize",
    "NumProbes",
    "NumSteps",
    "OptimizerState",
    "Plot",
    "ProbeLearningRate",
    "ProbeSteps",
    "Quiet",
    "ReferenceSize",
    "Schedule",
    "Seed",
    "Threads",
    "WeightDecay",
    "WorldSize",
]


class Schedule(StrEnum):
    """Learning-rate schedules."""

    CONSTANT = "constant"
    LINEAR = "linear"


OPTIMIZER, MEASUREMENT, OUTPUT = "Optimizer", "Measurement", "Output"

OPTIMIZERS = "sgd, momentum, nesterov, adam, adamw, rmsprop"

BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        "-b",
        min=1,
        help="Effective batch size: micro-batch x accumulation x workers. Default 64, or that of the run file.",
        rich_help_panel=OPTIMIZER,
    ),
]
MicroBatchSize = Annotated[
    int | None,
    typer.Option(min=1, help="Samples of one pass of one worker. Default: what follows.", rich_help_panel=OPTIMIZER),
]
Accumulation = Annotated[
    int | None,
    typer.Option(min=1, help="Passes of every worker before a step. Default: what follows.", rich_help_panel=OPTIMIZER),
]
WorldSize = Annotated[
    int | None, typer.Option(min=1, help="Data-parallel workers. Default 1.", rich_help_panel=OPTIMIZER)
]
ClipNorm = Annotated[
    float | None,
    typer.Option(
        help="Norm to which gradients are clipped in training. Default: no clipping.", rich_help_panel=OPTIMIZER
    ),
]
OptimizerState = Annotated[
    Path | None,
    typer.Option(
        help="Saved state of the optimizer (torch file or checkpoint folder): its constants, moments and parameter "
        "groups are taken from it.",
        show_default=False,
        rich_help_panel=OPTIMIZER,
    ),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        help="Parameters to load into the task's model first: a safetensors or torch file, or a Hugging Face "
        "directory. Every name must fit.",
        show_default=False,
        rich_help_panel=MEASUREMENT,
    ),
]
CandidateSteps = Annotated[
    int,
    typer.Option(
        min=0, help="Real steps at each learning rate that is tried; 0 tries none.", rich_help_panel=MEASUREMENT
    ),
]
Momentum = Annotated[
    float | None,
    typer.Option(help="Momentum, or Adam's beta1. Default 0.9 (0 for sgd and rmsprop).", rich_help_panel=OPTIMIZER),
]
Beta2 = Annotated[float, typer.Option(help="Adam's beta2.", rich_help_panel=OPTIMIZER)]
Eps = Annotated[float, typer.Option(help="Epsilon of Adam and RMSprop.", rich_help_panel=OPTIMIZER)]
WeightDecay = Annotated[
    float, typer.Option(help="Weight decay as the torch optimizer takes it.", rich_help_panel=OPTIMIZER)
]
ProbeSteps = Annotated[
    str,
    typer.Option(
        help="Real optimizer steps at which to measure, comma-separated, increasing.",
        rich_help_panel=MEASUREMENT,
    ),
]
ProbeLearningRate = Annotated[
    float | None,
    typer.Option(help="Learning rate of those steps. Default: chosen gently.", rich_help_panel=MEASUREMENT),
]
MicroBatches = Annotated[
    int, typer.Option(help="Disjoint micro-batches for the noise; at least 8.", rich_help_panel=MEASUREMENT)
]
MaxKrylovSteps = Annotated[
    int,
    typer.Option(min=2, help="Step limit of the search for the largest curvature.", rich_help_panel=MEASUREMENT),
]
NumProbes = Annotated[
    int,
    typer.Option(min=0, help="Start vectors of the spectral measure; 0 leaves it out.", rich_help_panel=MEASUREMENT),
]
NumSteps = Annotated[int, typer.Option(min=2, help="Lanczos steps of each start vector.", rich_help_panel=MEASUREMENT)]
ReferenceSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Samples on which curvature is measured. Default max(32, 4 x batch size), at most all.",
        rich_help_panel=MEASUREMENT,
    ),
]
NoiseSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Samples for noise, preconditioner and loss. Default max(128, those of the curvature), at most all.",
        rich_help_panel=MEASUREMENT,
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.", rich_help_panel=MEASUREMENT)]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="CPU threads of torch. Default: torch's.", rich_help_panel=MEASUREMENT),
]
Device = Annotated[
    str | None,
    typer.Option(
        help="Move the model to cpu, cuda, cuda:1, mps ... first. Default: where the task has it.",
        show_default=False,
        rich_help_panel=MEASUREMENT,
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object (versioned, no NaN) instead of text.", rich_help_panel=OUTPUT),
]
Plot = Annotated[
    Path | None,
    typer.Option("--plot", help="Write a picture: .png, .svg or .pdf.", rich_help_panel=OUTPUT),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.", rich_help_panel=OUTPUT)]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=OUTPUT)]
