"""The trace as a list of samples, as PyHessian returns it, and their mean with an interval."""

from collections.abc import Sequence

import numpy as np

from spectra.arrays import finite_number, inner, to_host
from spectra.errors import ArgumentError
from spectra.estimates import Estimate
from spectra.operators import Operator
from spectra.start_vectors import as_count, as_seed, start_vectors
from spectra.stochastic_trace import as_level, student
from spectra.trace_estimators import ROUNDING, TraceSamples

__all__ = ["mean_of", "sample_trace"]

#: Samples between two looks at their standard error: where Student's t begins to cover, see `spectra.slq`.
_LOOK = 10


def sample_trace(
    operator: Operator, *, limit: int, tolerance: float, rng: int | np.random.Generator = 0
) -> list[float]:
    """Return samples ``v'Av`` for random signs v, until the standard error of their mean is small enough.

    Parameters
    ----------
    operator : Operator, shape (n, n)
    limit : int
        Samples at most; one product each, ten in a block.
    tolerance : float
        Wanted standard error of the mean, relative to its modulus; looked at after every ten samples.
    rng : int or numpy.random.Generator
        Seed; sample i depends on (seed, i) only.

    Raises
    ------
    ArgumentError
        ``limit`` or ``tolerance`` is not positive.

    Notes
    -----
    Source: Girard (1989); Hutchinson (1990).

    Examples
    --------
    Signs have no variance on a diagonal matrix:

    >>> operator = Operator(lambda V: -2.0 * V, like=np.zeros(3))
    >>> sample_trace(operator, limit=100, tolerance=1e-3) == [-6.0] * 10
    True
    """
    limit = as_count(limit, name="maxIter")
    if not finite_number(tolerance, name="tol") > 0:
        raise ArgumentError(f"tol must be positive, got {tolerance!r}")
    seed, samples = as_seed(rng), list[float]()
    while len(samples) < limit:
        num = min(_LOOK, limit - len(samples))
        signs = start_vectors(operator.like, num=num, rng=seed, first=len(samples), distribution="rademacher")
        samples += to_host(inner(signs.T, (operator @ signs).T)).tolist()
        if len(samples) >= _LOOK:
            stderr = np.std(samples, ddof=1) / np.sqrt(len(samples))
            if stderr <= tolerance * abs(np.mean(samples)):
                break
    return samples


def mean_of(samples: Sequence[float], *, eps: float, level: float = 0.95) -> Estimate:
    """Return the mean of independent samples with its interval by Student's t, widened by rounding at ``eps``.

    Examples
    --------
    >>> print(mean_of([1.0, 2.0, 3.0], eps=2.2e-16))
    2 [-0.4841, 4.484] at 95% (3 matvecs)
    """
    level = as_level(level)
    values = np.array(samples)
    rounding = ROUNDING * eps * float(np.mean(np.abs(values)))
    found = TraceSamples(samples=values, without=None, rounding=rounding)
    half_width = None if found.stderr is None else student(level, len(values)) * found.stderr + rounding
    return Estimate(
        value=found.value,
        stderr=found.stderr,
        low=None if half_width is None else found.value - half_width,
        high=None if half_width is None else found.value + half_width,
        level=level,
        covers="nothing: no interval is given" if half_width is None else "random probes (Student t), and rounding",
        num_matvecs=len(values),
    )
