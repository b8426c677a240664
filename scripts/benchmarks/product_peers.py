"""Curvature products of other libraries behind one interface, for `products`. Run on its own it lists what imports.

None of the libraries is a dependency: each is imported when its products are asked for, and left out where that fails.
Install them into an environment of their own with ``python -m pip install --no-deps``, for PyHessian would replace
PyTorch, and run the benchmarks there with the repository on ``PYTHONPATH``.

Every library gets its own copy of the model, because some leave gradients and graphs behind. All run under the math
kernel of the attention, without which none of them can differentiate it twice. A model whose inputs are no single
tensor is wrapped so that its input is one, which names a stored batch (`single_input`).
"""

import contextlib
import copy
import importlib
import importlib.metadata
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from probes import Task
from probes.objective import forward

Matrix = Literal["hessian", "gauss_newton"]

#: Import names and distributions, in the order of the table.
LIBRARIES = {
    "pyhessian": "PyHessian",
    "hessian_eigenthings": "hessian-eigenthings",
    "curvlinops": "curvlinops-for-pytorch",
    "backpack": "backpack-for-pytorch",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Product:
    """A way to multiply: ``run()`` multiplies ``columns`` vectors, ``flat`` reads what it returns as (n, columns)."""

    library: str
    name: str
    matrix: Matrix
    columns: int
    run: Callable[[], Any]
    flat: Callable[[Any], Tensor]

    @property
    def label(self) -> str:
        """Library, matrix and way."""
        return f"{self.library}: {self.matrix}, {self.name}"


@contextlib.contextmanager
def math_attention() -> Iterator[None]:
    """Differentiable attention, as a user of another library has to choose it."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def single_input(task: Task) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    """Return a copy of the model that takes one tensor, and the batches as pairs of tensors."""
    model = copy.deepcopy(task.model)
    batches = list(task.batches)
    if task.output is None and all(isinstance(batch.inputs, Tensor) for batch in batches):
        return model, [(batch.inputs, batch.target) for batch in batches]
    return _Stored(model, batches, task.output), [
        (torch.tensor([[j]]).expand(batch.size, 1), batch.target) for j, batch in enumerate(batches)
    ]


class _Stored(nn.Module):
    """A model whose input names the batch that it stores."""

    def __init__(self, model: nn.Module, batches: list[Any], output: Callable[[Any], Tensor] | None) -> None:
        super().__init__()
        self.model, self._batches, self._output = model, batches, output

    def forward(self, index: Tensor) -> Tensor:
        """Return the output of the stored batch."""
        return forward(self.model, self._batches[int(index[0, 0])], self._output)


def trainable(model: nn.Module) -> list[Tensor]:
    """Return the parameters that have a gradient."""
    return [p for p in model.parameters() if p.requires_grad]


def split(vector: Tensor, parameters: list[Tensor]) -> list[Tensor]:
    """Cut a flat vector to the shapes of the parameters."""
    pieces = vector.split([p.numel() for p in parameters])
    return [piece.reshape(p.shape).contiguous() for piece, p in zip(pieces, parameters, strict=True)]


def joined(pieces: Any) -> Tensor:
    """Return (n, 1) from pieces of the shapes of the parameters."""
    return torch.cat([piece.detach().reshape(-1) for piece in pieces])[:, None]


def peer_products(task: Task, block: Tensor) -> tuple[list[Product], dict[str, str]]:
    """Return the products of all libraries with the first vector or with the block, and why others are missing.

    Parameters
    ----------
    task : Task
        Model, loss and data; is not changed.
    block : torch.Tensor, shape (n, k)
        Vectors.
    """
    products: list[Product] = []
    missing = {}
    for library, distribution in LIBRARIES.items():
        try:
            importlib.import_module(library)
        except Exception as error:
            missing[distribution] = f"{type(error).__name__}: {error}"
            continue
        for name, prepare in _HOMES[library].items():
            try:
                with math_attention():
                    products += prepare(task, block)
            except Exception as error:  # a peer that cannot be built is a result
                missing[f"{distribution}, {name}"] = f"{type(error).__name__}: {error}"[:300]
    return products, missing


def _pyhessian_loader(task: Task, block: Tensor) -> list[Product]:
    from pyhessian import hessian

    model, data = single_input(task)
    peer = hessian(model, task.loss, dataloader=data, cuda=False)
    vector = split(block[:, 0], peer.params)
    return [_one("PyHessian", "loader", "hessian", lambda: peer.dataloader_hv_product(vector)[1])]


def _pyhessian_kept(task: Task, block: Tensor) -> list[Product]:
    from pyhessian import hessian
    from pyhessian.utils import hessian_vector_product

    model, data = single_input(task)
    if len(data) > 1:
        raise ValueError("only for one batch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # backward() with create_graph makes a reference cycle
        peer = hessian(model, task.loss, data=data[0], cuda=False)
    vector = split(block[:, 0], peer.params)
    run = lambda: hessian_vector_product(peer.gradsH, peer.params, vector)  # noqa: E731
    return [_one("PyHessian", "kept graph", "hessian", run)]


def _eigenthings_hessian(task: Task, block: Tensor) -> list[Product]:
    from hessian_eigenthings import HessianOperator, supervised_loss

    model, data = single_input(task)
    peer = HessianOperator(model, data, supervised_loss(task.loss))
    vector = block[:, 0].contiguous()
    return [_one("hessian-eigenthings", "one vector", "hessian", lambda: [peer.matvec(vector)])]


def _eigenthings_gauss_newton(task: Task, block: Tensor) -> list[Product]:
    from hessian_eigenthings import GGNOperator, supervised_forward, supervised_loss_of_output

    model, data = single_input(task)
    peer = GGNOperator(model, data, supervised_forward, supervised_loss_of_output(task.loss))
    vector = block[:, 0].contiguous()
    return [_one("hessian-eigenthings", "one vector", "gauss_newton", lambda: [peer.matvec(vector)])]


def _curvlinops(kind: str, matrix: Matrix) -> Callable[[Task, Tensor], list[Product]]:
    def prepare(task: Task, block: Tensor) -> list[Product]:
        import curvlinops

        model, data = single_input(task)
        # The check of determinism is left out, for it costs time once and changes no product.
        peer = getattr(curvlinops, kind)(model, task.loss, trainable(model), data, check_deterministic=False)
        vector = block[:, 0].contiguous()
        return [
            _one("curvlinops", "one vector", matrix, lambda: [peer @ vector]),
            Product(
                library="curvlinops",
                name=f"block of {block.shape[1]}",
                matrix=matrix,
                columns=block.shape[1],
                run=lambda: peer @ block,
                flat=lambda result: result,
            ),
        ]

    return prepare


def _backpack_hessian(task: Task, block: Tensor) -> list[Product]:
    from backpack.hessianfree.hvp import hessian_vector_product

    model, data = single_input(task)
    parameters = trainable(model)
    vector = split(block[:, 0], parameters)

    def run() -> list[Tensor]:
        return _mean([hessian_vector_product(task.loss(model(x), y), parameters, vector) for x, y in data])

    return [_one("BackPACK", "one vector", "hessian", run)]


def _backpack_gauss_newton(task: Task, block: Tensor) -> list[Product]:
    from backpack.hessianfree.ggnvp import ggn_vector_product

    model, data = single_input(task)
    vector = split(block[:, 0], trainable(model))

    def product(x: Tensor, y: Tensor) -> Any:
        output = model(x)
        return ggn_vector_product(task.loss(output, y), output, model, vector)

    return [_one("BackPACK", "one vector", "gauss_newton", lambda: _mean([product(x, y) for x, y in data]))]


def _mean(products: list[Any]) -> list[Tensor]:
    """Average the products of batches of equal size, which BackPACK leaves to its user."""
    if len(products) == 1:
        return list(products[0])
    return [sum(pieces) / len(pieces) for pieces in zip(*products, strict=True)]


def _one(library: str, name: str, matrix: Matrix, run: Callable[[], Any]) -> Product:
    return Product(library=library, name=name, matrix=matrix, columns=1, run=run, flat=joined)


_HOMES: dict[str, dict[str, Callable[[Task, Tensor], list[Product]]]] = {
    "pyhessian": {"loader": _pyhessian_loader, "kept graph": _pyhessian_kept},
    "hessian_eigenthings": {"hessian": _eigenthings_hessian, "gauss_newton": _eigenthings_gauss_newton},
    "curvlinops": {
        "hessian": _curvlinops("HessianLinearOperator", "hessian"),
        "gauss_newton": _curvlinops("GGNLinearOperator", "gauss_newton"),
    },
    "backpack": {"hessian": _backpack_hessian, "gauss_newton": _backpack_gauss_newton},
}


def versions() -> dict[str, str]:
    """Return the versions of the libraries that are installed."""
    found = {}
    for distribution in LIBRARIES.values():
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[distribution] = importlib.metadata.version(distribution)
    return found


def main() -> None:
    """Print which libraries import and which products they have of a small network."""
    task = Task(nn.Linear(2, 3), nn.CrossEntropyLoss(), [(torch.ones(4, 2), torch.zeros(4, dtype=torch.int64))])
    products, missing = peer_products(task, torch.eye(9)[:, :2])
    found = {"versions": versions(), "products": [product.label for product in products], "missing": missing}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
