"""What the tests run over: array libraries, spectra, operators, and laws. A new operator is one line in
``OPERATORS``, a new law one in ``LAWS``."""

import importlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spectra import Operator, as_operator, gram
from spectra.backends import LIBRARIES, library_namespace, unavailable
from spectra.laws.base import Law
from spectra.laws.f_ratio import FRatio
from spectra.laws.jacobi import Jacobi
from spectra.laws.marchenko_pastur import MarchenkoPastur
from spectra.laws.semicircle import Semicircle
from spectra.laws.tracy_widom import TracyWidom
from spectra.testing import SPECTRA, matrix_with_spectrum, spectrum

ARRAY_LIBRARIES = tuple(
    pytest.param(library.name, marks=pytest.mark.gpu if library.needs_device else (), id=library.name)
    for library in LIBRARIES.values()
)
"""Parameters of a test: every declared library, those that need a device marked ``gpu``."""
N = 40


def load(library: str) -> Any:
    """Return the namespace of an array library; skip the test where it cannot be used, but fail in CI if it could."""
    reason = unavailable(library)
    if reason is not None:
        if os.environ.get("CI") and not LIBRARIES[library].needs_device:
            pytest.fail(f"CI must test {library}: {reason}")
        pytest.skip(reason)
    return library_namespace(library)


def optional(name: str) -> Any:
    """Return a module that ``make test`` installs; skip the test where it is missing, but fail in CI."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must test with {name}: {error}")
        pytest.skip(f"{name} is not installed: {error}", allow_module_level=True)


def matrix(name: str, n: int = N, rng: int = 0) -> np.ndarray:
    """Return a dense matrix with a named spectrum."""
    return matrix_with_spectrum(spectrum(name, n), rng)


def _linear_operator() -> Any:
    from scipy.sparse.linalg import aslinearoperator

    return aslinearoperator(matrix("indefinite"))


def _sparse() -> Any:
    from scipy.sparse import diags_array

    return diags_array([-np.ones(N - 1), 2.0 * np.ones(N), -np.ones(N - 1)], offsets=[-1, 0, 1]).tocsr()


def _in_place(block: np.ndarray) -> np.ndarray:
    return block * np.arange(1.0, N + 1.0)[:, None]


OPERATORS: dict[str, Callable[[], Any]] = {
    "matmat": lambda: Operator(_in_place, like=np.zeros(N)),
    "integer matrix": lambda: np.diag(np.arange(N)),
    "LinearOperator": _linear_operator,
    "sparse": _sparse,
    "shifted": lambda: as_operator(matrix("inverse")).shift(-0.5),
    "scaled": lambda: as_operator(matrix("inverse")).scale(-1e3),
    "sum": lambda: as_operator(matrix("inverse")) + as_operator(matrix("spiked", rng=1)),
    "difference": lambda: as_operator(matrix("spiked")) - as_operator(matrix("inverse", rng=1)),
    "negative": lambda: -as_operator(matrix("spiked")),
    "multiple": lambda: 2.0 * as_operator(matrix("inverse")),
    "quotient": lambda: as_operator(matrix("inverse")) / 3.0,
    "submatrix": lambda: as_operator(matrix("spiked")).submatrix(np.arange(N - 1, 0, -3)),
    "submatrix of neighbors": lambda: as_operator(matrix("indefinite")).submatrix(slice(5, 20)),
    "congruence": lambda: as_operator(matrix("spiked")).congruence(np.linspace(0.1, 2.0, N)),
    "gram": lambda: gram(np.random.default_rng(0).standard_normal((20, N))),
    "order one": lambda: np.array([[-3.0]]),
    **{name: lambda name=name: matrix(name) for name in SPECTRA},
}

LAWS: dict[str, Callable[[], Law]] = {
    "Marchenko-Pastur": lambda: MarchenkoPastur(aspect_ratio=0.3, variance=2.0),
    "Marchenko-Pastur, hard edge": lambda: MarchenkoPastur(aspect_ratio=1.0),
    "Marchenko-Pastur, nearly hard edge": lambda: MarchenkoPastur(aspect_ratio=0.999),
    "Marchenko-Pastur, atom": lambda: MarchenkoPastur(aspect_ratio=2.5),
    "Marchenko-Pastur, narrow": lambda: MarchenkoPastur(aspect_ratio=1e-6),
    "Marchenko-Pastur, few samples": lambda: MarchenkoPastur(aspect_ratio=1e3),
    "Marchenko-Pastur, small units": lambda: MarchenkoPastur(aspect_ratio=0.5, variance=1e-14),
    "Marchenko-Pastur, large units": lambda: MarchenkoPastur(aspect_ratio=1.5, variance=1e14),
    "semicircle": Semicircle,
    "semicircle, small units": lambda: Semicircle(variance=1e-28),
    "Jacobi": lambda: Jacobi(first_ratio=0.5, second_ratio=0.3),
    "Jacobi, arcsine": lambda: Jacobi(first_ratio=1.0, second_ratio=1.0),
    "Jacobi, atom at zero": lambda: Jacobi(first_ratio=1.5, second_ratio=0.5),
    "Jacobi, atom at one": lambda: Jacobi(first_ratio=0.5, second_ratio=1.5),
    "Jacobi, two atoms": lambda: Jacobi(first_ratio=1.3, second_ratio=1.4),
    "Jacobi, narrow": lambda: Jacobi(first_ratio=1e-4, second_ratio=1e-4),
    "F": lambda: FRatio(first_ratio=0.5, second_ratio=0.3),
    "F, atom": lambda: FRatio(first_ratio=3.0, second_ratio=0.5),
    "F, nearly singular": lambda: FRatio(first_ratio=0.5, second_ratio=0.99),
    "Tracy-Widom, real": lambda: TracyWidom(beta=1),
    "Tracy-Widom, complex": lambda: TracyWidom(beta=2),
}
