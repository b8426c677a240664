import itertools

import numpy as np
import pytest

from spectra.arrays import dtype_name, to_host
from spectra.errors import BackendError
from spectra.exchange import device_name, library_of, to_library
from tests.cases import load

ON_HOST = ("numpy", "torch", "array_api_strict")


def make(library, values, dtype="float64"):
    xp = load(library)
    return xp.asarray(np.asarray(values, dtype=dtype))


@pytest.mark.parametrize(("origin", "target"), list(itertools.product(ON_HOST, repeat=2)))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_memory_is_shared_both_ways(origin, target, dtype):
    load(target)
    x = make(origin, [[1.0, 2.0], [3.0, 4.0]], dtype)
    y = to_library(x, target)
    assert library_of(y) == target
    assert dtype_name(y.dtype) == dtype
    x[0, 1] = 7.0
    y[1, 0] = 8.0
    np.testing.assert_array_equal(to_host(x), [[1.0, 7.0], [8.0, 4.0]])
    np.testing.assert_array_equal(to_host(y), [[1.0, 7.0], [8.0, 4.0]])


@pytest.mark.parametrize(("origin", "target"), list(itertools.product(ON_HOST, repeat=2)))
def test_copies_are_independent(origin, target):
    load(target)
    x = make(origin, [1.0, 2.0])
    y = to_library(x, target, copy=True)
    x[0] = 9.0
    assert to_host(y).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("target", ["torch", "array_api_strict"])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda x: x[::-1], id="negative stride"),
        pytest.param(lambda x: x[:, ::-1], id="negative column stride"),
        pytest.param(lambda x: _frozen(x), id="read-only"),
        pytest.param(lambda x: np.broadcast_to(x[:1], x.shape), id="broadcast"),
    ],
)
def test_what_another_library_could_not_respect_is_copied(target, change):
    load(target)
    original = np.arange(6.0).reshape(2, 3)
    x = change(original)
    y = to_library(x, target)
    expected = x.tolist()
    assert to_host(y).tolist() == expected
    y[0, 0] = 50.0
    assert x.tolist() == expected
    with pytest.raises(BackendError, match="without a copy"):
        to_library(x, target, copy=False)


def _frozen(x):
    x = x.copy()
    x.flags.writeable = False
    return x


@pytest.mark.parametrize("target", ON_HOST)
def test_strided_views_and_integers_pass(target):
    load(target)
    x = np.arange(12.0).reshape(3, 4)
    for view in (x.T, x[::2, 1:3], x[:, 0], x[:0]):
        assert to_host(to_library(view, target)).tolist() == view.tolist()
    assert to_host(to_library(np.arange(3), target)).tolist() == [0, 1, 2]
    assert to_host(to_library(np.array([True, False]), target)).tolist() == [1, 0]


def test_same_library_returns_the_array_itself():
    x = _frozen(np.ones(3))
    assert to_library(x, "numpy") is x
    assert to_library(x, "numpy", copy=False) is x


def test_derivatives_stay_behind():
    torch = pytest.importorskip("torch")
    x = torch.ones(3, requires_grad=True)
    for library in ("numpy", "torch"):
        y = to_library(x * 2.0, library)
        assert not getattr(y, "requires_grad", False)
    assert x.requires_grad


def test_what_has_no_counterpart_is_refused():
    torch = pytest.importorskip("torch")
    for x in (torch.ones(2, dtype=torch.bfloat16), torch.eye(2).to_sparse(), torch.ones(2, device="meta")):
        with pytest.raises(BackendError, match=r"cannot become a numpy array on cpu .* dense float32 and float64"):
            to_library(x, "numpy")
    for x in (np.array([1, "a"], dtype=object), np.zeros(2, dtype=">f8")):
        with pytest.raises(BackendError, match="cannot become a torch array"):
            to_library(x, "torch")
    for x in ([1.0], 1.0, None, "x"):
        with pytest.raises(BackendError, match="an array is required"):
            to_library(x, "numpy")


def test_devices():
    torch = pytest.importorskip("torch")
    x = torch.ones(2)
    assert device_name(x) == device_name(np.ones(2)) == "cpu"
    assert to_library(x, "torch", device="cpu") is x
    for library, device in (("numpy", "cuda"), ("array_api_strict", "cuda:0"), ("torch", "tpu"), ("torch", "cuda:x")):
        with pytest.raises(BackendError, match=f"{library} holds arrays on"):
            to_library(x, library, device=device)
    if not torch.cuda.is_available():
        for origin in (x, np.ones(2)):
            with pytest.raises(BackendError, match="cannot become a torch array on cuda:0"):
                to_library(origin, "torch", device="cuda")
