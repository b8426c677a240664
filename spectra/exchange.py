"""Arrays from one library to another, by DLPack: without a copy where that is possible."""

import importlib

import numpy as np
from array_api_compat import device as device_of

from spectra.arrays import describe, detach, is_array
from spectra.backends import LIBRARIES, first_line, library_namespace
from spectra.errors import BackendError
from spectra.protocols import Array

__all__ = ["device_name", "library_of", "to_library"]


def library_of(x: Array) -> str:
    """Return the name of the library of an array: one in `LIBRARIES`, or of its module.

    Raises
    ------
    BackendError
        If ``x`` is not an array.

    Examples
    --------
    >>> library_of(np.ones(2))
    'numpy'
    """
    return describe(x).partition(" ")[0]


def device_name(x: Array) -> str:
    """Return the device of an array as `to_library` takes it.

    Examples
    --------
    >>> device_name(np.ones(2))
    'cpu'
    """
    if library_of(x) == "cupy":
        return f"cuda:{x.device.id}"
    return str(device_of(x)) if library_of(x) == "torch" else "cpu"


def to_library(x: Array, library: str, *, device: str | None = None, copy: bool | None = None) -> Array:
    """Return an array of another library with the same numbers, by DLPack: without a copy where that is possible.

    Memory is shared if the array stays on its device, so that PyTorch and CuPy share it on a GPU, and PyTorch and NumPy
    on the CPU; a write then shows on both sides. It is copied where the device changes, and where the other library
    could not respect the array: PyTorch would write into read-only NumPy arrays, and cannot hold negative strides.

    Parameters
    ----------
    x : array
        Of any library.
    library : str
        A name in `LIBRARIES`.
    device : str, optional
        ``"cpu"``, ``"cuda"`` or ``"cuda:1"``. By default the array stays where it is if the library can, else it goes
        to that library's device.
    copy : bool, optional
        True: always copy. False: never, raise instead. None: only if needed.

    Returns
    -------
    array
        A tensor comes without its record of derivatives.

    Raises
    ------
    BackendError
        If ``x`` is no array; if the library is missing or has no device; if the device does not exist there; if the
        libraries have no common dtype or layout (sparse, half precision for NumPy); or if ``copy=False`` is impossible.
    ArgumentError
        If the library is not supported.

    Notes
    -----
    No products. Only a change of device waits for it.

    Source: the array API standard, ``from_dlpack``.

    Examples
    --------
    >>> x = np.arange(3.0)
    >>> np.shares_memory(to_library(x, "numpy"), x)
    True
    """
    if not is_array(x):
        raise BackendError(f"an array is required, got {type(x).__name__}; convert it first, as with numpy.asarray")
    xp = library_namespace(library)
    source, wanted = detach(x), _target(x, library, device)
    shared = wanted == device_name(source) and (library_of(source) == library or _can_be_shared(source))
    if copy is False and not shared:
        raise BackendError(f"{describe(x)} cannot be handed to {library} on {wanted} without a copy; leave copy=None")
    try:
        if not shared:
            return _through_host(source, library, wanted)
        if library_of(source) != library:
            source = np.from_dlpack(source) if library == "numpy" else xp.from_dlpack(source)
        elif not getattr(x, "requires_grad", False):
            source = x  # detaching makes a new object
        return xp.asarray(source, copy=True) if copy else source
    except Exception as error:  # each library has its own classes for what it cannot exchange
        raise BackendError(
            f"{describe(x)} cannot become a {library} array on {wanted} ({first_line(error)}); "
            "dense float32 and float64 arrays can"
        ) from None


def _target(x: Array, library: str, device: str | None) -> str:
    """Return where the array shall live; raise unless the library holds arrays there."""
    allowed, here = LIBRARIES[library].devices, device_name(x)
    if device is None:
        device = here if here.partition(":")[0] in allowed else allowed[0]
    kind, _, index = str(device).partition(":")
    if kind not in allowed or (index and not index.isdecimal()):
        raise BackendError(f"{library} holds arrays on {' or '.join(allowed)}, got device {device!r}")
    if kind == "cpu":
        return "cpu"
    return f"cuda:{index}" if index else here if here.startswith("cuda") else "cuda:0"


def _can_be_shared(x: Array) -> bool:
    """Whether another library may hold the memory of an array: PyTorch aborts on negative strides."""
    if library_of(x) != "numpy":
        return True
    return bool(x.flags.writeable) and all(stride >= 0 for stride in x.strides)


def _through_host(x: Array, library: str, wanted: str) -> Array:
    """Copy an array to another library and device by way of the host."""
    origin, xp = library_of(x), library_namespace(library)
    host = x.get() if origin == "cupy" else x.cpu().numpy() if origin == "torch" else np.from_dlpack(x)
    if library == "cupy":
        with importlib.import_module("cupy").cuda.Device(int(wanted.partition(":")[2])):
            return xp.asarray(host)
    if library == "numpy":
        return host
    return xp.asarray(np.array(host), device=wanted) if library == "torch" else xp.from_dlpack(np.array(host))
