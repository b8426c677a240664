"""The whole answer about a Hessian by other libraries, for `whole_answer`. Nothing to run.

PyHessian runs as it comes. For hessian-eigenthings and curvlinops the calls and their settings are found beforehand by
`whole_answer_accuracy`.
"""

import contextlib
import io
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import torch
from product_peers import math_attention, single_input, trainable
from whole_answer_accuracy import STEPS, Answer, Calls, KrylovRuns, from_nodes

#: Of the eigenvalues by ARPACK, in ascending order of products.
TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


def pyhessian(task: Any) -> Callable[[int], Answer]:
    """Return PyHessian's three calls at their defaults, over the loader."""
    from pyhessian import hessian

    model, data = single_input(task)

    def run(seed: int) -> Answer:
        torch.manual_seed(seed)
        peer, spent = hessian(model, task.loss, dataloader=data, cuda=False), [0]
        multiply = peer.dataloader_hv_product

        def counted(v: Any) -> Any:
            spent[0] += 1
            return multiply(v)

        peer.dataloader_hv_product = counted
        marks = [0]
        with math_attention(), _symmetric_eig(), contextlib.redirect_stdout(io.StringIO()):
            top, _ = peer.eigenvalues(top_n=5)
            marks.append(spent[0])
            samples = peer.trace()
            marks.append(spent[0])
            nodes, weights = peer.density()
            marks.append(spent[0])
        parts = dict(zip(("eigenvalues", "trace", "density"), np.diff(marks).tolist(), strict=True))
        found = Answer(top, float(np.min(nodes)), float(np.mean(samples)), np.ravel(nodes), np.ravel(weights))
        found.products, found.notes = marks[-1] - marks[0], parts
        return found

    return run


@contextlib.contextmanager
def _symmetric_eig() -> Iterator[None]:
    """Give PyHessian back the function that PyTorch has removed; its argument is symmetric."""

    def eig(matrix: Any, eigenvectors: bool = True) -> Any:
        values, vectors = torch.linalg.eig(matrix)
        return torch.stack([values.real, values.imag], dim=1), vectors.real

    with mock.patch.object(torch, "eig", eig, create=True):
        yield


def eigenthings(task: Any, exact: Any, runs: KrylovRuns) -> tuple[Calls, Any]:
    """Return the calls of hessian-eigenthings, and a function that builds its operator."""
    import hessian_eigenthings as peer

    def end(which: str, k: int) -> Callable[..., Answer]:
        def call(operator: Any, seed: int, *, num: int) -> Answer:
            values = peer.lanczos(operator, k=k, max_iter=num, which=which, seed=seed).eigenvalues.numpy()
            return Answer(top=values, products=num) if k > 1 else Answer(smallest=float(values[0]), products=num)

        return call

    def trace(method: str) -> Callable[..., Answer]:
        def call(operator: Any, seed: int, *, num: int) -> Answer:
            found = peer.trace(operator, num_matvecs=num, method=method, seed=seed)
            return Answer(trace=found.estimate, products=num)

        return call

    def nodes(operator: Any, seed: int, *, num_probes: int, num_steps: int) -> Answer:
        found = peer.spectral_density(
            operator, num_runs=num_probes, lanczos_steps=num_steps, num_grid_points=2, seed=1000 * seed
        )
        values, weights = found.raw_eigenvalues.double().numpy(), found.raw_weights.double().numpy()
        return from_nodes(values, weights, n=operator.size, products=num_probes * num_steps)

    calls = Calls(
        top=end("LA", 5),
        smallest=end("SA", 1),
        nodes=nodes,
        traces={method: trace(method) for method in ("hutch++", "hutchinson")},
        exact=peer.LambdaOperator(lambda v: exact @ v, size=exact.shape[0]),
        tune_top=runs.end,
        tune_smallest=runs.end,
        ends=[{"num": num} for num in STEPS],
    )

    model, data = single_input(task)

    def build() -> Any:
        return peer.HessianOperator(model, data, peer.supervised_loss(task.loss))

    return calls, build


class _Exact:
    """Our products with what curvlinops asks of an operator."""

    def __init__(self, operator: Any) -> None:
        self.operator, self.shape = operator, operator.shape
        self.dtype, self.device = operator.dtype, operator.device

    def __matmul__(self, block: Any) -> Any:
        return self.operator @ block

    def to_scipy(self) -> Any:
        from scipy.sparse.linalg import LinearOperator

        def multiply(block: Any) -> Any:
            return (self.operator @ torch.from_numpy(np.ascontiguousarray(block))).numpy()

        return LinearOperator(self.shape, matvec=multiply, matmat=multiply, rmatvec=multiply, dtype=np.float32)


def curvlinops(task: Any, exact: Any, runs: KrylovRuns) -> tuple[Calls, Any]:
    """Return the calls of curvlinops, and a function that builds its operator."""
    import curvlinops as peer
    from curvlinops.papyan2020traces.spectrum import fast_lanczos
    from scipy.sparse.linalg import LinearOperator, eigsh

    def end(which: str, k: int) -> Callable[..., Answer]:
        def call(operator: Any, seed: int, *, tol: float) -> Answer:
            inner, count = operator.to_scipy(), [0]

            def multiply(v: Any) -> Any:
                count[0] += 1
                return inner.matvec(v)

            counted = LinearOperator(inner.shape, matvec=multiply, dtype=np.float32)
            start = np.random.default_rng(seed).standard_normal(inner.shape[0]).astype(np.float32)
            values = eigsh(counted, k=k, which=which, tol=tol, v0=start, return_eigenvectors=False)
            if k > 1:
                return Answer(top=values, products=count[0])
            return Answer(smallest=float(values[0]), products=count[0])

        return call

    def trace(name: str) -> Callable[..., Answer]:
        def call(operator: Any, seed: int, *, num: int) -> Answer:
            torch.manual_seed(seed)
            return Answer(trace=float(getattr(peer, name)(operator, num)), products=num)

        return call

    def nodes(operator: Any, seed: int, *, num_probes: int, num_steps: int) -> Answer:
        torch.manual_seed(seed)
        runs = [fast_lanczos(operator, num_steps) for _ in range(num_probes)]
        values = np.stack([values.double().numpy() for values, _ in runs])
        weights = np.stack([vectors[0].double().numpy() ** 2 for _, vectors in runs])
        return from_nodes(values, weights, n=operator.shape[0], products=num_probes * num_steps)

    top, smallest, products = end("LA", 5), end("SA", 1), _Exact(exact)
    calls = Calls(
        top=top,
        smallest=smallest,
        nodes=nodes,
        traces={name: trace(name) for name in ("xtrace", "hutchpp_trace", "hutchinson_trace")},
        exact=products,
        tune_top=lambda seed, **setting: top(products, seed, **setting),
        tune_smallest=lambda seed, **setting: smallest(products, seed, **setting),
        ends=[{"tol": tol} for tol in TOLERANCES],
    )

    model, data = single_input(task)

    def build() -> Any:
        return peer.HessianLinearOperator(model, task.loss, trainable(model), data, check_deterministic=False)

    return calls, build


#: By name: a function that prepares the calls, and whether the library orthogonalizes its Lanczos vectors.
TUNED = {"hessian-eigenthings": (eigenthings, True), "curvlinops": (curvlinops, False)}
