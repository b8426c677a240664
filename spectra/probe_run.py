"""Lanczos runs of many probes, group by group, that can be continued with more probes or more steps."""

from typing import TYPE_CHECKING, Any, final

import numpy as np

from spectra.arrays import dtype_name, eps, to_host
from spectra.deflation import MAX_REFERENCES, Resolved, multiplicity, resolved_by_all, ritz_overlaps
from spectra.errors import ArgumentError, SchemaError
from spectra.lanczos import Iteration
from spectra.operators import Operator
from spectra.products import Products
from spectra.protocols import Array, Progress
from spectra.start_vectors import Distribution, start_vectors, unit_rows
from spectra.tridiagonal import Ritz, Tridiagonal, ritz

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ProbeRun"]

_GROWTH_ROWS = 10


@final
class ProbeRun:
    """Tridiagonal matrices of probes 0, 1, 2, ... of one seed, and the eigenvalues all of them have resolved.

    Parameters
    ----------
    operator : Operator
        Symmetric, order n.
    seed, distribution, num_steps, reorthogonalize, max_basis_bytes
        As for `spectra.slq`.

    Attributes
    ----------
    keep : bool
        Whether to keep the bases, for `add_steps`. Otherwise a group of probes gives up its basis when it is done.
    num_probes, num_matvecs : int
    defects : dict
        What the checks of symmetry and repetition found.
    """

    def __init__(
        self,
        operator: Operator,
        *,
        seed: int,
        distribution: Distribution,
        num_steps: int,
        reorthogonalize: bool,
        max_basis_bytes: int,
    ) -> None:
        self.operator, self.seed, self.distribution = operator, seed, distribution
        self.num_steps, self.reorthogonalize, self.max_basis_bytes = num_steps, reorthogonalize, max_basis_bytes
        self.keep = False
        self.num_matvecs = 0
        self.defects: dict[str, float] = {}
        self._iterations: list[Iteration] = []
        self._clear()

    def _clear(self) -> None:
        """Forget the tables."""
        self._diagonal: list[np.ndarray] = []
        self._off_diagonal: list[np.ndarray] = []
        self._nodes: list[Ritz] = []
        self._overlaps: dict[float, list[np.ndarray]] = {}  # by Ritz value of probe 0: one row per probe

    @property
    def num_probes(self) -> int:
        """Probes done."""
        return sum(i.vectors.shape[0] for i in self._iterations) if self.keep else len(self._nodes)

    @property
    def _row_bytes(self) -> int:
        """Memory of one vector."""
        return self.operator.shape[0] * np.dtype(dtype_name(self.operator.dtype)).itemsize

    def add_probes(self, num: int, *, check_symmetry: bool, progress: Progress | None) -> None:
        """Run further probes, as many at a time as the memory for their bases allows."""
        fit = self.max_basis_bytes // (self.num_steps * self._row_bytes) if self.reorthogonalize else num
        if fit < 1:
            raise ArgumentError(
                f"the basis of one probe takes {self.num_steps * self._row_bytes} bytes, more than max_basis_bytes = "
                f"{self.max_basis_bytes}; allow more, take fewer num_steps, or pass reorthogonalize=False"
            )
        groups = [min(fit, num - done) for done in range(0, num, fit)]
        for g, width in enumerate(groups):
            start = start_vectors(
                self.operator.like, num=width, rng=self.seed, first=self.num_probes, distribution=self.distribution
            )
            rows = min(_GROWTH_ROWS, self.num_steps) if self.keep else self.num_steps
            store = rows if self.reorthogonalize else 0
            iteration = Iteration(self.operator, start, store=store, reorthogonalize=self.reorthogonalize)
            del start
            if check_symmetry and g == 0:
                self.defects["repeat_defect"] = iteration.repeat_defect()
                self.defects["symmetry_defect"] = iteration.symmetry_defect()
            report = None if progress is None else _shifted(progress, g * self.num_steps, len(groups) * self.num_steps)
            iteration.advance(self.num_steps - iteration.num_done, progress=report, total=self.num_steps)
            self.num_matvecs += iteration.num_matvecs
            if self.keep:
                self._iterations.append(iteration)
            else:
                self._absorb(iteration)

    def can_add_probes(self, num: int) -> bool:
        """Whether the bases of further probes fit beside the kept ones."""
        return (self.num_probes + num) * self.num_steps * self._row_bytes <= self.max_basis_bytes

    def can_add_steps(self, num: int) -> bool:
        """Whether the kept bases can grow: in memory, and in the Krylov spaces."""
        fits = self.num_probes * (self.num_steps + num) * self._row_bytes <= self.max_basis_bytes
        return fits and not all(iteration.exhausted for iteration in self._iterations)

    def add_steps(self, num: int) -> None:
        """Continue every kept probe."""
        for iteration in self._iterations:
            before = iteration.num_matvecs
            iteration.advance(num)
            self.num_matvecs += iteration.num_matvecs - before
        self.num_steps = max(iteration.num_done for iteration in self._iterations)

    def variables(self) -> dict[str, Any]:
        """Return the variables of a spectral measure, each as dimensions, values and attributes."""
        if self.keep:
            self._clear()
            for iteration in self._iterations:
                self._absorb(iteration)
        p, m = len(self._nodes), max(len(nodes.values) for nodes in self._nodes)
        values, residuals = np.full((p, m), np.nan), np.full((p, m), np.nan)
        weights, diagonal, off_diagonal = np.zeros((p, m)), np.zeros((p, m)), np.zeros((p, m))
        for i, nodes in enumerate(self._nodes):
            k = len(nodes.values)
            values[i, :k], weights[i, :k], residuals[i, :k] = nodes
            diagonal[i, :k], off_diagonal[i, :k] = self._diagonal[i], self._off_diagonal[i]
        count = np.array([len(nodes.values) for nodes in self._nodes], dtype=np.int64)
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
        found = [r for r in self._resolved() if r.value in self._overlaps]
        if not found:
            return {}
        r = min(p, MAX_REFERENCES)
        overlaps = np.full((len(found), p, r), np.nan)
        index = np.full((p, m), -1, dtype=np.int64)
        for k, eigenvalue in enumerate(found):
            for j, members in enumerate(eigenvalue.members):
                index[j, members] = k
                row = self._overlaps[eigenvalue.value][j]
                overlaps[k, j, : len(row)] = row
        times = np.array([multiplicity(o, f.angle) for o, f in zip(overlaps, found, strict=True)], dtype=np.int64)
        return {
            "resolved_index": (("probe", "node"), index, {"long_name": "resolved eigenvalue of the node, or -1"}),
            "resolved_overlap": (("resolved", "probe", "reference"), overlaps, {"long_name": "Ritz vector on start"}),
            "multiplicity": (("resolved",), times, {"long_name": "multiplicity, 0 if unknown"}),
        }

    def _resolved(self) -> list[Resolved]:
        """Return the eigenvalues resolved by all probes so far."""
        # Signs are not uniform on the sphere of the complement, which the deflated weights rely on.
        if not self.reorthogonalize or self.distribution == "rademacher":
            return []
        return resolved_by_all(self._nodes, dimension=self.operator.shape[0], eps=eps(self.operator.like))

    def _absorb(self, iteration: Iteration) -> None:
        """Add a finished group of probes to the tables."""
        first = len(self._nodes)
        found = iteration.tridiagonal()
        for i, k in enumerate(found.num_steps):
            self._diagonal.append(found.diagonal[i, :k])
            self._off_diagonal.append(found.off_diagonal[i, :k])
            self._nodes.append(ritz(found.diagonal[i], found.off_diagonal[i], int(k)))
        resolved = self._resolved()
        rows = self._overlap_rows(iteration, found, resolved, first=first)
        old = self._overlaps
        # A file of an older schema has no overlaps for its probes.
        known = [(k, r.value) for k, r in enumerate(resolved) if first == 0 or r.value in old]
        self._overlaps = {value: old.get(value, []) + rows[k] for k, value in known}

    def _overlap_rows(
        self, iteration: Iteration, found: Tridiagonal, resolved: list[Resolved], *, first: int
    ) -> list[list[np.ndarray]]:
        """Return for each resolved eigenvalue one row of overlaps per probe of the group."""
        if not resolved:
            return []
        members = [r.members[first:] for r in resolved]
        count = min(len(self._nodes), MAX_REFERENCES)
        overlaps = ritz_overlaps(iteration, found, members, self._references(iteration, count, first), first=first)
        return [[row[~np.isnan(row)] for row in matrix] for matrix in overlaps]

    def _references(self, iteration: Iteration, count: int, first: int) -> Array:
        """Return the first unit start vectors as rows."""
        if first == 0 and count <= iteration.vectors.shape[0]:
            return iteration.first_vectors(count)
        start = start_vectors(self.operator.like, num=count, rng=self.seed, distribution=self.distribution)
        return unit_rows(start, self.operator)[0]

    @classmethod
    def resume(cls, operator: Operator, measure: "xr.Dataset") -> "ProbeRun":
        """Return the run behind a measure, ready for more probes; costs one product to recognize the operator."""
        attrs = measure.attrs
        if attrs.get("method", "slq") != "slq":
            raise SchemaError(f"only measures of spectra.slq can be extended, got method {attrs['method']!r}")
        expected = (int(attrs["dimension"]), attrs["dtype"])
        if (operator.shape[0], dtype_name(operator.dtype)) != expected:
            raise ArgumentError(
                f"the operator measured had order {expected[0]} and dtype {expected[1]}, got {operator!r}; "
                "pass the same operator"
            )
        run = cls(
            operator,
            seed=int(attrs["seed"]),
            distribution=attrs["distribution"],
            num_steps=int(attrs.get("num_steps", measure.sizes["step"])),
            reorthogonalize=bool(attrs.get("reorthogonalized", 1)),
            max_basis_bytes=2**32,
        )
        count = measure["num_nodes"].values
        table = {
            name: measure[name].values for name in ("diagonal", "off_diagonal", "ritz_value", "weight", "residual")
        }
        for i, k in enumerate(count):
            run._diagonal.append(table["diagonal"][i, :k])
            run._off_diagonal.append(table["off_diagonal"][i, :k])
            run._nodes.append(Ritz(*(table[name][i, :k] for name in ("ritz_value", "weight", "residual"))))
        run._recognize()
        if "multiplicity" in measure:
            index, overlaps = measure["resolved_index"].values, measure["resolved_overlap"].values
            for k in range(measure.sizes["resolved"]):
                value = float(table["ritz_value"][0, np.argmax(index[0] == k)])
                run._overlaps[value] = [row[~np.isnan(row)] for row in overlaps[k]]
        return run

    def _recognize(self) -> None:
        """Raise unless ``v' A v`` of the first probe is the one that the tables hold."""
        products = Products(self.operator)
        start = start_vectors(self.operator.like, num=1, rng=self.seed, distribution=self.distribution)
        row = unit_rows(start, self.operator)[0]
        image = products.multiply(products.xp.matrix_transpose(row))
        again = float(products.unscaled(to_host(products.xp.matmul(row, image)))[0, 0])
        self.num_matvecs += 1
        norm = float(np.max(np.abs(self._nodes[0].values)))
        if abs(again - self._diagonal[0][0]) > np.sqrt(eps(row)) * norm:
            raise ArgumentError(
                f"{self.operator.name!r} is not the operator that was measured: the first product of probe 0 gives "
                f"v'Av = {again:.9g}, in place of {self._diagonal[0][0]:.9g}"
            )


def _shifted(progress: Progress, done: int, total: int) -> Progress:
    """Return a callback that counts from ``done`` on."""
    return lambda steps, _: progress(done + steps, total)
