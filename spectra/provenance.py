"""Where a result came from: when, with which software, on which kind of machine."""

import importlib
import json
import platform
import sys
from datetime import UTC, datetime

__all__ = ["provenance"]

REQUIRED = ("numpy", "scipy", "xarray")
IF_IMPORTED = ("torch", "cupy")


def provenance(**extra: object) -> dict[str, object]:
    """Return attributes that say where a result came from.

    Parameters
    ----------
    **extra : object
        Further attributes, e.g. ``seed=0``; they come last and may replace the ones below.

    Returns
    -------
    dict
        ``created`` (UTC, ISO 8601, whole seconds), ``software`` (JSON text: name to version; PyTorch and CuPy only
        if this process has imported them) and ``platform``. All of them fit into netCDF and Zarr attributes.

    Examples
    --------
    >>> attrs = provenance(seed=3)
    >>> sorted(attrs)
    ['created', 'platform', 'seed', 'software']
    >>> {"numpy", "python", "spectra"} <= set(json.loads(attrs["software"]))
    True
    """
    versions = {"spectra": _version(sys.modules["spectra"]), "python": platform.python_version()}
    versions |= {name: _version(importlib.import_module(name)) for name in REQUIRED}
    imported = [name for name in IF_IMPORTED if sys.modules.get(name) is not None]
    versions |= {name: _version(sys.modules[name]) for name in imported}
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": json.dumps(versions),
        "platform": platform.platform(),
        **extra,
    }


def _version(module: object) -> str:
    return str(getattr(module, "__version__", "unknown"))
