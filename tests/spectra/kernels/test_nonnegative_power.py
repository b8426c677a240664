import numpy as np
import pytest

from spectra.kernels.nonnegative_power import fit_nonnegative_power


@pytest.mark.parametrize("exponent", [-1.5, -0.5, 1.0])
@pytest.mark.parametrize("unit", [1e-14, 1.0, 1e14])
def test_it_finds_what_was_put_in(exponent, unit):
    x = unit * np.geomspace(1, 100, 9)
    found = fit_nonnegative_power(x, unit * (0.3 + 2 * (x / unit) ** exponent), exponents=[-1.5, -1.0, -0.5, 1.0])
    assert found.exponent == exponent
    np.testing.assert_allclose(
        found([unit, 300 * unit]), unit * (0.3 + 2 * np.array([1.0, 300.0]) ** exponent), rtol=1e-8
    )


def test_neither_part_is_negative():
    x = np.geomspace(1, 100, 9)
    rising = fit_nonnegative_power(x, np.log(2 + x), exponents=[-1.0])
    assert (rising.factor, rising.constant > 0) == (0.0, True)
    assert fit_nonnegative_power(x, x**-1.0 * np.exp(-x / 100), exponents=[-1.0]).constant >= 0


def test_one_point_and_no_exponents():
    assert float(fit_nonnegative_power([2.0], [3.0], exponents=[-1.0])(2.0)) == pytest.approx(3.0)
    assert float(fit_nonnegative_power([2.0, 4.0], [3.0, 5.0], exponents=[])(9.0)) == 4.0


def test_weights_choose():
    found = fit_nonnegative_power([1.0, 2.0], [1.0, 2.0], exponents=[-1.0], weight=[1e-9, 1.0])
    assert float(found(2.0)) == pytest.approx(2.0, rel=1e-6)
