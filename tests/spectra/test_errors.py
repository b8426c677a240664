import builtins
import subprocess
import sys

import pytest

import spectra
from spectra import errors


@pytest.mark.parametrize("name", errors.__all__)
def test_each_error_is_ours_and_a_builtin(name):
    kind = getattr(errors, name)
    assert issubclass(kind, errors.SpectraError)
    assert getattr(spectra, name) is kind
    assert kind.__doc__
    if kind is not errors.SpectraError:
        standard = [base for base in kind.__mro__ if base.__module__ == "builtins" and base not in (Exception, object)]
        assert any(getattr(builtins, base.__name__) is base for base in standard if base is not BaseException)


@pytest.mark.parametrize("name", errors.__all__)
def test_the_tree_in_the_docstring_is_complete(name):
    assert name in errors.__doc__


def test_public_names_load():
    assert set(spectra.__all__) <= set(dir(spectra))
    for name in spectra.__all__:
        assert getattr(spectra, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        spectra.nothing  # noqa: B018


def test_functions_keep_their_names_beside_modules_of_the_same_name():
    code = (
        "import spectra.lanczos, spectra.eigenpairs, spectra.start_vectors, spectra\n"
        "from spectra.lanczos import Iteration\n"
        "assert all(callable(f) for f in (spectra.lanczos, spectra.eigenpairs, spectra.start_vectors))\n"
        "assert isinstance(Iteration, type)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_is_quick_because_nothing_is_imported():
    code = (
        "import sys, spectra\n"
        "heavy = {'numpy', 'scipy', 'xarray', 'torch', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
