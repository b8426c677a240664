"""Estimators of other libraries behind one interface, for `accuracy_per_product`. Run on its own it lists what imports.

None of the libraries is a dependency: each is imported when its methods are asked for, and left out where that fails.
``python -m pip install --no-deps`` keeps those that would replace PyTorch from doing so. Every method gets a dense
symmetric matrix; what it spends is counted where it multiplies through an object of ours, and otherwise stated by its
documentation.

PyHessian 0.1 calls ``torch.eig``, which PyTorch has removed; during a call it is given ``torch.linalg.eigh``
instead, which does the same for its symmetric argument.
"""

import contextlib
import importlib
import io
import json
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from peer_interface import Answer, Budget, Method
from peers_jax import matfree, traceax


def peer_methods() -> tuple[list[Method], dict[str, str]]:
    """Return the methods of all libraries that import, and why the others do not."""
    methods: list[Method] = []
    missing = {}
    for library in _HOMES:
        try:
            importlib.import_module(library)
        except Exception as error:
            missing[library] = f"{type(error).__name__}: {error}"
            continue
        methods += _HOMES[library]()
    return methods, missing


class _Counted:
    """A symmetric matrix that counts the columns it multiplies, as a SciPy LinearOperator or a torch matrix."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix, self.columns = matrix, 0

    def multiply(self, block: Any) -> Any:
        """Multiply and count."""
        self.columns += block.shape[1] if block.ndim == 2 else 1
        return self.matrix @ block

    def scipy(self) -> Any:
        """Return the SciPy operator."""
        from scipy.sparse.linalg import LinearOperator

        return LinearOperator(
            self.matrix.shape, matvec=self.multiply, matmat=self.multiply, rmatvec=self.multiply, dtype=np.float64
        )

    def torch(self) -> Any:
        """Return an object with the attributes that PyTorch code asks of a matrix."""
        import torch

        counted, matrix = self, torch.from_numpy(self.matrix)

        class Matrix:
            shape, dtype, device = matrix.shape, matrix.dtype, matrix.device

            def __matmul__(self, block: Any) -> Any:
                counted.columns += block.shape[1] if block.ndim == 2 else 1
                return matrix @ block

            def to_scipy(self) -> Any:
                return counted.scipy()

        return Matrix()


def _primate() -> list[Method]:
    from primate.estimators import CountCriterion
    from primate.operators import MatrixFunction
    from primate.trace import hutch, hutchpp

    def counted(call: Callable[[Any, Budget, int], float]) -> Any:
        def prepare(matrix: np.ndarray, budget: Budget) -> Callable[[int], Answer]:
            def run(seed: int) -> Answer:
                a = _Counted(matrix)
                return Answer(float(call(a.scipy(), budget, seed)), a.columns)

            return run

        return prepare

    def log_determinant(a: Any, budget: Budget, seed: int) -> float:
        function = MatrixFunction(a, fun=np.log, deg=budget.steps, orth=0)  # with its default, orth=3, log gives NaN
        return float(hutch(function, converge=CountCriterion(count=budget.probes), seed=seed))

    def plain(a: Any, budget: Budget, seed: int) -> float:
        return float(hutch(a, converge=CountCriterion(count=budget.products), seed=seed))

    return [
        Method(library="primate", name="hutch", quantity="trace", prepare=counted(plain)),
        Method(  # m is the size of the sketch: 3 m products
            library="primate",
            name="hutchpp",
            quantity="trace",
            prepare=counted(lambda a, budget, seed: hutchpp(a, m=_sketch(budget), seed=seed)),
        ),
        Method(library="primate", name="SLQ, orth=0", quantity="log_determinant", prepare=counted(log_determinant)),
    ]


def _sketch(budget: Budget) -> int:
    """Return the largest sketch that primate does not round up beyond a third of the budget."""
    return budget.products // 9 * 3


def _imate() -> list[Method]:
    import imate

    def prepare(matrix: np.ndarray, budget: Budget) -> Callable[[int], Answer]:
        def run(seed: int) -> Answer:
            with contextlib.redirect_stdout(io.StringIO()):
                value = imate.logdet(
                    matrix,
                    method="slq",
                    min_num_samples=budget.probes,
                    max_num_samples=budget.probes,
                    lanczos_degree=budget.steps,
                    orthogonalize=-1,
                    seed=seed + 1,
                    num_threads=1,
                )
            return Answer(float(value), budget.probes * budget.steps)

        return run

    return [Method(library="imate", name="SLQ, full orthogonalization", quantity="log_determinant", prepare=prepare)]


def _linear_operator() -> list[Method]:
    import linear_operator
    import torch
    from linear_operator import settings

    def prepare(matrix: np.ndarray, budget: Budget) -> Callable[[int], Answer]:
        a = torch.from_numpy(matrix)

        def run(seed: int) -> Answer:
            torch.manual_seed(seed)
            with (
                warnings.catch_warnings(),
                settings.max_cholesky_size(1),
                settings.num_trace_samples(budget.probes),
                settings.max_lanczos_quadrature_iterations(budget.steps),
                settings.max_cg_iterations(budget.steps),
                settings.cg_tolerance(1e-12),
                settings.max_preconditioner_size(0),
            ):
                warnings.simplefilter("ignore")
                value = linear_operator.to_linear_operator(a).logdet()
            return Answer(float(value), budget.probes * budget.steps)

        return run

    return [Method(library="linear_operator", name="logdet", quantity="log_determinant", prepare=prepare)]


def _curvlinops() -> list[Method]:
    import torch
    from curvlinops import hutchinson_trace, hutchpp_trace, xtrace
    from curvlinops.papyan2020traces.spectrum import fast_lanczos, lanczos_approximate_spectrum

    def counted(call: Callable[[Any, Budget], Any]) -> Any:
        def prepare(matrix: np.ndarray, budget: Budget) -> Callable[[int], Answer]:
            def run(seed: int) -> Answer:
                torch.manual_seed(seed)
                a = _Counted(matrix)
                return Answer(call(a.torch(), budget), a.columns)

            return run

        return prepare

    def nodes(a: Any, budget: Budget) -> Any:
        runs = [fast_lanczos(a, budget.steps) for _ in range(budget.probes)]
        values = np.concatenate([values.numpy() for values, _ in runs])
        weights = np.concatenate([vectors.numpy()[0] ** 2 for _, vectors in runs])
        return values, weights / budget.probes

    def grid(a: Any, budget: Budget) -> Any:
        (low, _), (high, _) = (fast_lanczos(a, budget.steps)[0][[i, 0]] for i in (0, -1))
        points, density = lanczos_approximate_spectrum(
            a, budget.steps, num_repeats=budget.probes - 2, boundaries=(float(low), float(high))
        )
        weights = density.numpy() / float(density.sum())
        return points.numpy(), weights

    return [
        Method(library="curvlinops", name=name, quantity="trace", prepare=counted(call))
        for name, call in (
            ("hutchinson_trace", lambda a, budget: float(hutchinson_trace(a, budget.products))),
            ("hutchpp_trace", lambda a, budget: float(hutchpp_trace(a, budget.products))),
            ("xtrace", lambda a, budget: float(xtrace(a, budget.products, distribution="normal"))),
        )
    ] + [
        Method(library="curvlinops", name="fast_lanczos nodes", quantity="density", prepare=counted(nodes)),
        Method(library="curvlinops", name="approximate_spectrum grid", quantity="density", prepare=counted(grid)),
    ]


def _pyhessian() -> list[Method]:
    import pyhessian
    import torch

    def quadratic(matrix: np.ndarray) -> Any:
        """Return PyHessian's object for the loss w'Aw/2 of a model with the weights w."""
        a = torch.from_numpy(matrix)

        class Quadratic(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.w = torch.nn.Parameter(torch.zeros(len(a), dtype=a.dtype))

            def forward(self, _: Any) -> Any:
                return 0.5 * torch.dot(self.w, a @ self.w)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch warns of the memory cycle that PyHessian makes
            return pyhessian.hessian(Quadratic(), lambda out, _: out, data=(torch.zeros(1), torch.zeros(1)), cuda=False)

    def trace(matrix: np.ndarray, budget: Budget) -> Callable[[int], Answer]:
        wrapped = quadratic(matrix)

        def run(seed: int) -> Answer:
            torch.manual_seed(seed)
            samples = wrapped.trace(maxIter=budget.products, tol=-np.inf)  # its tolerance would stop on a plateau
            return Answer(float(np.mean(samples)), len(samples))

        return run

    def density(matrix: np.ndarray, budget: Budget) -> Callable[[int], Answer]:
        wrapped = quadratic(matrix)

        def run(seed: int) -> Answer:
            torch.manual_seed(seed)
            with _eig_restored():
                values, weights = wrapped.density(iter=budget.steps, n_v=budget.probes)
            return Answer((np.ravel(values), np.ravel(weights) / budget.probes), budget.probes * budget.steps)

        return run

    return [
        Method(library="pyhessian", name="trace", quantity="trace", prepare=trace),
        Method(library="pyhessian", name="density", quantity="density", prepare=density),
    ]


@contextlib.contextmanager
def _eig_restored() -> Iterator[None]:
    """Give PyTorch its former ``torch.eig`` for symmetric matrices."""
    import torch

    def eig(a: Any, eigenvectors: bool) -> Any:
        values, vectors = torch.linalg.eigh(a)
        return torch.stack([values, torch.zeros_like(values)], dim=1), vectors

    former = getattr(torch, "eig", None)
    torch.eig = eig
    try:
        yield
    finally:
        if former is None:
            del torch.eig
        else:
            torch.eig = former


_HOMES: dict[str, Callable[[], list[Method]]] = {
    "matfree": matfree,
    "traceax": traceax,
    "primate": _primate,
    "imate": _imate,
    "linear_operator": _linear_operator,
    "curvlinops": _curvlinops,
    "pyhessian": _pyhessian,
}


if __name__ == "__main__":
    found, absent = peer_methods()
    print(json.dumps({"methods": [method.label for method in found], "missing": absent}, indent=1))
