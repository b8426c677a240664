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


def test_tables_as_people_write_them(folder):
    """Semicolons, decimal commas, a byte order mark, other line ends, empty rows, years for names, row numbers."""
    plain = [[*map(str, row), str(label)] for row, label in zip(X, Y, strict=True)]

    def text(rows, separator=",", end="\n"):
        return end.join(separator.join(row) for row in rows) + end

    names = ["a", "b", "c", "y"]
    files = {
        "semicolons.csv": text([names, *plain], ";"),
        "commas.csv": text([names, *plain], ";").replace(".", ","),
        "windows.csv": "\ufeff" + text([names, *plain], end="\r\n"),
        "old.csv": text([names, *plain], end="\r"),
        "quoted.csv": text([['"a, b"', '"b"', '"c"', '"y"'], *([f'"{cell}"' for cell in row] for row in plain)]),
        "empty_rows.csv": text([names, *plain]) + "\n,,,\n",
        "years.csv": text([["2019", "2020", "2021", "y"], *plain]),
        "upper.csv": text([["A", "B", "C", "Target"], *plain]),
        "pandas.csv": text([["", *names], *([str(i), *row] for i, row in enumerate(plain))]),
        "savetxt.txt": text([["# a", "b", "c", "y"], *plain], " "),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content.encode())
        found = read_kernel_data(name)
        np.testing.assert_array_equal(found.features, X, err_msg=name)
        np.testing.assert_array_equal(found.target, Y, err_msg=name)
    assert read_kernel_data("commas.csv").remarks == ("decimal commas were read as points",)
    assert "numbers the rows" in read_kernel_data("pandas.csv").remarks[0]
    assert read_kernel_data("semicolons.csv").remarks == ()


def test_a_first_row_of_data_is_no_header(folder):
    (folder / "a.csv").write_text("1,2,yes\n3,4,no\n5,6,yes\n7,8,no\n")
    found = read_kernel_data("a.csv", target="-1")
    assert found.features.shape == (4, 2)
    assert found.target.shape == (4, 2)


def test_what_is_missing_in_a_table_is_named_by_its_line(folder):
    for name, text, message in (
        ("cell.csv", "a,b,y\n1,2,3\n\n4,,5\n", "column 'b' has no value in row 4"),
        ("na.csv", "a,b,y\n1,2,3\n4,NA,5\n", "column 'b' has no value in row 3"),
        ("target.csv", "a,b,y\n1,2,3\n4,5,\n", "target 'y' has no value in row 3"),
        ("class.csv", "a,b,y\n1,2,no\n4,5,\n6,7,yes\n", "target 'y' has no value in row 3"),
        ("mixed.csv", "a,y\n1,3\n4,x\n4,5\n6,7\n", "target 'y' holds 'x' in row 3"),
        ("infinite.csv", "a,b,y\n1,2,3\n4,5,inf\n6,7,8\n", "target 'y' holds 'inf' in row 3"),
    ):
        (folder / name).write_text(text)
        with pytest.raises(ArgumentError, match=message):
            read_kernel_data(name)
    (folder / "latin.csv").write_bytes("größe,y\n1,2\n".encode("latin-1"))
    with pytest.raises(ArgumentError, match="UTF-8"):
        read_kernel_data("latin.csv")


def test_without_targets_a_remark_says_how_to_name_them(folder):
    np.savez("a.npz", inputs=X, price=Y)
    for name in (written("a.csv", header="a,b,c,price"), "a.npz"):
        found = read_kernel_data(name)
        assert found.target is None
        assert "no error is predicted: name one of" in found.remarks[0]
        assert "price with --target" in found.remarks[0]


def test_data_frames_tensors_and_sparse_matrices_of_a_function(folder):
    pytest.importorskip("pandas")
    (folder / "mine.py").write_text(
        "import numpy as np, pandas, scipy.sparse\n"
        "X = np.arange(12.0).reshape(4, 3)\n"
        "def frame():\n    return pandas.DataFrame(X, columns=list('abc')), pandas.Series(list('xyxy'))\n"
        "def sparse():\n    return scipy.sparse.csr_matrix(X), X[:, 0]\n"
    )
    found = read_kernel_data("mine.py:frame")
    np.testing.assert_array_equal(found.features, X)
    assert found.target.shape == (4, 2)
    with pytest.raises(ArgumentError, match="sparse"):
        read_kernel_data("mine.py:sparse")
