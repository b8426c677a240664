"""Lines to paste are executed: they make the optimizer, trainer and arguments that the page promises."""

import json

import pytest

from spectra.recommend import OptimizerSpec, advise
from spectra.report.paste import paste_lines
from tests.cases import optional
from tests.spectra.recommend.fabricated import fabricated_run

torch = pytest.importorskip("torch")

SPECS = [
    OptimizerSpec(kind="sgd"),
    OptimizerSpec(kind="sgd", weight_decay=0.01),
    OptimizerSpec(kind="momentum", momentum=0.95, dampening=0.1),
    OptimizerSpec(kind="nesterov", momentum=0.8),
    OptimizerSpec(kind="adam", beta2=0.95, amsgrad=True),
    OptimizerSpec(kind="adam", weight_decay=0.01),
    OptimizerSpec(kind="adamw", momentum=0.85, eps=1e-6),
    OptimizerSpec(kind="adamw", weight_decay=0.05),
    OptimizerSpec(kind="rmsprop", momentum=0.5, alpha=0.9, centered=True),
]


def advice_for(spec: OptimizerSpec, *, schedule: str = "constant", **attributes: object):
    run = fabricated_run(optimizer=spec.kind, **attributes)
    run.attrs["optimizer"] = spec.to_json()
    return advise(run, schedule=schedule)


def executed(text: str, **names: object) -> dict[str, object]:
    space = {"torch": torch, "num_steps": 100, **names}
    exec(text, space)
    return space


@pytest.mark.parametrize("schedule", ["constant", "linear"])
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.label)
def test_the_torch_lines_make_that_very_optimizer(spec, schedule):
    from probes.optimizers import describe_optimizer

    advice = advice_for(spec, schedule=schedule)
    space = executed(paste_lines(advice)["torch"].text, model=torch.nn.Linear(2, 1))
    optimizer = space["optimizer"]
    assert describe_optimizer(optimizer) == spec
    # three digits are shown
    assert optimizer.param_groups[0]["lr"] == pytest.approx(advice.learning_rate.value, rel=5e-3)
    assert ("scheduler" in space) == (schedule == "linear")


@pytest.mark.parametrize("schedule", ["constant", "linear"])
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.label)
def test_the_lightning_lines_configure_it(spec, schedule):
    from types import SimpleNamespace

    from probes.optimizers import describe_optimizer

    advice = advice_for(
        spec,
        schedule=schedule,
        clip_norm=0.5,
        effective_batch=json.dumps({"micro_batch_size": 4, "accumulation": 4, "world_size": 2}),
    )
    made: dict[str, object] = {}
    lightning = SimpleNamespace(Trainer=lambda **arguments: made.update(arguments))
    space = executed(paste_lines(advice)["lightning"].text, lightning=lightning)
    module = torch.nn.Linear(2, 1)
    module.trainer = SimpleNamespace(estimated_stepping_batches=100)
    found = space["configure_optimizers"](module)
    optimizer = found["optimizer"] if schedule == "linear" else found
    assert describe_optimizer(optimizer) == spec
    assert made == {"accumulate_grad_batches": 4, "devices": 2, "gradient_clip_val": 0.5}


def test_the_lightning_trainer_takes_these_arguments():
    import inspect

    trainer = optional("lightning").Trainer
    assert {"accumulate_grad_batches", "devices", "gradient_clip_val"} <= set(inspect.signature(trainer).parameters)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.label)
def test_transformers_reads_the_arguments_and_makes_the_optimizer(spec, tmp_path, monkeypatch):
    transformers = optional("transformers")
    optional("accelerate")
    from probes.optimizers import describe_optimizer

    advice = advice_for(spec, effective_batch=json.dumps({"micro_batch_size": 8, "accumulation": 4, "world_size": 1}))
    text = paste_lines(advice)["transformers"].text
    monkeypatch.chdir(tmp_path)
    arguments = executed(text, transformers=transformers)["arguments"]
    assert arguments.learning_rate == pytest.approx(advice.learning_rate.value, rel=5e-3)
    assert arguments.lr_scheduler_type == "constant"
    assert (arguments.per_device_train_batch_size, arguments.gradient_accumulation_steps) == (8, 4)
    assert arguments.weight_decay == spec.weight_decay
    # transformers clips to 1 unless told otherwise
    assert arguments.max_grad_norm == 0.0
    if "optimizers=" in text:
        assert spec.amsgrad or (spec.kind == "adam" and spec.weight_decay)
        return
    model = torch.nn.Linear(2, 1, bias=False)
    trainer = transformers.Trainer(model=model, args=arguments)
    made = describe_optimizer(trainer.create_optimizer())
    # Adam without decay is AdamW without decay
    expected = OptimizerSpec(**{**json.loads(spec.to_json()), "kind": "adamw"}) if spec.kind == "adam" else spec
    assert made == expected


def test_parameter_groups_keep_their_ratios():
    advice = advice_for(OptimizerSpec(kind="sgd"), group_ratios="[1.0, 0.5]")
    model = torch.nn.Linear(2, 1)
    text = paste_lines(advice)["torch"].text.replace(
        "model.parameters()", '[{"params": [model.weight]}, {"params": [model.bias]}]'
    )
    rates = [group["lr"] for group in executed(text, model=model)["optimizer"].param_groups]
    assert rates[1] / rates[0] == pytest.approx(0.5, rel=5e-3)


def test_clipping_and_accumulation_are_said():
    batch = json.dumps({"micro_batch_size": 8, "accumulation": 4, "world_size": 1})
    text = paste_lines(advice_for(OptimizerSpec(kind="sgd"), clip_norm=0.5, effective_batch=batch))["torch"].text
    assert "clip_grad_norm_(model.parameters(), 0.5)" in text
    assert "loss / 4" in text


def test_a_batch_of_another_size_comes_in_one_pass():
    batch = json.dumps({"micro_batch_size": 8, "accumulation": 2, "world_size": 1})
    assert "loss /" not in paste_lines(advice_for(OptimizerSpec(kind="sgd"), effective_batch=batch))["torch"].text


def test_nothing_to_paste_where_the_rate_is_withheld():
    assert paste_lines(advice_for(OptimizerSpec(kind="sgd"), residual=0.2)) == {}
