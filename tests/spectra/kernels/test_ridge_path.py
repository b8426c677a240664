import numpy as np
import pytest

from spectra.errors import ArgumentError
from spectra.kernels.gcv import gcv
from spectra.kernels.leave_one_out import leave_one_out
from spectra.kernels.ridge_path import ridge_path
from tests.spectra.kernels.ridge_problems import laplace, smooth


def test_it_holds_what_single_calls_say():
    K, y = smooth(40)
    ridges = [0.0, 1e-3, 1.0]
    path = ridge_path(K, y, ridges)
    assert path["ridge"].values.tolist() == ridges
    for ridge in ridges:
        row, one = path.sel(ridge=ridge), leave_one_out(K, y, ridge=ridge)
        assert row["leave_one_out"].item() == pytest.approx(one.risk, rel=1e-6)
        assert row["gcv"].item() == pytest.approx(gcv(K, y, ridge=ridge).risk, rel=1e-6)
        assert (row["is_trustworthy"].item(), row["why"].item()) == (one.is_trustworthy, one.why)
        assert row["effective_ridge"].item() == one.effective_ridge
        assert (row["low"].item(), row["high"].item()) == (one.low, one.high)
    assert path.attrs["schema"] == "spectra/ridge-path"


def test_limits():
    K, y = laplace(30)
    path = ridge_path(K, y, [0.0, 1e12])
    assert path["df1"].values == pytest.approx([30, 0], abs=1e-9)
    assert path["leave_one_out"].values[1] == pytest.approx(np.mean(y**2), rel=1e-9)
    assert path["train_error"].values[0] == pytest.approx(0, abs=1e-20)
    assert path["overfitting_coefficient"].values[1] == pytest.approx(1)


def test_wrong_ridges():
    with pytest.raises(ArgumentError):
        ridge_path(np.eye(2), np.ones(2), [-1.0])
