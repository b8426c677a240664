"""What a measurement has found so far, and its form as a run."""

import time
from dataclasses import asdict, dataclass, field

import numpy as np
import xarray as xr

from probes.cost import Cost

__all__ = ["Record"]


@dataclass
class Record:
    """What has been measured so far; becomes the run."""

    attrs: dict
    cost: Cost
    stages: list[xr.Dataset] = field(default_factory=list)
    spectrum: xr.Dataset | None = None
    losses: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    candidates: list[xr.Dataset] = field(default_factory=list)
    confirmations: list[xr.Dataset] = field(default_factory=list)
    candidates_complete: bool = False
    started: float = field(default_factory=time.perf_counter)

    def to_tree(self) -> xr.DataTree:
        """Return the run: attributes, stages, candidates, training losses, spectral measure, as far as they exist."""
        attrs = dict(self.attrs)
        attrs["notes"] = "\n".join(self.notes)
        attrs["remarks"] = "\n".join(self.remarks)
        attrs.update(asdict(self.cost))
        attrs["seconds"] = time.perf_counter() - self.started
        complete = (
            len(self.stages) == attrs["num_planned_stages"]
            and not (self.spectrum is None and attrs["planned_spectrum"])
            and (self.candidates_complete or not attrs["planned_candidates"])
        )
        attrs["status"] = "complete" if complete else "interrupted"
        parts = {"/": xr.Dataset(attrs=attrs)}
        if self.stages:
            parts["/stages"] = xr.concat(self.stages, dim="stage", join="exact", combine_attrs="drop")
        for name, tried in (("candidates", self.candidates), ("confirmations", self.confirmations)):
            if tried:
                ordered = sorted(tried, key=lambda candidate: float(candidate["learning_rate"]))
                parts[f"/{name}"] = xr.concat(ordered, dim="candidate", join="exact", combine_attrs="drop")
        if self.losses:
            parts["/probe_steps"] = xr.Dataset(
                {"loss": ("step", np.array(self.losses))}, coords={"step": np.arange(len(self.losses))}
            )
        if self.spectrum is not None:
            parts["/spectrum"] = self.spectrum
        return xr.DataTree.from_dict(parts)
