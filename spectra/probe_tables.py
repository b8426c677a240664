"""What is kept of Lanczos runs once they are done: tridiagonal matrices, nodes, and what all probes have resolved."""

from collections.abc import Callable
from typing import Any, final

import numpy as np

from spectra.deflation import MAX_REFERENCES, Resolved, multiplicity, resolved_by_all, ritz_overlaps
from spectra.lanczos import Iteration
from spectra.protocols import Array
from spectra.tridiagonal import Ritz, Tridiagonal, ritz

__all__ = ["ProbeTables"]


@final
class ProbeTables:
    """Tables of the probes 0, 1, 2, ... of one operator: small, NumPy float64, on the host.

    Parameters
    ----------
    dimension : int
        Order n of the operator.
    eps : float
        Of its products.
    resolve : bool
        Whether to look for eigenvalues that all probes have resolved. That needs their bases, and start vectors
        uniform on the sphere: signs are not uniform on the sphere of the complement, which deflated weights rely on.

    Attributes
    ----------
    diagonal, off_diagonal : list of ndarray, shape (k,)
        Tridiagonal matrix of each probe.
    nodes : list of Ritz
        Ritz values, weights and residuals of each probe.
    overlaps : dict
        For each resolved eigenvalue, by its Ritz value in probe 0, one row of `ritz_overlaps` per probe.
    """

    def __init__(self, *, dimension: int, eps: float, resolve: bool) -> None:
        self._dimension, self._eps, self._resolve = dimension, eps, resolve
        self.diagonal: list[np.ndarray] = []
        self.off_diagonal: list[np.ndarray] = []
        self.nodes: list[Ritz] = []
        self.overlaps: dict[float, list[np.ndarray]] = {}

    @property
    def num_probes(self) -> int:
        """Probes in the tables."""
        return len(self.nodes)

    def absorb(self, iteration: Iteration, references: Callable[[], Array]) -> None:
        """Add a finished group of probes.

        Parameters
        ----------
        iteration : Iteration
            With its basis, if ``resolve``.
        references : callable
            Returns unit start vectors of the first probes, shape (r, n), as many as there are with this group, at most
            `MAX_REFERENCES`; called where eigenvalues are resolved.
        """
        first = len(self.nodes)
        found = iteration.tridiagonal()
        for i, k in enumerate(found.num_steps):
            self.diagonal.append(found.diagonal[i, :k])
            self.off_diagonal.append(found.off_diagonal[i, :k])
            self.nodes.append(ritz(found.diagonal[i], found.off_diagonal[i], int(k)))
        resolved = self.resolved()
        rows = self._overlap_rows(iteration, found, resolved, references, first=first)
        old = self.overlaps
        # A file of an older schema has no overlaps for its probes.
        known = [(k, r.value) for k, r in enumerate(resolved) if first == 0 or r.value in old]
        self.overlaps = {value: old.get(value, []) + rows[k] for k, value in known}

    def resolved(self) -> list[Resolved]:
        """Return the eigenvalues resolved by all probes so far."""
        return resolved_by_all(self.nodes, dimension=self._dimension, eps=self._eps) if self._resolve else []

    def variables(self) -> dict[str, Any]:
        """Return the variables of a spectral measure, each as dimensions, values and attributes."""
        p, m = len(self.nodes), max(len(nodes.values) for nodes in self.nodes)
        values, residuals = np.full((p, m), np.nan), np.full((p, m), np.nan)
        weights, diagonal, off_diagonal = np.zeros((p, m)), np.zeros((p, m)), np.zeros((p, m))
        for i, nodes in enumerate(self.nodes):
            k = len(nodes.values)
            values[i, :k], weights[i, :k], residuals[i, :k] = nodes
            diagonal[i, :k], off_diagonal[i, :k] = self.diagonal[i], self.off_diagonal[i]
        count = np.array([len(nodes.values) for nodes in self.nodes], dtype=np.int64)
        return {
            "ritz_value": (("probe", "node"), values, {"long_name": "Ritz value"}),
            "weight": (("probe", "node"), weights, {"long_name": "quadrature weight, sum 1 per probe"}),
            "residual": (("probe", "node"), residuals, {"long_name": "distance to an eigenvalue, at most"}),
            "diagonal": (("probe", "step"), diagonal, {"long_name": "diagonal of T"}),
            "off_diagonal": (("probe", "step"), off_diagonal, {"long_name": "coupling to the next step"}),
            "num_nodes": (("probe",), count, {"long_name": "nodes of the probe"}),
            **self._resolved_variables(p, m),
        }

    def _resolved_variables(self, p: int, m: int) -> dict[str, Any]:
        """Return the variables of the resolved eigenvalues; none where there are none."""
        found = [r for r in self.resolved() if r.value in self.overlaps]
        if not found:
            return {}
        r = min(p, MAX_REFERENCES)
        overlaps = np.full((len(found), p, r), np.nan)
        index = np.full((p, m), -1, dtype=np.int64)
        for k, eigenvalue in enumerate(found):
            for j, members in enumerate(eigenvalue.members):
                index[j, members] = k
                row = self.overlaps[eigenvalue.value][j]
                overlaps[k, j, : len(row)] = row
        times = np.array([multiplicity(o, f.angle) for o, f in zip(overlaps, found, strict=True)], dtype=np.int64)
        return {
            "resolved_index": (("probe", "node"), index, {"long_name": "resolved eigenvalue of the node, or -1"}),
            "resolved_overlap": (("resolved", "probe", "reference"), overlaps, {"long_name": "Ritz vector on start"}),
            "multiplicity": (("resolved",), times, {"long_name": "multiplicity, 0 if unknown"}),
        }

    def _overlap_rows(
        self,
        iteration: Iteration,
        found: Tridiagonal,
        resolved: list[Resolved],
        references: Callable[[], Array],
        *,
        first: int,
    ) -> list[list[np.ndarray]]:
        """Return for each resolved eigenvalue one row of overlaps per probe of the group."""
        if not resolved:
            return []
        members = [r.members[first:] for r in resolved]
        overlaps = ritz_overlaps(iteration, found, members, references(), first=first)
        return [[row[~np.isnan(row)] for row in matrix] for matrix in overlaps]
