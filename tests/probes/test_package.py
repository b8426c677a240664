"""Importing probes: nothing heavy, the right spectra, and a clear word when PyTorch is missing."""

import subprocess
import sys

import pytest

import probes


def run(code: str, *path: str) -> subprocess.CompletedProcess:
    lines = "import sys\n" + "".join(f"sys.path.insert(0, {entry!r})\n" for entry in path)
    return subprocess.run([sys.executable, "-c", lines + code], capture_output=True, text=True, check=False)


def test_import_is_light():
    result = run("import probes; print(sorted({'torch', 'scipy', 'xarray', 'sklearn'} & set(sys.modules)))")
    assert result.stdout.strip() == "[]", result.stderr


def test_public_names():
    assert set(probes.__all__) <= set(dir(probes))
    assert probes.HessianOperator.name == "hessian"
    with pytest.raises(AttributeError, match="no attribute 'hessian'"):
        _ = probes.hessian


def test_the_color_library_is_recognized(tmp_path):
    (tmp_path / "spectra.py").write_text("def html(color): return color\n")
    result = run("import probes", str(tmp_path))
    assert "color library" in result.stderr
    assert "pip uninstall spectra" in result.stderr
    assert str(tmp_path / "spectra.py") in result.stderr


def test_missing_torch():
    code = "sys.modules['torch'] = None\nimport probes\nprobes.Task"
    result = run(code)
    assert "MissingExtraError" in result.stderr
    assert "spectra-probes[torch]" in result.stderr
