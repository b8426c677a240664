"""Every kind of file and function gives the same samples, and what cannot be read says why."""

import numpy as np
import pytest

from probes.cli.kernel_data import read_kernel_data
from spectra.errors import ArgumentError, ShapeError, TaskError

X = np.arange(12.0).reshape(4, 3)
Y = np.array([1.0, -1.0, 2.0, 0.5])


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(name, header="a,b,c,y", separator=",", labels=Y):
    rows = [
        ",".join([*map(str, row), str(label)]).replace(",", separator) for row, label in zip(X, labels, strict=True)
    ]
    text = "\n".join(([header.replace(",", separator)] if header else []) + rows)
    with open(name, "w") as stream:
        stream.write(text + "\n")
    return name


def test_all_kinds_of_files_give_the_same_samples(folder):
    np.savez("a.npz", X=X, y=Y)
    (folder / "mine.py").write_text("import numpy as np\ndef data():\n    return np.load('x.npy'), np.load('y.npy')\n")
    np.save("x.npy", X)
    np.save("y.npy", Y)
    files = [
        ("a.npz", None),
        (written("a.csv"), None),
        (written("b.csv", header=None), "-1"),
        (written("c.tsv", header="a,b,c,price", separator="\t"), "price"),
        (written("d.txt", header=None, separator=" "), "3"),
        ("mine.py:data", None),
    ]
    for name, target in files:
        found = read_kernel_data(name, target=target)
        np.testing.assert_array_equal(found.features, X)
        np.testing.assert_array_equal(found.target, Y)


def test_an_npy_file_is_mapped():
    np.save("x.npy", X)
    found = read_kernel_data("x.npy")
    assert isinstance(found.features, np.memmap)
    assert found.target is None


def test_gram_matrix_of_an_archive():
    np.savez("k.npz", K=X @ X.T, labels=Y)
    found = read_kernel_data("k.npz")
    np.testing.assert_array_equal(found.gram, X @ X.T)
    assert found.features is None


def test_the_only_table_of_an_archive_is_taken_for_the_features():
    np.savez("k.npz", pixels=X, y=Y)
    np.testing.assert_array_equal(read_kernel_data("k.npz").features, X)


def test_data_sets_of_scikit_learn():
    found = read_kernel_data("sklearn.datasets:load_diabetes")
    assert found.features.shape == (442, 10)
    assert found.target.shape == (442,)
    pair = read_kernel_data("sklearn.datasets:load_iris", one_hot=True)
    assert pair.target.shape == (150, 3)
    assert pair.target.sum() == 150
    assert "3 columns, one for each class" in pair.remarks[0]


def test_targets_that_are_text_are_classes():
    found = read_kernel_data(written("a.csv", labels=["yes", "no", "no", "yes"]))
    np.testing.assert_array_equal(found.target, [[0, 1], [1, 0], [1, 0], [0, 1]])


def test_a_task_is_handed_on(folder):
    (folder / "mine.py").write_text("def task():\n    return 'a task'\n")
    assert read_kernel_data("mine.py:task") == "a task"


def test_what_cannot_be_read_says_why(folder):
    np.savez("a.npz", one=Y, two=Y)
    with pytest.raises(ArgumentError, match="must hold features named X"):
        read_kernel_data("a.npz")
    np.savez("b.npz", X=X)
    with pytest.raises(ArgumentError, match="no array 'price'; it holds X"):
        read_kernel_data("b.npz", target="price")
    with pytest.raises(ArgumentError, match="--one-hot needs targets"):
        read_kernel_data("b.npz", one_hot=True)
    (folder / "not.npz").write_bytes(b"nothing of the kind")
    with pytest.raises(ArgumentError, match=r"not\.npz"):
        read_kernel_data("not.npz")
    (folder / "not.npy").write_bytes(b"nothing of the kind")
    with pytest.raises(ArgumentError, match=r"not\.npy"):
        read_kernel_data("not.npy")
    with pytest.raises(ArgumentError, match="no column 'price'; it has a, b, c, y"):
        read_kernel_data(written("a.csv"), target="price")
    with pytest.raises(ArgumentError, match="4 columns; --target 7"):
        read_kernel_data(written("a.csv"), target="7")
    (folder / "ragged.csv").write_text("a,b\n1,2\n1\n")
    with pytest.raises(ShapeError, match="row 3 has 1 cells"):
        read_kernel_data("ragged.csv")
    (folder / "words.csv").write_text("a,b\n1,2\nred,4\n")
    with pytest.raises(ArgumentError, match="column 'a' holds 'red' in row 3"):
        read_kernel_data("words.csv")
    (folder / "empty.csv").write_text("")
    with pytest.raises(ShapeError, match="is empty"):
        read_kernel_data("empty.csv")
    (folder / "one.csv").write_text("y\n1\n2\n")
    with pytest.raises(ShapeError, match="no columns of features"):
        read_kernel_data("one.csv")
    np.save("vector.npy", Y)
    with pytest.raises(ShapeError, match=r"table of shape \(n, d\)"):
        read_kernel_data("vector.npy")
    with pytest.raises(FileNotFoundError):
        read_kernel_data("absent.csv")
    with pytest.raises(TaskError, match="a data set is named"):
        read_kernel_data("absent")
    with pytest.raises(ArgumentError, match="4 classes in 4 samples"):
        read_kernel_data(written("e.csv"), one_hot=True)
