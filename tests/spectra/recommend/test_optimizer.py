"""Descriptions of optimizers: torch's defaults, ranges, old files, and reasons where there is no limit."""

import json

import pytest

from spectra.errors import ArgumentError, SchemaError
from spectra.recommend.optimizer import OptimizerSpec
from spectra.recommend.unsupported import UNSUPPORTED_OPTIMIZERS, recognized_kind

SUPPORTED = ("sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop")


@pytest.mark.parametrize(
    ("kind", "defaults"),
    [
        ("sgd", {"momentum": 0.0, "weight_decay": 0.0, "dampening": 0.0}),
        ("rmsprop", {"momentum": 0.0, "alpha": 0.99, "eps": 1e-8, "centered": False}),
        ("adam", {"momentum": 0.9, "beta2": 0.999, "eps": 1e-8, "amsgrad": False}),
    ],
)
def test_defaults_are_those_of_torch(kind, defaults):
    torch = pytest.importorskip("torch")
    weight = torch.nn.Parameter(torch.zeros(1))
    theirs = {"sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop, "adam": torch.optim.Adam}[kind]([weight]).defaults
    theirs = {**theirs, **dict(zip(("momentum", "beta2"), theirs.get("betas", ()), strict=False))}
    spec = OptimizerSpec(kind=kind)
    assert {name: getattr(spec, name) for name in defaults} == defaults == {name: theirs[name] for name in defaults}


@pytest.mark.parametrize(
    "spec",
    [
        OptimizerSpec(kind="momentum", momentum=0.95, weight_decay=1e-4, dampening=0.2),
        OptimizerSpec(kind="nesterov", momentum=0.8),
        OptimizerSpec(kind="adamw", amsgrad=True, weight_decay=0.1),
        OptimizerSpec(kind="rmsprop", alpha=0.9, momentum=0.5, centered=True),
        OptimizerSpec(kind="muon"),
    ],
    ids=lambda spec: spec.kind,
)
def test_json_round_trip(spec):
    assert OptimizerSpec.from_json(spec.to_json()) == spec


def test_files_of_the_first_release_are_read_and_written_alike():
    old = '{"kind": "adamw", "momentum": 0.9, "beta2": 0.999, "eps": 1e-08, "weight_decay": 0.01}'
    spec = OptimizerSpec.from_json(old)
    assert spec == OptimizerSpec(kind="adamw", weight_decay=0.01)
    assert json.loads(spec.to_json()) == json.loads(old)


@pytest.mark.parametrize("text", ['{"kind": "adamw", "warp": 9}', '{"kind": "unheard_of"}', "{", "[]", "{}"])
def test_descriptions_that_cannot_be_read_are_named_as_such(text):
    with pytest.raises(SchemaError, match="newer release"):
        OptimizerSpec.from_json(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "unheard_of"}, "sgd, momentum, nesterov, adam, adamw, rmsprop; got 'unheard_of'.*muon"),
        ({"kind": "sgd", "momentum": 0.9}, "say optimizer 'momentum'"),
        ({"kind": "nesterov", "momentum": 0.0}, "positive momentum"),
        ({"kind": "momentum", "momentum": 1.0}, r"momentum must lie in \[0, 1\)"),
        ({"kind": "momentum", "momentum": float("nan")}, r"momentum must lie in \[0, 1\)"),
        ({"kind": "adam", "beta2": 1.0}, "beta2"),
        ({"kind": "rmsprop", "alpha": 1.5}, "alpha"),
        ({"kind": "momentum", "dampening": 1.0}, "dampening"),
        ({"kind": "nesterov", "dampening": 0.1}, "dampening belongs to momentum"),
        ({"kind": "sgd", "amsgrad": True}, "amsgrad belongs to adam and adamw"),
        ({"kind": "adam", "centered": True}, "centered belongs to rmsprop"),
        ({"kind": "adam", "eps": -1.0}, "eps"),
        ({"kind": "sgd", "weight_decay": float("inf")}, "weight_decay"),
    ],
)
def test_nonsense_is_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        OptimizerSpec(**arguments)


@pytest.mark.parametrize("kind", SUPPORTED)
def test_supported_kinds_have_no_reason_against_them(kind):
    assert OptimizerSpec(kind=kind).why_unsupported is None


@pytest.mark.parametrize("kind", UNSUPPORTED_OPTIMIZERS)
def test_recognized_kinds_say_in_one_sentence_why_there_is_no_limit(kind):
    spec = OptimizerSpec(kind=kind)
    reason = spec.why_unsupported
    assert reason is not None
    assert len(reason.split()) > 8
    assert not reason.endswith(".")
    assert spec.label == kind
    assert not spec.is_adaptive


def test_every_optimizer_of_torch_is_either_described_or_recognized():
    torch = pytest.importorskip("torch")
    described = {"SGD", "Adam", "AdamW", "RMSprop"}
    classes = {
        name
        for name in torch.optim.__all__
        if isinstance(getattr(torch.optim, name), type) and name not in ("Optimizer",)
    }
    assert {name for name in classes - described if recognized_kind(name) is None} == set()
    assert {name for name in described if recognized_kind(name) is not None} == set()


def test_weight_decay_is_either_coupled_or_decoupled():
    for kind in SUPPORTED:
        spec = OptimizerSpec(kind=kind, weight_decay=0.3)
        assert (spec.coupled_weight_decay, spec.decoupled_weight_decay) == ((0, 0.3) if kind == "adamw" else (0.3, 0))


def test_labels_name_what_differs_from_the_defaults():
    assert OptimizerSpec(kind="nesterov").label == "SGD with Nesterov momentum 0.9"
    assert OptimizerSpec(kind="momentum", dampening=0.1).label == "SGD with momentum 0.9 and dampening 0.1"
    assert OptimizerSpec(kind="rmsprop", momentum=0.5, centered=True).label == (
        "RMSprop (alpha 0.99, centered, momentum 0.5)"
    )
    assert OptimizerSpec(kind="adamw", amsgrad=True, weight_decay=0.1).label == (
        "AdamW (beta1 0.9, beta2 0.999, amsgrad), weight decay 0.1"
    )
