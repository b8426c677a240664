"""Files of arrays are read without running code, and what is none says so."""

import numpy as np
import pytest

from probes.cli.array_files import SUFFIXES, features_and_targets, is_data_file, read_npy, read_npz
from spectra.errors import ArgumentError


def test_arrays_come_back_and_objects_do_not(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3.0))
    np.savez(tmp_path / "a.npz", x=np.arange(3.0))
    assert read_npy(tmp_path / "a.npy").tolist() == [0.0, 1.0, 2.0]
    assert read_npz(tmp_path / "a.npz")["x"].tolist() == [0.0, 1.0, 2.0]
    objects = np.array([{}], dtype=object)
    np.save(tmp_path / "o.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "o.npz", x=objects)
    (tmp_path / "text.npy").write_text("text")
    (tmp_path / "text.npz").write_text("text")
    for name, read in (("o.npy", read_npy), ("text.npy", read_npy), ("o.npz", read_npz), ("text.npz", read_npz)):
        with pytest.raises(ArgumentError, match="that can be read"):
            read(tmp_path / name)
    with pytest.raises(OSError, match="No such file"):
        read_npy(tmp_path / "absent.npy")


def test_data_files_are_known_by_their_suffix():
    assert all(is_data_file(f"a{suffix.upper()}") for suffix in SUFFIXES)
    assert not is_data_file("module:function")


def test_what_functions_give():
    X, y = np.ones((3, 2)), np.arange(3)
    assert features_and_targets(X) == (X, None)
    for found in ((X, y), [X, y], {"data": X, "target": y}):
        features, targets = features_and_targets(found)
        assert features is X
        assert targets is y
    assert features_and_targets({"data": X}) == (X, None)
    assert features_and_targets({"X": X}) is None
    assert features_and_targets("data") is None
