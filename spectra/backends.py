"""Which array libraries are supported, where, and how that is tested.

`LIBRARIES` and `FUNCTIONS` are the only place where this is declared: the tests skip by them, and `capability_table`
prints them for the documentation.
"""

import importlib
from dataclasses import dataclass
from typing import Any, Literal, get_args

from spectra.errors import ArgumentError, BackendError

__all__ = [
    "FUNCTIONS",
    "LIBRARIES",
    "Function",
    "Library",
    "capability_table",
    "first_line",
    "library_namespace",
    "unavailable",
]


Takes = Literal["operator", "vector", "points", "measure"]


@dataclass(frozen=True, kw_only=True)
class Library:
    """An array library.

    Attributes
    ----------
    name : str
        As imported, and as in messages.
    namespace : str
        Module with its array-API namespace.
    package : str
        What pip installs.
    dtypes : tuple of str
        Of the vectors of an operator.
    devices : tuple of str
        Where arrays may live.
    tested : str
        What the claim of support rests on.
    needs_device : bool
        Whether no array can be made without a CUDA device; such tests carry the marker ``gpu``.
    """

    name: str
    namespace: str
    package: str
    dtypes: tuple[str, ...] = ("float32", "float64")
    devices: tuple[str, ...] = ("cpu",)
    tested: str
    needs_device: bool = False


@dataclass(frozen=True, kw_only=True)
class Function:
    """A public function, and the libraries whose arrays it works on.

    Attributes
    ----------
    name : str
        Public name.
    takes : {"operator", "vector", "points", "measure"}
        First array: something to multiply with, a template vector, points in rows, or a measure, which is NumPy on the
        host whatever the library of the operator was.
    gives : str
        Where the result lives.
    libraries : tuple of str
        Names in `LIBRARIES`.
    was_run : bool
        Whether it has been run with the libraries that need a device.
    """

    name: str
    takes: Takes
    gives: str = "host"
    libraries: tuple[str, ...] = ("numpy", "torch", "cupy", "array_api_strict")
    was_run: bool = True


LIBRARIES: dict[str, Library] = {
    library.name: library
    for library in (
        Library(name="numpy", namespace="array_api_compat.numpy", package="numpy", tested="all tests"),
        Library(
            name="torch",
            namespace="array_api_compat.torch",
            package="spectra-probes[torch]",
            devices=("cpu", "cuda"),
            tested="all tests on the CPU; on CUDA those marked `gpu`, where there is a device",
        ),
        Library(
            name="cupy",
            namespace="array_api_compat.cupy",
            package="spectra-probes[cupy]",
            devices=("cuda",),
            tested="tests marked `gpu`, where there is a device; without one, that errors are clear",
            needs_device=True,
        ),
        Library(
            name="array_api_strict",
            namespace="array_api_strict",
            package="array-api-strict",
            tested="all tests; stands for any other library that follows the array API standard",
        ),
    )
}
"""The supported libraries by name."""

FUNCTIONS: dict[str, Function] = {
    function.name: function
    for function in (
        *(Function(name=name, takes="operator", gives="as the operator") for name in ("as_operator", "gram")),
        Function(name="arnoldi", takes="operator", gives="host; the basis as the operator", was_run=False),
        Function(name="normal_spectrum", takes="operator", was_run=False),
        Function(name="as_rectangular", takes="operator", gives="as the operator"),
        *(
            Function(name=name, takes="operator", gives="host; the basis as the operator")
            for name in ("golub_kahan", "lanczos")
        ),
        *(
            Function(name=name, takes="operator")
            for name in (
                "as_scipy",
                "condition_number",
                "diagonal",
                "effective_rank",
                "eigenpairs",
                "extend",
                "frobenius_norm",
                "kernel_polynomial",
                "log_determinant",
                "pseudo_condition_number",
                "schatten_norm",
                "slq",
                "spectral_bounds",
                "survey",
                "trace",
                "trace_function",
            )
        ),
        Function(name="in_library", takes="operator", gives="as asked for"),
        Function(name="start_vectors", takes="vector", gives="as the template"),
        *(
            Function(name=name, takes="points", gives="as the points", was_run=False)
            for name in ("kernel_diagonal", "kernel_operator")
        ),
        *(
            Function(name=name, takes="measure")
            for name in (
                "cdf",
                "cdf_bounds",
                "complex_expectation",
                "density",
                "effective_dimension",
                "eigenvalue_count",
                "expectation",
                "free_energy",
                "kolmogorov",
                "moment",
                "negative_mass",
                "quantile",
                "spectral_gaps",
                "split_bulk",
                "validate_measure",
                "wasserstein",
                "wasserstein_distance",
            )
        ),
    )
}
"""The public functions by name."""


def capability_table() -> str:
    """Return the tables of libraries and functions in Markdown.

    Examples
    --------
    >>> print(capability_table().splitlines()[0])
    | library | dtypes | devices | tested by |
    """
    lines = ["| library | dtypes | devices | tested by |", "|---|---|---|---|"]
    for library in LIBRARIES.values():
        lines.append(
            f"| `{library.name}` | {', '.join(library.dtypes)} | {', '.join(library.devices)} | {library.tested} |"
        )
    names = list(LIBRARIES)
    lines += ["", f"| function | takes | {' | '.join(f'`{name}`' for name in names)} | result |"]
    lines.append("|---|---|" + "---|" * len(names) + "---|")
    for function in sorted(FUNCTIONS.values(), key=lambda f: (get_args(Takes).index(f.takes), f.name)):
        if function.takes == "measure":
            marks = ["of any"] * len(names)
        else:
            marks = [_mark(function, library) for library in LIBRARIES.values()]
        lines.append(f"| `{function.name}` | {function.takes} | {' | '.join(marks)} | {function.gives} |")
    return "\n".join(lines) + "\n"


def _mark(function: Function, library: Library) -> str:
    """Say whether a function takes arrays of a library, and whether one that needs a device has been tried."""
    if library.name not in function.libraries:
        return "no"
    if not library.needs_device:
        return "yes"
    return "run on one device" if function.was_run else "written, not run"


def unavailable(library: str) -> str | None:
    """Say why arrays of a library cannot be made here and what to do, in a sentence; None if they can.

    Parameters
    ----------
    library : str
        A name in `LIBRARIES`.

    Raises
    ------
    ArgumentError
        If the library is not supported.

    Notes
    -----
    Imports the library. For CuPy it also asks for a CUDA device, without making an array: the first array is what
    would fail inside CuPy.

    Examples
    --------
    >>> print(unavailable("numpy"))
    None
    """
    if library not in LIBRARIES:
        raise ArgumentError(f"library must be one of {', '.join(map(repr, LIBRARIES))}; got {library!r}")
    entry = LIBRARIES[library]
    remedy = "use NumPy or PyTorch arrays, or run where nvidia-smi lists a device"
    try:
        module = importlib.import_module(entry.name)
    except ModuleNotFoundError:
        return f"{library} is not installed; run: pip install '{entry.package}'"
    except Exception as error:  # a broken driver or a wrong build, as the library itself sees it
        return f"{library} cannot be imported ({first_line(error)}); reinstall it: pip install '{entry.package}'"
    try:
        if entry.needs_device and not module.cuda.is_available():
            return f"{library} is installed but finds no CUDA device; {remedy}"
        importlib.import_module(entry.namespace)
    except Exception as error:
        return f"{library} is installed but does not work here ({first_line(error)}); {remedy}"
    return None


def library_namespace(library: str) -> Any:
    """Return the array-API namespace of a library.

    Raises
    ------
    BackendError
        If the library is not installed, or has no device to make arrays on; says what to do.
    ArgumentError
        If the library is not supported.

    Examples
    --------
    >>> library_namespace("numpy").ones(2)
    array([1., 1.])
    """
    reason = unavailable(library)
    if reason is not None:
        raise BackendError(reason)
    return importlib.import_module(LIBRARIES[library].namespace)


def first_line(error: Exception) -> str:
    """Return class and first line of an error of another library."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}".rstrip(": ")
