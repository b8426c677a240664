"""What only a machine with a CUDA device can show; skipped elsewhere, with the reason."""

import numpy as np
import pytest

import spectra
from spectra.arrays import to_host
from spectra.exchange import device_name, library_of, to_library
from spectra.interoperability import as_scipy, in_library
from spectra.stochastic_trace import trace
from spectra.testing import check_operator
from tests.cases import load, matrix

pytestmark = pytest.mark.gpu
SAME = {"float64": 1e-10, "float32": 2e-4}


@pytest.fixture
def cupy():
    """Return CuPy's array-API namespace, or skip with the reason."""
    return load("cupy")


@pytest.fixture
def torch():
    """Return PyTorch, or skip where it sees no CUDA device."""
    module = pytest.importorskip("torch")
    if not module.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    return module


@pytest.fixture(params=["cupy", "torch"])
def on_device(request):
    """Return a function that puts a NumPy array on the device, for each library."""
    request.getfixturevalue(request.param)
    return lambda x: to_library(x, request.param, device="cuda")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["inverse", "indefinite", "spiked", "zero", "identity", "two_values"])
def test_slq(on_device, name, dtype):
    a = matrix(name).astype(dtype)
    ours = spectra.slq(on_device(a), num_probes=5, num_steps=10)
    reference = spectra.slq(a, num_probes=5, num_steps=10)
    norm = float(np.linalg.norm(a, 2))
    assert ours.sizes == reference.sizes
    np.testing.assert_allclose(ours["ritz_value"], reference["ritz_value"], atol=SAME[dtype] * norm)
    value, expected = (spectra.expectation(m, lambda x: x * x).value for m in (ours, reference))
    assert value == pytest.approx(expected, rel=SAME[dtype], abs=SAME[dtype])


def test_trace(on_device):
    for name in ("inverse", "indefinite", "spiked"):
        ours, reference = (trace(x, num_matvecs=24) for x in (on_device(matrix(name)), matrix(name)))
        assert ours.value == pytest.approx(reference.value, rel=1e-10)
        assert ours.num_matvecs == reference.num_matvecs


def test_eigenpairs(on_device):
    a = matrix("spiked")
    ours = spectra.eigenpairs(on_device(a), num=3, which="both", tolerance=1e-10)
    reference = np.linalg.eigvalsh(a)
    np.testing.assert_allclose(ours["eigenvalue"].values[:3], reference[::-1][:3], rtol=1e-10)
    np.testing.assert_allclose(ours["eigenvalue"].values[3:], reference[:3], atol=1e-8)
    assert bool(ours["converged"].all())


def test_conformance(on_device):
    check_operator(on_device(matrix("inverse")))
    check_operator(on_device(matrix("inverse").astype(np.float32)))


def test_scipy_copies_between_host_and_device(on_device):
    from scipy.sparse.linalg import eigsh

    values = eigsh(as_scipy(on_device(matrix("spiked"))), k=2, which="LA", return_eigenvectors=False, v0=np.ones(40))
    np.testing.assert_allclose(np.sort(values), np.linalg.eigvalsh(matrix("spiked"))[-2:], rtol=1e-10)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_torch_and_cupy_share_memory(torch, cupy, dtype):
    tensor = torch.arange(4, dtype=getattr(torch, dtype), device="cuda")
    array = to_library(tensor, "cupy", copy=False)
    back = to_library(array, "torch", copy=False)
    assert library_of(array) == "cupy"
    assert device_name(array) == device_name(tensor) == device_name(back)
    array[0] = 7.0
    back[1] = 8.0
    assert tensor.tolist() == [7.0, 8.0, 2.0, 3.0]
    assert back.data_ptr() == tensor.data_ptr() == array.data.ptr


def test_a_torch_operator_in_cupy(torch, cupy):
    a = torch.from_numpy(matrix("spiked")).to("cuda")
    moved = in_library(a, "cupy")
    check_operator(moved)
    ours = spectra.slq(moved, num_probes=3, num_steps=10)
    reference = spectra.slq(matrix("spiked"), num_probes=3, num_steps=10)
    np.testing.assert_allclose(ours["ritz_value"], reference["ritz_value"], rtol=1e-9)


def test_from_the_device_to_the_host_and_back(on_device):
    x = np.arange(5.0)
    there = on_device(x)
    assert device_name(there).startswith("cuda")
    for library in ("numpy", "array_api_strict"):
        back = to_library(there, library)
        assert device_name(back) == "cpu"
        assert to_host(back).tolist() == x.tolist()
