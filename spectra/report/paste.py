"""Lines to paste into a training script: plain PyTorch, Lightning, Hugging Face transformers."""

import json
from dataclasses import dataclass

from spectra.recommend.advice import Advice
from spectra.recommend.optimizer import OptimizerSpec
from spectra.report.blocks import Code

__all__ = ["Passes", "passes_of", "paste_lines"]

#: What torch.optim takes if nothing is said.
TORCH_EPS = 1e-8

#: How Lightning is told of a scheduler, and where it keeps the number of steps.
SCHEDULED = 'return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}'
STEPS = "self.trainer.estimated_stepping_batches"

_CLASSES = {
    "sgd": "SGD",
    "momentum": "SGD",
    "nesterov": "SGD",
    "adam": "Adam",
    "adamw": "AdamW",
    "rmsprop": "RMSprop",
}


@dataclass(frozen=True, kw_only=True)
class Passes:
    """How the samples of one step come together: samples of one pass, passes accumulated, data-parallel workers."""

    micro_batch_size: int
    accumulation: int = 1
    world_size: int = 1


def passes_of(advice: Advice) -> Passes:
    """Return how the batch comes together as the run says; one pass where it says nothing about this batch size."""
    stored = advice.run.attributes.get("effective_batch")
    if stored:
        passes = Passes(**json.loads(stored))
        if passes.micro_batch_size * passes.accumulation * passes.world_size == advice.requested_batch_size:
            return passes
    return Passes(micro_batch_size=advice.requested_batch_size)


def paste_lines(advice: Advice) -> dict[str, Code]:
    """Return the lines by library: ``torch``, ``lightning`` and ``transformers``; empty if the rate is withheld.

    The learning rate has the three digits that the page shows.
    """
    rate, spec = advice.learning_rate.value, advice.run.optimizer
    if rate is None or spec is None:
        return {}
    return {
        "torch": Code(_torch(advice, spec, rate), "python", "PyTorch"),
        "lightning": Code(_lightning(advice, spec, rate), "python", "Lightning"),
        "transformers": Code(_transformers(advice, spec, rate), "python", "Hugging Face transformers"),
    }


def _literal(value: float) -> str:
    """Return three significant digits as Python reads them.

    Examples
    --------
    >>> _literal(0.0123456), _literal(1.0), _literal(1e-8)
    ('0.0123', '1.0', '1e-08')
    """
    return repr(float(f"{value:.3g}"))


def _arguments(spec: OptimizerSpec) -> list[str]:
    """Return the keyword arguments of the torch class after ``lr``; what differs from torch's defaults, and more."""
    found: list[str] = []
    if spec.kind in ("momentum", "nesterov"):
        found.append(f"momentum={spec.beta!r}")
    if spec.dampening:
        found.append(f"dampening={spec.dampening!r}")
    if spec.kind == "nesterov":
        found.append("nesterov=True")
    if spec.kind in ("adam", "adamw"):
        found.append(f"betas=({spec.beta!r}, {spec.beta2!r})")
    if spec.kind == "rmsprop":
        found.append(f"alpha={spec.alpha!r}")
        found += [f"momentum={spec.beta!r}"] if spec.beta else []
        found += ["centered=True"] if spec.centered else []
    if spec.is_adaptive and spec.eps != TORCH_EPS:
        found.append(f"eps={spec.eps!r}")
    # AdamW alone decays by default
    if spec.weight_decay or spec.kind == "adamw":
        found.append(f"weight_decay={spec.weight_decay!r}")
    if spec.amsgrad:
        found.append("amsgrad=True")
    return found


def _constructor(spec: OptimizerSpec, rate: float, parameters: str) -> str:
    return f"torch.optim.{_CLASSES[spec.kind]}({', '.join([parameters, f'lr={_literal(rate)}', *_arguments(spec)])})"


def _group_rates(advice: Advice, rate: float) -> list[str]:
    """Return the rates of all parameter groups; empty for a single one."""
    ratios = json.loads(advice.run.attributes.get("group_ratios") or "[]")
    return [] if len(ratios) < 2 else [_literal(rate * ratio) if ratio else "0.0" for ratio in ratios]


def _set_rates(groups: list[str]) -> list[str]:
    """Return the loop over an optimizer that is there: groups differ in more than their rates, and only it knows."""
    return [
        f"for group, rate in zip(optimizer.param_groups, ({', '.join(groups)}), strict=True):",
        '    group["lr"] = group["initial_lr"] = rate',
    ]


def _clip(advice: Advice) -> float:
    return float(advice.run.attributes.get("clip_norm", 0.0) or 0.0)


def _torch(advice: Advice, spec: OptimizerSpec, rate: float) -> str:
    groups = _group_rates(advice, rate)
    lines = [f"optimizer = {_constructor(spec, rate, 'model.parameters()')}"]
    if groups:
        lines = ["# optimizer: yours, with its parameter groups as in the saved state", *_set_rates(groups)]
    if advice.schedule == "linear":
        lines += _decay("num_steps")
        lines.append("# scheduler.step() after every optimizer.step()")
    passes = passes_of(advice)
    if passes.world_size > 1:
        lines.append(
            f"# {passes.world_size} workers (DistributedDataParallel), each with batch_size={passes.micro_batch_size} "
            "in its loader"
        )
    if passes.accumulation > 1:
        lines.append(
            f"loss = loss / {passes.accumulation}  # {passes.accumulation} backward passes of "
            f"{passes.micro_batch_size} samples, then one step"
        )
    if _clip(advice):
        lines += [
            "# after the last loss.backward(), before optimizer.step():",
            f"torch.nn.utils.clip_grad_norm_(model.parameters(), {_literal(_clip(advice))})",
        ]
    return "\n".join(lines)


def _decay(steps: str) -> list[str]:
    return [
        "scheduler = torch.optim.lr_scheduler.LinearLR(",
        f"    optimizer, start_factor=1.0, end_factor=0.0, total_iters={steps}",
        ")",
    ]


def _lightning(advice: Advice, spec: OptimizerSpec, rate: float) -> str:
    lines = _configured_groups(advice, rate) if _group_rates(advice, rate) else _configured(advice, spec, rate)
    passes = passes_of(advice)
    arguments = [f"accumulate_grad_batches={passes.accumulation}"]
    if passes.world_size > 1:
        arguments.append(f"devices={passes.world_size}")
    if _clip(advice):
        arguments.append(f"gradient_clip_val={_literal(_clip(advice))}")
    lines.append(
        f"trainer = lightning.Trainer({', '.join(arguments)})  # batch_size={passes.micro_batch_size} in the loader"
    )
    return "\n".join(lines)


def _configured(advice: Advice, spec: OptimizerSpec, rate: float) -> list[str]:
    optimizer = _constructor(spec, rate, "self.parameters()")
    lines = [f"return {optimizer}"]
    if advice.schedule == "linear":
        lines = [f"optimizer = {optimizer}", *_decay(STEPS), SCHEDULED]
    return ["def configure_optimizers(self):", *(f"    {line}" for line in lines)]


def _configured_groups(advice: Advice, rate: float) -> list[str]:
    lines = _set_rates(_group_rates(advice, rate))
    if advice.schedule == "linear":
        lines += [*_decay(STEPS), f"# {SCHEDULED}"]
    return ["# in configure_optimizers, once your optimizer with its parameter groups is made:", *lines]


def _transformers(advice: Advice, spec: OptimizerSpec, rate: float) -> str:
    passes = passes_of(advice)
    warmup = advice.warmup.value
    schedule = advice.schedule
    if schedule == "constant" and warmup:
        schedule = "constant_with_warmup"
    arguments = [
        'output_dir="out"',
        f"learning_rate={_literal(rate)}",
        f'lr_scheduler_type="{schedule}"',
        f"warmup_steps={int(warmup or 0)}",
        f"per_device_train_batch_size={passes.micro_batch_size}",
        f"gradient_accumulation_steps={passes.accumulation}",
        f"weight_decay={spec.weight_decay!r}",
        f"max_grad_norm={_literal(_clip(advice)) if _clip(advice) else '0.0'}",
    ]
    after = []
    if spec.amsgrad or (spec.kind == "adam" and spec.weight_decay):
        after.append("# no name in TrainingArguments for this one: Trainer(..., optimizers=(optimizer, None))")
    elif spec.kind in ("adam", "adamw"):
        arguments += [
            'optim="adamw_torch"',
            f"adam_beta1={spec.beta!r}",
            f"adam_beta2={spec.beta2!r}",
            f"adam_epsilon={spec.eps!r}",
        ]
    else:
        extra = [part for part in _arguments(spec) if not part.startswith("weight_decay")]
        arguments.append(f'optim="{"rmsprop" if spec.kind == "rmsprop" else "sgd"}"')
        if extra:
            arguments.append(f'optim_args="{",".join(extra)}"')
    if _group_rates(advice, rate):
        after.append("# for your parameter groups: Trainer(..., optimizers=(optimizer, None)), as in the PyTorch lines")
    elif spec.weight_decay:
        after += [
            "# Trainer decays neither biases nor norms; in the measurement everything was decayed. For the",
            "# same: Trainer(..., optimizers=(optimizer, None)) with the optimizer of the PyTorch lines",
        ]
    if passes.world_size > 1:
        after.append(f"# to be run by {passes.world_size} workers: torchrun --nproc_per_node {passes.world_size}")
    lines = ["arguments = transformers.TrainingArguments("]
    line = "   "
    for argument in arguments:
        if len(line) + len(argument) > 90:
            lines.append(line)
            line = "   "
        line += f" {argument},"
    lines += [line, ")", *after]
    return "\n".join(lines)
