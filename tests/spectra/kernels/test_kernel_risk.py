import math

import numpy as np
import pytest

from spectra.errors import ArgumentError
from spectra.kernels.kernel_risk import checked_level, distrust, log_interval
from spectra.kernels.leave_one_out import leave_one_out
from tests.spectra.kernels.ridge_problems import laplace


def test_each_reason_is_told():
    eps = np.finfo(float).eps
    good, why = distrust(0.5, 1e3, stderr=0.1, label_variance=1.0, eps=eps)
    assert (good, "below" in why) == (True, True)
    bad, why = distrust(2.0, 1e12, stderr=0.1, label_variance=1.0, eps=eps)
    assert (bad, "variance" in why, "condition number" in why) == (False, True, True)
    assert distrust(0.5, 1e5, stderr=0.1, label_variance=1.0, eps=eps)[0]
    bad, why = distrust(0.5, 1e3, stderr=0.3, label_variance=1.0, eps=eps)
    assert (bad, "a few samples" in why) == (False, True)
    assert not distrust(0.5, 1e5, stderr=0.1, label_variance=1.0, eps=float(np.finfo(np.float32).eps))[0]


def test_intervals_are_positive_and_contain_the_risk():
    for stderr in (0.0, 0.1, 10.0, 1e6):
        low, high = log_interval(1.0, stderr, level=0.9, num_samples=10)
        assert 0 <= low <= 1 <= high
    assert log_interval(1.0, math.inf, level=0.9, num_samples=10) == (0.0, math.inf)
    assert log_interval(1.0, 0.1, level=0.9, num_samples=1) == (0.0, math.inf)
    assert log_interval(0.0, 0.0, level=0.9, num_samples=9) == (0.0, 0.0)


def test_higher_levels_are_wider():
    narrow, wide = (log_interval(1.0, 0.2, level=level, num_samples=20) for level in (0.5, 0.99))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_what_follows_from_a_risk():
    K, y = laplace(30)
    found = leave_one_out(K, y, ridge=3.0)
    assert found.ridge_per_sample == pytest.approx(0.1)
    assert found.explained == pytest.approx(1 - found.risk / np.var(y))
    assert math.isnan(leave_one_out(K, np.ones(30), ridge=3.0).explained)
    assert not found.residuals.flags.writeable


@pytest.mark.parametrize("level", [0, 1, -1.0, np.nan, "a", None])
def test_levels_that_cannot_be(level):
    with pytest.raises(ArgumentError):
        checked_level(level)
