"""What stands in the way of a file is found before, and never removed."""

import os

import pytest

from spectra.atomic_write import check_writable, replacing
from spectra.errors import SpectraError


def test_a_pipe_is_not_replaced(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(SpectraError, match=r"pipe' is a device or a pipe"):
        check_writable(path)
    with pytest.raises(SpectraError, match="device or a pipe"), replacing(path):
        pytest.fail("nothing may be written")
    assert path.is_fifo()


@pytest.mark.parametrize("name", ["page.html", "run.nc"])
def test_a_folder_even_an_empty_one_is_not_taken_for_a_file(tmp_path, name):
    path = tmp_path / name
    path.mkdir()
    with pytest.raises(SpectraError, match="is a folder"):
        check_writable(path)
    assert path.is_dir()


def test_an_empty_folder_may_become_a_store(tmp_path):
    path = tmp_path / "run.zarr"
    path.mkdir()
    check_writable(path)
