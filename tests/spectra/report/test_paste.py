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
    if "no name in TrainingArguments" in text:
        assert spec.amsgrad or (spec.kind == "adam" and spec.weight_decay)
        return
    model = torch.nn.Linear(2, 1, bias=False)
    trainer = transformers.Trainer(model=model, args=arguments)
    made = describe_optimizer(trainer.create_optimizer())
    # Adam without decay is AdamW without decay
    expected = OptimizerSpec(**{**json.loads(spec.to_json()), "kind": "adamw"}) if spec.kind == "adam" else spec
    assert made == expected


@pytest.mark.parametrize("library", ["torch", "lightning"])
@pytest.mark.parametrize("schedule", ["constant", "linear"])
@pytest.mark.parametrize("ratios", [[1.0, 0.5], [1.0, 1.0]])
def test_an_optimizer_with_groups_is_kept_and_gets_its_rates(library, schedule, ratios):
    from types import SimpleNamespace

    spec = OptimizerSpec(kind="adamw", weight_decay=0.1)
    advice = advice_for(spec, schedule=schedule, group_ratios=json.dumps(ratios))
    model = torch.nn.Linear(2, 1)
    own = torch.optim.AdamW([{"params": [model.weight]}, {"params": [model.bias], "weight_decay": 0.0}], lr=7.0)
    own.param_groups[1]["initial_lr"] = 7.0  # of an earlier schedule
    names = {
        "self": SimpleNamespace(trainer=SimpleNamespace(estimated_stepping_batches=100)),
        "lightning": SimpleNamespace(Trainer=lambda **arguments: None),
    }
    text = paste_lines(advice)[library].text
    executed(text, model=model, optimizer=own, **names)
    value = advice.learning_rate.value
    assert [group["lr"] for group in own.param_groups] == pytest.approx([value * ratio for ratio in ratios], rel=5e-3)
    assert [group["weight_decay"] for group in own.param_groups] == [0.01, 0.0]
    assert "weight_decay" not in text


def test_no_worker_is_lost():
    batch = json.dumps({"micro_batch_size": 4, "accumulation": 4, "world_size": 2})
    lines = paste_lines(advice_for(OptimizerSpec(kind="adamw", weight_decay=0.1), effective_batch=batch))
    assert "2 workers (DistributedDataParallel), each with batch_size=4" in lines["torch"].text
    assert "torchrun --nproc_per_node 2" in lines["transformers"].text
    # transformers leaves biases and norms undecayed, torch does not
    assert "neither biases nor norms" in lines["transformers"].text


def test_the_loop_comes_in_its_order():
    batch = json.dumps({"micro_batch_size": 8, "accumulation": 4, "world_size": 1})
    spec = OptimizerSpec(kind="sgd")
    text = paste_lines(advice_for(spec, schedule="linear", clip_norm=0.5, effective_batch=batch))["torch"].text
    assert text.index("loss / 4") < text.index("clip_grad_norm_")
    assert "scheduler.step() after every optimizer.step()" in text


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
