"""Which parameters are measured, and the flat vector they form."""

import pytest
import torch
from torch import nn

from probes.parameters import by_module, flatten, is_adapter, positions, select, unflatten
from spectra.errors import BackendError, ShapeError, TaskError
from tests.probes.networks import mlp, normal, seeded, transformer


def test_order_and_ties():
    model = transformer(tied=True)
    names = list(select(model))
    assert names == [name for name, _ in model.named_parameters()]
    assert "embedding.weight" in names
    assert "head.weight" not in names


def test_frozen_parameters_are_left_out():
    model = mlp()
    model[0].requires_grad_(False)
    assert list(select(model)) == ["2.weight", "2.bias"]
    with pytest.raises(TaskError, match="only frozen"):
        select(model, "0.*")
    model.requires_grad_(False)
    with pytest.raises(TaskError, match="no trainable parameter: all 4"):
        select(model)


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("0", ["0.weight", "0.bias"]),
        ("*.bias", ["0.bias", "2.bias"]),
        (["2.bias", "0.weight"], ["0.weight", "2.bias"]),
        (lambda name, p: p.ndim == 2, ["0.weight", "2.weight"]),
        ("!*.bias", ["0.weight", "2.weight"]),
        (["!0.bias", "0"], ["0.weight"]),
        (["*.bias", "0", "!2"], ["0.weight", "0.bias"]),
    ],
)
def test_specifications(spec, names):
    assert list(select(mlp(), spec)) == names


def test_the_second_name_of_a_tied_parameter_selects_it():
    assert list(select(transformer(tied=True), "head.weight")) == ["embedding.weight"]


def test_excluding_one_name_of_a_tied_parameter_excludes_it():
    assert "embedding.weight" not in select(transformer(tied=True), "!head")
    assert "embedding.weight" in select(transformer(tied=False), "!head")


def test_frozen_parameters_may_be_excluded():
    model = mlp()
    model[0].requires_grad_(False)
    assert list(select(model, "!0")) == ["2.weight", "2.bias"]


def test_wrong_specifications():
    with pytest.raises(TaskError, match=r"no parameter of Sequential matches '0.wieght'. Did you mean 0.weight"):
        select(mlp(), "0.wieght")
    with pytest.raises(TaskError, match="kept none of the 4"):
        select(mlp(), lambda name, p: False)
    with pytest.raises(TaskError, match="empty list"):
        select(mlp(), [])
    with pytest.raises(TaskError, match="entry of type int"):
        select(mlp(), [3])
    with pytest.raises(TaskError, match="got int"):
        select(mlp(), 3)
    with pytest.raises(TaskError, match="excludes every"):
        select(mlp(), ["0", "!*"])
    with pytest.raises(TaskError, match=r"matches '0\.wieght'"):
        select(mlp(), ["0", "!0.wieght"])


def test_unsuitable_kinds():
    with pytest.raises(BackendError, match="bfloat16"):
        select(mlp().bfloat16())
    model = mlp()
    model[0].float()
    with pytest.raises(BackendError, match="one dtype and device"):
        select(model)
    with pytest.raises(TaskError, match="lazy"):
        select(nn.LazyLinear(3))


def test_half_precision_only_when_allowed():
    model = mlp().float()
    model[0].bfloat16()
    with pytest.raises(BackendError, match="half precision"):
        select(model)
    assert list(select(model, allow_half=True)) == [name for name, _ in model.named_parameters()]
    model[2].double()
    with pytest.raises(BackendError, match="one dtype and device"):
        select(model, allow_half=True)
    quantized = nn.Linear(2, 1).to(torch.float8_e4m3fn)
    with pytest.raises(BackendError, match="float8"):
        select(quantized, allow_half=True)


class LowRank(nn.Module):
    """A linear layer with what the library PEFT adds to it, under the same names."""

    def __init__(self) -> None:
        super().__init__()
        self.base_layer = nn.Linear(6, 4)
        self.lora_A = nn.ModuleDict({"default": nn.Linear(6, 2, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(2, 4, bias=False)})
        self.lora_embedding_A = nn.ParameterDict({"default": torch.zeros(2, 3)})
        self.lora_magnitude_vector = nn.ParameterDict({"default": torch.ones(4)})
        self.lora_dropout = nn.ModuleDict({"default": nn.Dropout(0.1)})


def test_adapters_only():
    model = seeded(lambda: nn.ModuleDict({"query": LowRank(), "glorias_lora_Alike": nn.Linear(2, 2)}))
    assert list(select(model, is_adapter)) == [
        "query.lora_A.default.weight",
        "query.lora_B.default.weight",
        "query.lora_embedding_A.default",
        "query.lora_magnitude_vector.default",
    ]
    with pytest.raises(TaskError, match="kept none"):
        select(mlp(), is_adapter)


@pytest.mark.parametrize(
    "name",
    [
        "base_model.model.k_proj.ia3_l.default",
        "layers.0.attn.q_proj.lora_a.weight",
        "q.vera_lambda_b.default",
        "q.lora_E.default",
        "q.lokr_w2_a.default",
        "layer.0.output.adapters.name.adapter_down.0.weight",
    ],
)
def test_names_of_adapters(name):
    assert is_adapter(name)


@pytest.mark.parametrize("name", ["lora_alpha", "head.weight", "q.base_layer.weight", "modules_to_save.default.weight"])
def test_names_of_other_parameters(name):
    assert not is_adapter(name)


def test_groups_by_module():
    model = transformer()
    groups = by_module(select(model))
    assert [name for names in groups.values() for name in names] == list(select(model))
    assert groups["network.1"] == ["network.1.weight", "network.1.bias"]
    for path, names in groups.items():
        own = [name for name, _ in model.get_submodule(path).named_parameters(recurse=False)]
        assert [f"{path}.{name}" for name in own] == names


def test_positions_cut_the_flat_vector_of_a_subset():
    model = mlp()
    everything, subset = select(model), select(model, ["2.bias", "0"])
    vector = normal(92)
    tensors = dict(zip(everything, unflatten(vector, everything.values()), strict=True))
    places = positions(everything, subset)
    assert list(places) == list(subset)
    assert torch.equal(torch.cat([vector[s] for s in places.values()]), flatten([tensors[name] for name in subset]))
    assert torch.equal(torch.cat([vector[s] for s in positions(everything).values()]), vector)
    assert list(positions(everything, ["2.bias", "0.bias"])) == ["2.bias", "0.bias"]
    with pytest.raises(TaskError, match=r"'0\.wieght' is not among the 4 .* Did you mean 0\.weight"):
        positions(everything, ["0.wieght"])


def test_flatten_and_unflatten_are_inverse():
    parameters = list(mlp().parameters())
    vector = normal(92)
    assert torch.equal(flatten(unflatten(vector, parameters)), vector)
    columns = normal(92, 3)
    pieces = unflatten(columns, parameters)
    assert [p.shape for p in pieces] == [(*p.shape, 3) for p in parameters]
    for j in range(3):
        assert torch.equal(flatten([p[..., j] for p in pieces]), columns[:, j])
    with pytest.raises(ShapeError, match=r"\(92,\).*got \(91,\)"):
        unflatten(vector[1:], parameters)
