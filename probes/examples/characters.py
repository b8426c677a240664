"""A character-level transformer on the text of Python's own help pages, which every installation has."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from probes.task import Task

__all__ = ["CharacterTransformer", "char_transformer"]

#: One index per printable ASCII character; index 0 is everything else and the line break.
_VOCABULARY = {chr(code): code - 31 for code in range(32, 127)}
_NUM_CLASSES = 96


def char_transformer(*, seed: int = 0, num_sequences: int = 1200, length: int = 64, batch_size: int = 64) -> Task:
    """Return a two-layer causal transformer (68k parameters) at its initialization, predicting the next character.

    Outputs have the layout (samples, characters, positions) that ``nn.CrossEntropyLoss`` expects.

    Parameters
    ----------
    seed : int
        Of the parameters and of the order of the sequences.
    num_sequences, length : int
        Amount of text: sequences of so many characters, without overlap.
    batch_size : int
        Of the batches in which the data come; the last one may be smaller. It does not change any result.
    """
    codes = _text(num_sequences * length + 1)
    inputs, target = codes[:-1].reshape(-1, length), codes[1:].reshape(-1, length)
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CharacterTransformer(length=length)
    return Task(
        model,
        nn.CrossEntropyLoss(),
        list(zip(inputs[order].split(batch_size), target[order].split(batch_size), strict=True)),
        name="char_transformer",
        description=f"two-layer causal transformer at initialization, {num_sequences} sequences of {length} characters",
    )


class CharacterTransformer(nn.Module):
    """Causal transformer with pre-normalization, learned positions and GELU.

    Parameters
    ----------
    width, num_heads, num_layers : int
        Size of the network.
    length : int
        Longest sequence.
    num_classes : int
        Characters.
    """

    def __init__(
        self,
        *,
        width: int = 48,
        num_heads: int = 4,
        num_layers: int = 2,
        length: int = 64,
        num_classes: int = _NUM_CLASSES,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_classes, width)
        self.position = nn.Parameter(0.02 * torch.randn(length, width))
        self.layers = nn.Sequential(*(_Layer(width, num_heads) for _ in range(num_layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)
        nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(self, codes: Tensor) -> Tensor:
        """Map characters (N, T) to logits (N, V, T)."""
        hidden = self.embedding(codes) + self.position[: codes.shape[1]]
        return self.head(self.norm(self.layers(hidden))).transpose(1, 2)


class _Layer(nn.Module):
    """Attention and a two-layer network, each added to its input."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.first_norm = nn.LayerNorm(width)
        self.projections = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.second_norm = nn.LayerNorm(width)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (N, T, width) to (N, T, width)."""
        heads = self.projections(self.first_norm(hidden)).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = hidden + self.merge(attended.transpose(1, 2).flatten(2))
        return hidden + self.network(self.second_norm(hidden))


def _text(num_characters: int) -> Tensor:
    """Return the codes of the first characters of Python's help topics, repeated if they do not suffice."""
    from pydoc_data.topics import topics

    text = "\n".join(topics[key] for key in sorted(topics))
    codes = torch.tensor([_VOCABULARY.get(character, 0) for character in text], dtype=torch.int64)
    return codes.repeat(-(-num_characters // len(codes)))[:num_characters]
