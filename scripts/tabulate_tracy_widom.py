"""Compute the Chebyshev coefficients of `spectra.laws.tracy_widom_table`, from Fredholm determinants.

Run ``python scripts/tabulate_tracy_widom.py > spectra/laws/tracy_widom_table.py`` and format the file. Needs mpmath and
takes some minutes.

Left of the joint it tabulates the logarithm of the distribution function, in 50 digits, since there the determinant
is the product of many small factors; right of it the logarithm of the survival function, for which float64 keeps all
relative digits. Right of the joint the variable is the square root of ``s`` plus an offset, in which
that logarithm is nearly a cubic. Coefficients fall below 1e-13 of the first.

Method: Bornemann (2010). Kernels: Ferrari and Spohn (2005) for beta = 1, Tracy and Widom (1994) for beta = 2.
"""

import sys
from functools import partial

import mpmath
import numpy as np
from numpy.polynomial import chebyshev
from scipy.special import airy

LEFT, JOINT, RIGHT = -10.0, -1.0, 60.0
OFFSET = 4.0
NUM_LEFT, NUM_RIGHT = 34, 60
DIGITS = 50
NODES = {1: 100, 2: 64}
NODES_RIGHT = 96


def nodes_in_digits(count: int) -> tuple[list, list]:
    """Return Gauss-Legendre nodes and weights on [-1, 1], float64 nodes polished by Newton's method."""
    points, weights = [], []
    for start in np.polynomial.legendre.leggauss(count)[0]:
        x = mpmath.mpf(float(start))
        for _ in range(4):
            before, value = mpmath.mpf(1), x
            for k in range(2, count + 1):
                before, value = value, ((2 * k - 1) * x * value - (k - 1) * before) / k
            slope = count * (x * value - before) / (x * x - 1)
            x -= value / slope
        before, value = mpmath.mpf(1), x
        for k in range(2, count + 1):
            before, value = value, ((2 * k - 1) * x * value - (k - 1) * before) / k
        slope = count * (x * value - before) / (x * x - 1)
        points.append(x)
        weights.append(2 / ((1 - x * x) * slope**2))
    return points, weights


def log_cdf_in_digits(s: float, beta: int, rule: tuple[list, list]) -> float:
    """Return the logarithm of the distribution function by a determinant of 50 digits."""
    length = mpmath.mpf(60 if beta == 1 else 30)
    x = [mpmath.mpf(s) + length * (1 + t) / 2 for t in rule[0]]
    root = [mpmath.sqrt(w * length / 2) for w in rule[1]]
    count = len(x)
    matrix = mpmath.matrix(count, count)
    if beta == 2:
        value = [mpmath.airyai(t) for t in x]
        slope = [mpmath.airyai(t, derivative=1) for t in x]
    for i in range(count):
        for j in range(i + 1):
            if beta == 1:
                kernel = mpmath.airyai((x[i] + x[j]) / 2) / 2
            elif i == j:
                kernel = slope[i] ** 2 - x[i] * value[i] ** 2
            else:
                kernel = (value[i] * slope[j] - slope[i] * value[j]) / (x[i] - x[j])
            matrix[i, j] = matrix[j, i] = (1 if i == j else 0) - root[i] * kernel * root[j]
    return float(mpmath.log(mpmath.det(matrix)))


def log_sf(s: float, beta: int, rule: tuple[list, list]) -> float:
    """Return the logarithm of the survival function by float64 eigenvalues; rules of float64 are off by 1e-12."""
    length = max(30.0 - 2.0 * min(s, 0.0), 16.0) if beta == 1 else max(16.0 - s, 8.0)
    x = s + 0.5 * length * np.array([float(1 + t) for t in rule[0]])
    root = np.sqrt(0.5 * length * np.array([float(w) for w in rule[1]]))
    if beta == 1:
        kernel = 0.5 * airy(0.5 * (x[:, None] + x))[0]
    else:
        value, slope, _, _ = airy(x)
        difference = x[:, None] - x + np.eye(len(x))
        kernel = (value[:, None] * slope - slope[:, None] * value) / difference
        np.fill_diagonal(kernel, slope**2 - x * value**2)
    eigenvalues = np.linalg.eigvalsh(root[:, None] * kernel * root)
    return float(np.log(-np.expm1(np.sum(np.log1p(-eigenvalues)))))


def log_sf_of_root(root: float, beta: int, rule: tuple[list, list]) -> float:
    """Return `log_sf` in the variable of the table."""
    return log_sf(root * root - OFFSET, beta, rule)


def interpolate(function, low: float, high: float, count: int) -> np.ndarray:
    """Return Chebyshev coefficients of the interpolant at Chebyshev points of [low, high]."""
    t = chebyshev.chebpts1(count)
    values = [function(0.5 * (low + high) + 0.5 * (high - low) * u) for u in t]
    return chebyshev.chebfit(t, values, count - 1)


def main() -> None:
    """Print the module."""
    mpmath.mp.dps = DIGITS
    print('"""Chebyshev coefficients of the Tracy-Widom laws, written by scripts/tabulate_tracy_widom.py."""\n')
    print('__all__ = ["JOINT", "LEFT", "LOG_CDF", "LOG_SF", "OFFSET", "RIGHT"]\n')
    print(f"LEFT, JOINT, RIGHT, OFFSET = {LEFT}, {JOINT}, {RIGHT}, {OFFSET}\n")
    tables: dict[str, dict[int, np.ndarray]] = {"LOG_CDF": {}, "LOG_SF": {}}
    for beta in (1, 2):
        rule = nodes_in_digits(NODES[beta])
        log_cdf = partial(log_cdf_in_digits, beta=beta, rule=rule)
        tables["LOG_CDF"][beta] = interpolate(log_cdf, LEFT, JOINT, NUM_LEFT)
        right = nodes_in_digits(NODES_RIGHT)
        ends = np.sqrt(JOINT + OFFSET), np.sqrt(RIGHT + OFFSET)
        tables["LOG_SF"][beta] = interpolate(partial(log_sf_of_root, beta=beta, rule=right), *ends, NUM_RIGHT)
        print(
            f"beta {beta}: last coefficients",
            tables["LOG_CDF"][beta][-3:],
            tables["LOG_SF"][beta][-3:],
            file=sys.stderr,
        )
    meaning = {
        "LOG_CDF": "Logarithm of the distribution function on [LEFT, JOINT].",
        "LOG_SF": "Logarithm of the survival function on [JOINT, RIGHT], as a function of ``sqrt(s + OFFSET)``.",
    }
    for name, table in tables.items():
        print(f"#: {meaning[name]}\n{name}: dict[int, tuple[float, ...]] = {{")
        for beta, coefficients in table.items():
            print(f"    {beta}: ({', '.join(repr(float(c)) for c in coefficients)}),")
        print("}\n")


if __name__ == "__main__":
    main()
