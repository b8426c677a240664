"""Lanczos runs of many probes, group by group, that can be continued with more probes or more steps."""

from typing import TYPE_CHECKING, Any, final

import numpy as np

from spectra.arrays import dtype_name, eps, to_host
from spectra.deflation import MAX_REFERENCES
from spectra.errors import ArgumentError, SchemaError
from spectra.lanczos import Iteration
from spectra.operators import Operator
from spectra.probe_tables import ProbeTables
from spectra.products import Products
from spectra.protocols import Array, Progress
from spectra.start_vectors import Distribution, start_vectors, unit_rows
from spectra.tridiagonal import Ritz

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
        # Signs are not uniform on the sphere of the complement, which the deflated weights rely on.
        resolve = self.reorthogonalize and self.distribution != "rademacher"
        self._tables = ProbeTables(dimension=self.operator.shape[0], eps=eps(self.operator.like), resolve=resolve)

    @property
    def num_probes(self) -> int:
        """Probes done."""
        return sum(i.vectors.shape[0] for i in self._iterations) if self.keep else self._tables.num_probes

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
        return self._tables.variables()

    def _absorb(self, iteration: Iteration) -> None:
        """Add a finished group of probes to the tables."""
        first = self._tables.num_probes
        count = min(first + iteration.vectors.shape[0], MAX_REFERENCES)
        self._tables.absorb(iteration, lambda: self._references(iteration, count, first))

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
            run._tables.diagonal.append(table["diagonal"][i, :k])
            run._tables.off_diagonal.append(table["off_diagonal"][i, :k])
            run._tables.nodes.append(Ritz(*(table[name][i, :k] for name in ("ritz_value", "weight", "residual"))))
        run._recognize()
        if "multiplicity" in measure:
            index, overlaps = measure["resolved_index"].values, measure["resolved_overlap"].values
            for k in range(measure.sizes["resolved"]):
                value = float(table["ritz_value"][0, np.argmax(index[0] == k)])
                run._tables.overlaps[value] = [row[~np.isnan(row)] for row in overlaps[k]]
        return run

    def _recognize(self) -> None:
        """Raise unless ``v' A v`` of the first probe is the one that the tables hold."""
        products = Products(self.operator)
        start = start_vectors(self.operator.like, num=1, rng=self.seed, distribution=self.distribution)
        row = unit_rows(start, self.operator)[0]
        image = products.multiply(products.xp.matrix_transpose(row))
        again = float(products.unscaled(to_host(products.xp.matmul(row, image)))[0, 0])
        self.num_matvecs += 1
        norm = float(np.max(np.abs(self._tables.nodes[0].values)))
        if abs(again - self._tables.diagonal[0][0]) > np.sqrt(eps(row)) * norm:
            raise ArgumentError(
                f"{self.operator.name!r} is not the operator that was measured: the first product of probe 0 gives "
                f"v'Av = {again:.9g}, in place of {self._tables.diagonal[0][0]:.9g}"
            )


def _shifted(progress: Progress, done: int, total: int) -> Progress:
    """Return a callback that counts from ``done`` on."""
    return lambda steps, _: progress(done + steps, total)
