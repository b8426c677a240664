"""Every kind of file gives the same eigenvalues, and what cannot be read says why."""

from pathlib import Path

import numpy as np
import pytest

import spectra
from probes.cli.laws_source import read_spectrum
from spectra.errors import ArgumentError, ShapeError, TaskError

VALUES = np.array([0.5, 1.0, 1.5, 4.0])


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_all_kinds_of_files_give_the_same_list(folder):
    np.save("a.npy", VALUES)
    np.savez("a.npz", VALUES)
    np.savez("b.npz", eigenvalues=VALUES, X=np.ones((3, 2)))
    np.savetxt("a.txt", VALUES)
    (folder / "row.csv").write_text(",".join(map(str, VALUES)) + "\n")
    (folder / "head.csv").write_text("value\n" + "\n".join(map(str, VALUES)) + "\n")
    (folder / "index.csv").write_text(",value\n" + "".join(f"{i},{x}\n" for i, x in enumerate(VALUES)))
    (folder / "semi.csv").write_text("value;other\n" + "".join(f"{x};1\n".replace(".", ",") for x in VALUES))
    (folder / "f.py").write_text("def f():\n    return [0.5, 1.0, 1.5, 4.0]\n")
    for name, array in (
        ("a.npy", None),
        ("a.npz", None),
        ("b.npz", None),
        ("a.txt", None),
        ("row.csv", None),
        ("head.csv", None),
        ("index.csv", None),
        ("semi.csv", "value"),
        ("f.py:f", None),
    ):
        found = read_spectrum(name, array=array)
        assert np.asarray(found.source).tolist() == VALUES.tolist(), name
    assert "numbers the rows" in read_spectrum("index.csv").remarks[0]
    assert "the array eigenvalues of eigenvalues, X was taken" in read_spectrum("b.npz").remarks[0]
    assert read_spectrum("b.npz", array="X").source.shape == (3, 2)


def test_types_are_kept_or_made_real():
    np.save("f4.npy", VALUES.astype(np.float32))
    np.save("i.npy", np.array([1, 2, 3]))
    np.save("f2.npy", VALUES.astype(np.float16))
    np.save("c.npy", VALUES + 0j)
    assert read_spectrum("f4.npy").source.dtype == np.float32
    for name in ("i.npy", "f2.npy", "c.npy"):
        assert read_spectrum(name).source.dtype == np.float64


def test_a_tree_of_several_measures_asks_for_one():
    from xarray import DataTree

    survey = spectra.survey(np.diag(np.arange(1.0, 30.0)), num_probes=2, num_steps=10)
    spectra.save(survey, "survey.nc")
    found = read_spectrum("survey.nc")
    assert found.source.attrs["schema"] == "spectra/measure"
    assert "the measure measure was taken" in found.remarks[0]
    measure = survey["measure"].to_dataset()
    root = survey.to_dataset(inherit=False)
    two = DataTree.from_dict({"/": root, "/hessian/measure": measure, "/fisher/measure": measure})
    spectra.save(two, "two.nc")
    with pytest.raises(ArgumentError, match="fisher/measure, hessian/measure; name one with --array"):
        read_spectrum("two.nc")
    assert "fisher/measure" in read_spectrum("two.nc", array="fisher").remarks[0]
    pairs = spectra.eigenpairs(np.diag(np.arange(1.0, 30.0)))
    spectra.save(pairs, "pairs.nc")
    with pytest.raises(ArgumentError, match="holds no spectral measure"):
        read_spectrum("pairs.nc")


def test_what_cannot_be_read_says_why(folder):
    np.save("c.npy", VALUES + 1j)
    np.save("s.npy", np.array(["a", "b"]))
    np.savez("two.npz", a=VALUES, b=VALUES)
    (folder / "text.txt").write_text("hello world\nfoo bar\n")
    (folder / "bytes.csv").write_bytes(bytes(range(256)))
    (folder / "empty.csv").write_text("")
    (folder / "gap.csv").write_text("value\n1\n\nNA\n2\n")
    (folder / "other.dat").write_text("1\n")
    (folder / "f.py").write_text("def f():\n    return [[1.0], [2.0, 3.0]]\n\ndef g():\n    return 'text'\n")
    for name, error, said in (
        ("c.npy", ArgumentError, "complex numbers"),
        ("s.npy", ArgumentError, "must hold real numbers"),
        ("two.npz", ArgumentError, "holds a, b; name one with --array"),
        ("text.txt", ArgumentError, "'foo' in row 2, which is no number; encode it, or name one column"),
        ("bytes.csv", ArgumentError, "no text in UTF-8"),
        ("empty.csv", ShapeError, "empty"),
        ("gap.csv", ArgumentError, "no value in row 4"),
        ("other.dat", ArgumentError, "is no file of .npz"),
        ("nothing", ArgumentError, "no file or law"),
        ("f.py:f", TaskError, "gave no array"),
        ("f.py:g", ArgumentError, "must hold real numbers"),
    ):
        with pytest.raises(error, match=said):
            read_spectrum(name)
    for name, said in (
        ("two.npz", "no array 'c'"),
        ("gap.csv", "no column 'c'"),
        ("c.npy", "one array"),
        ("f.py:g", "several"),
    ):
        with pytest.raises(ArgumentError, match=said):
            read_spectrum(name, array="c")


def test_a_sparse_matrix_is_not_taken_for_the_list_of_its_entries(tmp_path):
    scipy_sparse = pytest.importorskip("scipy.sparse")
    scipy_sparse.save_npz(tmp_path / "sparse.npz", scipy_sparse.eye_array(40, format="csr"))
    with pytest.raises(ArgumentError, match="holds a sparse matrix"):
        read_spectrum(str(tmp_path / "sparse.npz"))


def test_samples_of_a_function_are_taken_without_their_targets():
    pytest.importorskip("sklearn")
    Path("two.py").write_text("def two():\n    return [0.5, 1.0]\n")
    assert read_spectrum("two.py:two").source.tolist() == [0.5, 1.0]
    found = read_spectrum("sklearn.datasets:load_breast_cancer")
    assert found.source.shape == (569, 30)
    assert found.remarks == ("targets were left out",)


def test_a_column_that_is_named_like_a_target_counts_and_a_remark_says_so():
    Path("t.csv").write_text("a,b,Target\n1,2,0\n3,5,1\n2,2,1\n")
    found = read_spectrum("t.csv")
    assert found.source.shape == (3, 3)
    assert "Target counted as a variable" in found.remarks[-1]
    assert read_spectrum("t.csv", array="Target").remarks == ()
