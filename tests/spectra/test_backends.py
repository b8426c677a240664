import importlib
import inspect
import pkgutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import spectra
from spectra.backends import FUNCTIONS, LIBRARIES, capability_table, library_namespace, unavailable
from spectra.errors import ArgumentError, BackendError
from spectra.exchange import to_library
from spectra.interoperability import in_library
from tests.cases import ARRAY_LIBRARIES, load


class CUDARuntimeError(RuntimeError):
    """As in CuPy."""


def fake_cupy(**changes):
    """Return a module that behaves like CuPy on a machine without a GPU."""

    def no_driver(*args, **kwargs):
        raise CUDARuntimeError(
            "cudaErrorInsufficientDriver: CUDA driver version is insufficient\n  in cupy/_core/core.pyx"
        )

    def cpu_arrays(*args, **kwargs):
        raise TypeError("CPU arrays cannot be directly imported to CuPy.")

    module = types.ModuleType("cupy")
    module.__version__ = "14.2.0"
    module.ndarray = type("ndarray", (), {})
    module.zeros = module.asarray = module.empty = no_driver
    module.from_dlpack = cpu_arrays
    module.cuda = types.SimpleNamespace(
        is_available=lambda: False, runtime=types.SimpleNamespace(getDeviceCount=no_driver), Device=no_driver
    )
    for name, value in changes.items():
        setattr(module, name, value)
    return module


@pytest.fixture(params=["no device", "no driver call", "device but no memory"])
def broken_cupy(request, monkeypatch):
    """Put a CuPy that cannot make arrays in place of the real one."""

    def fails():
        raise CUDARuntimeError("cudaErrorUnknown: unknown error\n  in cupy_backends")

    module = fake_cupy()
    if request.param == "no driver call":
        module.cuda.is_available = fails
    if request.param == "device but no memory":
        module.cuda.is_available = lambda: True
        namespace = types.ModuleType("array_api_compat.cupy")
        namespace.asarray, namespace.from_dlpack = module.asarray, module.from_dlpack
        monkeypatch.setitem(sys.modules, "array_api_compat.cupy", namespace)
    monkeypatch.setitem(sys.modules, "cupy", module)
    return request.param


def said(error):
    """Check what every refusal must look like, and return it."""
    text = str(error.value)
    assert "\n" not in text
    assert "cupy" in text
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__ or error.value.__context__ is None
    return text


def test_a_machine_without_device_gives_one_sentence(broken_cupy):
    with pytest.raises(BackendError) as error:
        to_library(np.ones(3), "cupy")
    text = said(error)
    assert "PyTorch arrays" in text or "cannot become" in text
    with pytest.raises(BackendError) as error:
        in_library(np.eye(3), "cupy")
    said(error)


def test_without_device_no_namespace_is_given(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy())
    with pytest.raises(BackendError, match="finds no CUDA device; use NumPy or PyTorch arrays") as error:
        library_namespace("cupy")
    said(error)


def test_everything_else_works_beside_a_cupy_without_device(broken_cupy):
    a = np.diag(np.arange(1.0, 11.0))
    measure = spectra.slq(a, num_probes=2, num_steps=10)
    assert spectra.expectation(measure, lambda x: x).value == pytest.approx(5.5, rel=0.5)
    assert spectra.eigenpairs(a)["eigenvalue"].values[0] == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ModuleNotFoundError("No module named 'cupy'"), "not installed; run: pip install 'spectra-probes"),
        (ImportError("libcublasLt.so.12: cannot open shared object file\n"), "cannot be imported .ImportError: libcub"),
        (RuntimeError("CuPy is not correctly installed.\n\nIf you ..."), "cannot be imported .RuntimeError: CuPy is"),
    ],
)
def test_a_library_that_does_not_import(monkeypatch, error, message):
    genuine = importlib.import_module

    def importing(name, package=None):
        if name.split(".")[0] == "cupy":
            raise error
        return genuine(name, package)

    monkeypatch.setattr(importlib, "import_module", importing)
    with pytest.raises(BackendError, match=message):
        library_namespace("cupy")


def test_unknown_library():
    for call in (unavailable, library_namespace, lambda name: to_library(np.ones(1), name)):
        with pytest.raises(ArgumentError, match="'numpy', 'torch', 'cupy', 'array_api_strict'; got 'jax'"):
            call("jax")


@pytest.mark.parametrize("library", ARRAY_LIBRARIES)
def test_namespaces_make_arrays_of_every_dtype(library):
    xp = load(library)
    for dtype in LIBRARIES[library].dtypes:
        assert spectra.as_operator(xp.eye(2, dtype=getattr(xp, dtype))).shape == (2, 2)


def test_tests_are_marked_as_declared():
    marked = {p.values[0]: {mark.name for mark in p.marks} for p in ARRAY_LIBRARIES}
    assert marked == {name: {"gpu"} if library.needs_device else set() for name, library in LIBRARIES.items()}


def test_load_skips_with_the_reason_and_fails_in_ci(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy())
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.skip.Exception, match="finds no CUDA device"):
        load("cupy")
    monkeypatch.setitem(sys.modules, "array_api_strict", None)
    with pytest.raises(pytest.fail.Exception, match="CI must test array_api_strict"):
        load("array_api_strict")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="not installed"):
        load("array_api_strict")


def test_every_public_function_is_declared():
    """Functions of an operator or a measure that are exported but missing in the table, by their first parameter."""
    found = {}
    for name in spectra.__all__:
        value = getattr(spectra, name)
        if inspect.isfunction(value):
            parameters = list(inspect.signature(value).parameters)
            first = parameters[0] if parameters else ""
            kind = "operator" if "A" in parameters or first in {"a", "b"} else first if first == "measure" else None
            if kind:
                found[name] = kind
    missing = {name: kind for name, kind in found.items() if name not in FUNCTIONS}
    assert not missing, f"declare in spectra.backends.FUNCTIONS: {missing}"
    assert {name: FUNCTIONS[name].takes for name in found} == found


def test_every_declared_function_exists():
    public = set(spectra.__all__)
    for module in pkgutil.iter_modules(spectra.__path__, "spectra."):
        public |= set(getattr(importlib.import_module(module.name), "__all__", ()))
    assert set(FUNCTIONS) <= public
    for function in FUNCTIONS.values():
        assert set(function.libraries) <= set(LIBRARIES)


def test_table():
    text = capability_table()
    first, second = text.split("\n\n")
    for part in (first, second):
        assert len({line.count("|") for line in part.strip().splitlines()}) == 1
    assert all(f"| `{name}` |" in second for name in FUNCTIONS)
    assert all(f"| `{name}` |" in first for name in LIBRARIES)


def test_the_documentation_has_the_table():
    page = Path(__file__).parents[2] / "docs" / "array_libraries.md"
    assert capability_table() in page.read_text()
