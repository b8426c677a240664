"""What a measurement has found so far, and its form as a run."""

import time
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

__all__ = ["Record"]


@dataclass
class Record:
    """What has been measured so far; becomes the run."""

    attrs: dict
    stages: list[xr.Dataset] = field(default_factory=list)
    spectrum: xr.Dataset | None = None
    losses: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    num_matvecs: int = 0
    num_gradients: int = 0
    started: float = field(default_factory=time.perf_counter)

    def to_tree(self) -> xr.DataTree:
        """Return the run: attributes, stages, training losses and spectral measure, as far as they exist."""
        attrs = dict(self.attrs)
        attrs["notes"] = "\n".join(self.notes)
        attrs["remarks"] = "\n".join(self.remarks)
        attrs["num_matvecs"] = self.num_matvecs
        attrs["num_gradients"] = self.num_gradients
        attrs["seconds"] = time.perf_counter() - self.started
        complete = len(self.stages) == attrs["num_planned_stages"] and not (
            self.spectrum is None and attrs["planned_spectrum"]
        )
        attrs["status"] = "complete" if complete else "interrupted"
        parts = {"/": xr.Dataset(attrs=attrs)}
        if self.stages:
            parts["/stages"] = xr.concat(self.stages, dim="stage", join="exact", combine_attrs="drop")
        if self.losses:
            parts["/probe_steps"] = xr.Dataset(
                {"loss": ("step", np.array(self.losses))}, coords={"step": np.arange(len(self.losses))}
            )
        if self.spectrum is not None:
            parts["/spectrum"] = self.spectrum
        return xr.DataTree.from_dict(parts)
