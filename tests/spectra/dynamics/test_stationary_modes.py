"""Losses of single modes: against a root finder, and at units where naive products overflow or vanish."""

import numpy as np
import pytest
from scipy.optimize import brentq

from spectra.dynamics.stationary_modes import adaptive_modes, linear_gains, linear_modes, sign_modes
from spectra.errors import NonFiniteError

ONE = np.ones(1)


@pytest.mark.parametrize("rate", [1e-3, 0.5, 20.0])
@pytest.mark.parametrize("beta", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_adaptive_modes_against_a_root_finder_for_the_preconditioner(rate, beta, decay):
    lam, s, lost = 0.7, 0.4, rate * decay

    def variance(scale):
        g, e = rate * (1 - beta) * lam / scale, rate * (1 - beta) * s / scale
        kept = 1 - lost
        return e**2 * (1 + kept * beta) / (
            (1 - kept * beta) * (lost * (1 - beta) + g) * ((1 + kept) * (1 + beta) - g)
        )  # fmt: skip

    least = rate * (1 - beta) * lam / ((2 - lost) * (1 + beta)) * (1 + 1e-13)
    root = brentq(lambda p: p**2 - s**2 - lam**2 * variance(p), max(least, s * 1e-3), 1e3, xtol=1e-300, rtol=1e-14)
    modes = adaptive_modes(lam * ONE, s * ONE, rate=rate, beta=beta, coupled=0.0, decoupled=decay)
    # next to the limit of stability the root finder, not the bisection, loses digits
    np.testing.assert_allclose(modes.losses, lam * variance(root) / 2, rtol=1e-10 if rate < 1 else 1e-6)


def test_products_that_overflow_or_vanish_on_the_way():
    with np.errstate(all="raise"):
        linear = linear_modes(1e-200 * ONE, 1e-160 * ONE, rate=1e200, beta=0.0, decay=0.0, rho=0.0)
        np.testing.assert_allclose(linear.losses, 5e-121, rtol=1e-14)
        # u = h lam / 2 is far above s: the loss is h u
        signs = sign_modes(1e-200 * ONE, 1e-150 * ONE, rate=1e200)
        np.testing.assert_allclose(signs.losses, np.pi / 16 * 1e200, rtol=1e-14)
        assert linear_gains(1e300 * ONE, rate=1e300, decay=0.0, rho=0.0) == np.inf


def test_losses_beyond_float64_are_refused():
    with pytest.raises(NonFiniteError, match="exceeds the largest float64"):
        sign_modes(ONE, ONE, rate=1e300)
