"""Small networks of every kind that matters, and dense references for their curvature."""

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

SIZES = (7, 5, 2)


def seeded(build, seed: int = 0):
    """Build a module without touching the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return seeded normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def labels(*shape: int, num_classes: int = 4, seed: int = 1) -> Tensor:
    """Return seeded class indices."""
    return torch.randint(num_classes, shape, generator=torch.Generator().manual_seed(seed))


def cut(inputs, target, sizes=SIZES):
    """Cut data into batches of unequal sizes."""
    return list(zip(inputs.split(list(sizes)), target.split(list(sizes)), strict=True))


def mlp(activation=nn.ReLU, out: int = 4) -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Linear(6, 8), activation(), nn.Linear(8, out))).double()


def cnn() -> nn.Module:
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.GroupNorm(1, 3),
            nn.Flatten(),
            nn.Linear(12, 4),
        )
    ).double()


class Transformer(nn.Module):
    """One causal layer with affine LayerNorm, fused attention, and, on request, tied embeddings."""

    def __init__(self, *, tied: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(4, 6)
        self.norm = nn.LayerNorm(6)
        self.attention = nn.Linear(6, 18)
        self.network = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 6))
        self.head = nn.Linear(6, 4, bias=False)
        if tied:
            self.head.weight = self.embedding.weight
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)

    def forward(self, codes: Tensor) -> Tensor:
        hidden = self.embedding(codes)
        parts = self.attention(self.norm(hidden)).unflatten(-1, (3, 2, 3)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*parts, is_causal=True)
        hidden = hidden + mixed.transpose(1, 2).flatten(2)
        return self.head(hidden + self.network(hidden)).transpose(1, 2)


def transformer(*, tied: bool = False) -> nn.Module:
    return seeded(lambda: Transformer(tied=tied)).double()


def _functions(model, loss, output):
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    fixed = {name: p.detach() for name, p in model.named_parameters() if not p.requires_grad}
    start = torch.cat([p.detach().reshape(-1) for p in named.values()])

    def outputs(vector, inputs):
        pieces = vector.split([p.numel() for p in named.values()])
        values = {name: piece.reshape(p.shape) for (name, p), piece in zip(named.items(), pieces, strict=True)}
        arguments = inputs if isinstance(inputs, tuple) else (inputs,)
        result = functional_call(model, {**values, **fixed}, arguments)
        return output(result) if output else result

    return start, outputs


def dense_hessian(model, loss, inputs, target, *, output=None) -> Tensor:
    """Return the Hessian by reverse over reverse, the mode PyTorch gets right for every layer used here."""
    start, outputs = _functions(model, loss, output)
    with sdpa_kernel(SDPBackend.MATH):
        return jacrev(grad(lambda vector: loss(outputs(vector, inputs), target)))(start)


def dense_gauss_newton(model, loss, inputs, target, *, output=None) -> Tensor:
    """Return J' S J from the whole Jacobian and the whole output Hessian."""
    start, outputs = _functions(model, loss, output)
    with sdpa_kernel(SDPBackend.MATH):
        z = outputs(start, inputs)
        jacobian = jacrev(lambda vector: outputs(vector, inputs))(start).reshape(z.numel(), -1)
    curvature = jacrev(grad(lambda flat: loss(flat.reshape(z.shape), target)))(z.detach().reshape(-1))
    return jacobian.T @ curvature @ jacobian


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float(torch.linalg.norm(found - expected) / torch.linalg.norm(expected))
