import ctypes
import math
import shutil
import subprocess
import sys

import numpy as np
import pytest

from spectra.arrays import to_host
from spectra.errors import BackendError
from spectra.kernels.dot_product import Linear
from spectra.kernels.fused import FusedKernel, fused, fused_body
from spectra.kernels.operator import kernel_operator
from spectra.kernels.stationary import RBF, Laplace, Matern, Periodic
from tests.cases import load
from tests.spectra.kernels.kernel_cases import of, points

FUSED = (
    RBF(1.5),
    RBF((1.0, 2.0, 0.5, 3.0)),
    Laplace(1.5),
    Matern(1.5, nu=0.5),
    Matern(1.5),
    Matern((1.0, 2.0, 0.5, 3.0), nu=2.5),
    Matern(1.5, nu=math.inf),
    Periodic(1.2, period=3.0),
    Periodic((1.0, 2.0, 0.5, 3.0)),
)
PROGRAM = """
#include <math.h>
typedef double T;
void block(const T *X, const T *Y, long long d, long long m, long long size, T *out)
{{
    for (long long i = 0; i < size; ++i) {{
        T K;
        {body}
        out[i] = K;
    }}
}}
"""


class OnTheHost:
    """NumPy with an ElementwiseKernel that gcc compiles: what CuPy's does, for the one signature that is used."""

    def __init__(self, folder):
        self.folder = folder

    def __getattr__(self, name):
        return getattr(np, name)

    def ElementwiseKernel(self, inputs, output, body, name):
        assert inputs == "raw T X, raw T Y, int64 d, int64 m"
        assert (output, name) == ("T K", "spectra_kernel_block")
        source, library = self.folder / "block.c", self.folder / "block.so"
        source.write_text(PROGRAM.format(body=body))
        subprocess.run(["gcc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", source, "-o", library, "-lm"], check=True)
        function = ctypes.CDLL(str(library)).block
        pointer = np.ctypeslib.ndpointer(dtype=np.float64, flags="C_CONTIGUOUS")
        function.argtypes = [pointer, pointer, *[ctypes.c_longlong] * 3, pointer]
        function.restype = None
        return lambda X, Y, d, m, K: function(X, Y, d, m, K.size, K)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed, which compiles the body on the host")
@pytest.mark.parametrize("kernel", FUSED, ids=repr)
def test_the_body_compiled_for_the_host(kernel, tmp_path, monkeypatch):
    host = OnTheHost(tmp_path)
    monkeypatch.setattr(sys.modules["spectra.kernels.fused"], "namespace", lambda _: host)
    X = points()
    Y = points(23, rng=1)
    function = fused(kernel)
    np.testing.assert_allclose(function(X, Y), kernel(X, Y), atol=1e-12)
    K = function(X)
    np.testing.assert_allclose(K, kernel(X), atol=1e-12)
    np.testing.assert_array_equal(K, K.T)
    np.testing.assert_array_equal(np.diag(K), 1.0)
    np.testing.assert_allclose(function(np.asfortranarray(X), Y[::2]), kernel(X, Y[::2]), atol=1e-12)


def test_names():
    assert repr(fused(RBF(2.0))) == fused(RBF(2.0)).__name__ == "fused RBF(length_scale=2.0)"


@pytest.mark.parametrize("kernel", [Linear(), Matern(nu=1.2), RBF() + RBF(), 2.0 * RBF()])
def test_kernels_without_code(kernel):
    with pytest.raises(BackendError, match="fused code"):
        fused(kernel)
    with pytest.raises(BackendError, match="fused code"):
        fused_body(kernel)


def test_other_libraries_are_refused():
    with pytest.raises(BackendError, match="CuPy"):
        fused(RBF())(points())
    assert isinstance(fused(RBF()), FusedKernel)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kernel", FUSED, ids=repr)
def test_on_the_device(kernel, dtype):
    cupy = load("cupy")
    X, Y = points(200), points(77, rng=1)
    there = of(cupy, X, dtype)
    tolerance = 2e-6 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(to_host(fused(kernel)(there, of(cupy, Y, dtype))), kernel(X, Y), atol=tolerance)
    np.testing.assert_allclose(to_host(fused(kernel)(there)), kernel(X), atol=tolerance)
    A = kernel_operator(fused(kernel), there, block=64)
    product = A @ of(cupy, np.ones((200, 3)), dtype)
    np.testing.assert_allclose(to_host(product), kernel(X) @ np.ones((200, 3)), rtol=200 * tolerance)
