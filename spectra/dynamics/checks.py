"""Checks of one prediction by real training at several learning rates, as one dataset."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from spectra.errors import ArgumentError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["CHECKS_SCHEMA", "CHECKS_SCHEMA_VERSION", "VERDICT", "checks_dataset"]

CHECKS_SCHEMA = "spectra/linearization-checks"
CHECKS_SCHEMA_VERSION = 1

#: What a check of the linearization concludes, by the names of its attributes.
VERDICT = ("trusted_steps", "trusted_epochs", "is_trusted_throughout", "ended", "off_step", "closer", "reason")


def checks_dataset(checks: "Sequence[xr.Dataset]") -> "xr.Dataset":
    """Return checks of one problem at several learning rates as one dataset, for the child ``check`` of the tree.

    Parameters
    ----------
    checks : sequence of xarray.Dataset
        From :func:`probes.check_linearization`, with the same steps, runs and batch size.

    Returns
    -------
    xarray.Dataset
        Dimensions ``learning_rate`` (ascending), ``run`` and ``step``: the variables of a check, and its verdict
        ``trusted_steps``, ``trusted_epochs``, ``is_trusted_throughout``, ``ended``, ``off_step``, ``closer`` and
        ``reason`` along ``learning_rate``. Attributes: the settings that all have.

    Raises
    ------
    ArgumentError
        Without a check.
    """
    import xarray as xr

    if len(checks) == 0:
        raise ArgumentError("at least one check is needed")
    rows = []
    for check in sorted(checks, key=lambda found: float(found.attrs["learning_rate"])):
        row = check.assign({name: check.attrs[name] for name in VERDICT})
        row = row.assign_coords(learning_rate=float(check.attrs["learning_rate"]))
        rows.append(row.drop_attrs(deep=False).assign_attrs(_settings_of(check)))
    found = xr.concat(
        rows, dim="learning_rate", data_vars="all", coords="minimal", compat="equals", combine_attrs="drop_conflicts"
    )
    return found.assign_attrs(schema=CHECKS_SCHEMA, schema_version=CHECKS_SCHEMA_VERSION)


def _settings_of(check: "xr.Dataset") -> dict[str, Any]:
    return {name: value for name, value in check.attrs.items() if name not in (*VERDICT, "learning_rate")}
