r"""Methods with a buffer, step by step: momentum, Nesterov, weight decay, and any other linear rule with two states.

For each mode, with error e from the minimizer of the regularized loss and a buffer y,

.. math:: z \leftarrow T z + s\,\xi, \qquad z = (e, y), \qquad
          \operatorname{Var} \xi = c\,(2 \lambda L + \chi \lambda^2 \mathrm{E} e^2),

the mean of z and its second moments obey closed equations. With :math:`\bar z` the mean and
:math:`(P, C, Y) = (w \lambda / 2) \operatorname{Cov} (ee, ey, yy)`,

.. math::
    V &= c\,(w\lambda^2 L + \chi\lambda^2 (P + \text{loss of the mean})), \qquad
    L = L_* + \sum_j (\text{loss of the mean} + P) \\
    P &\leftarrow t_{11}^2 P + 2 t_{11} t_{12} C + t_{12}^2 Y + s_1^2 V, \quad
    C \leftarrow t_{11} t_{21} P + (t_{11} t_{22} + t_{12} t_{21}) C + t_{12} t_{22} Y + s_1 s_2 V, \\
    Y &\leftarrow t_{21}^2 P + 2 t_{21} t_{22} C + t_{22}^2 Y + s_2^2 V.

Derived here in the conventions of ``torch.optim.SGD``; compare Paquette and Paquette (2021), arXiv 2106.03696, for the
heavy ball, and Paquette, Paquette, Adlam and Pennington (2022), arXiv 2205.07069, for weight decay.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spectra.dynamics.population import Population
from spectra.dynamics.quadratic import Quadratic
from spectra.dynamics.recursion import LARGEST, Curve, segments
from spectra.errors import ArgumentError
from spectra.frozen import Vector

__all__ = ["Coefficients", "LinearStep", "heavy_ball_step", "nesterov_step", "response", "two_state_recursion"]


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearStep:
    r"""One step of a linear method for every mode.

    Attributes
    ----------
    matrix : ndarray, shape (2, 2, m)
        T, acting on (error, buffer).
    noise : ndarray, shape (2, m)
        s, by which gradient noise enters error and buffer.
    """

    matrix: Vector
    noise: Vector


Coefficients = Callable[[int, Vector], LinearStep]
"""From step and curvatures (with weight decay), shape (m,), to the step of each mode."""


def heavy_ball_step(curvature: Vector, *, learning_rate: float, momentum: float) -> LinearStep:
    r"""Return a step of ``torch.optim.SGD``: :math:`v \leftarrow \beta v + g,\ x \leftarrow x - \gamma v`.

    Parameters
    ----------
    curvature : ndarray, shape (m,)
    learning_rate, momentum : float
        :math:`\gamma` and :math:`\beta`.

    Returns
    -------
    LinearStep

    Examples
    --------
    >>> heavy_ball_step(np.array([2.0]), learning_rate=0.1, momentum=0.9).matrix[:, :, 0].tolist()
    [[0.8, -0.09], [2.0, 0.9]]
    """
    return _step(
        curvature, 1 - learning_rate * curvature, -learning_rate * momentum, momentum=momentum, entering=-learning_rate
    )


def nesterov_step(curvature: Vector, *, learning_rate: float, momentum: float) -> LinearStep:
    r"""Return a step of ``torch.optim.SGD(nesterov=True)``: :math:`x \leftarrow x - \gamma (g + \beta v)`.

    Parameters
    ----------
    curvature : ndarray, shape (m,)
    learning_rate, momentum : float
        :math:`\gamma` and :math:`\beta`.

    Returns
    -------
    LinearStep

    Examples
    --------
    Without momentum it is plain SGD.

    >>> nesterov_step(np.array([2.0]), learning_rate=0.1, momentum=0.0).matrix[0, :, 0].tolist()
    [0.8, -0.0]
    """
    entering = learning_rate * (1 + momentum)
    return _step(
        curvature, 1 - entering * curvature, -learning_rate * momentum**2, momentum=momentum, entering=-entering
    )


def _step(curvature: Vector, stay: Vector, from_buffer: float, *, momentum: float, entering: float) -> LinearStep:
    same = np.ones_like(curvature)
    return LinearStep(
        matrix=np.array([[stay, from_buffer * same], [curvature, momentum * same]]),
        noise=np.array([entering * same, same]),
    )


def moment_matrix(step: LinearStep) -> Vector:
    """Return the matrix that moves (P, C, Y), shape (m, 3, 3)."""
    (t11, t12), (t21, t22) = step.matrix
    rows = [
        [t11**2, 2 * t11 * t12, t12**2],
        [t11 * t21, t11 * t22 + t12 * t21, t12 * t22],
        [t21**2, 2 * t21 * t22, t22**2],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def response(step: LinearStep) -> Vector:
    """Return what one unit of noise variance adds to (P, C, Y), shape (m, 3)."""
    s1, s2 = step.noise
    return np.stack([s1**2, s1 * s2, s2**2], axis=-1)


def two_state_recursion(
    problem: Quadratic,
    coefficients: Coefficients,
    *,
    noise: Vector,
    chi: Vector,
    record: npt.NDArray[np.int64],
    weight_decay: float = 0.0,
    population: Population | None = None,
) -> Curve:
    r"""Return the expected loss of a linear method with a buffer.

    Parameters
    ----------
    problem : Quadratic
        The modes; with ``coordinates`` for weight decay or a population.
    coefficients : callable
        ``(step, curvature) -> LinearStep``; may depend on the step.
    noise : ndarray, shape () or (num_steps,)
        Sampling factor c.
    chi : ndarray, shape (m,)
        Coefficients of the closure.
    record : ndarray of int
        Steps at which the loss is kept, ascending.
    weight_decay : float
        :math:`\delta`: the gradient is that of :math:`L + \delta |x|^2 / 2`. ``loss`` is always L.
    population : Population, optional
        Another quadratic loss to evaluate along the way.

    Raises
    ------
    ArgumentError
        If weight decay or a population is asked for, and start and minimizer are not known.

    Notes
    -----
    O(m) per step; a population costs one product with a (d, m) matrix and one with its Hessian per record.
    """
    where = problem.coordinates
    if where is None and (weight_decay != 0 or population is not None):
        raise ArgumentError(
            "weight decay and population risk need to know where start and minimizer lie: build the problem with "
            "from_data, which has coordinates"
        )
    total, lam = int(record[-1]), problem.eigenvalue
    factors = np.broadcast_to(noise, (total,))
    curvature = lam + weight_decay
    # Errors are kept in units of the root of the loss: the loss of the mean is (mean + shift)^2.
    if where is None:
        unit, shift, mean = np.ones_like(lam), np.zeros_like(lam), np.sqrt(problem.initial_loss)
    else:
        unit = np.sqrt(lam / 2)
        shift = -weight_decay / curvature * where.solution * unit
        mean = (where.start - where.solution) * unit - shift
    state = np.stack([mean, np.zeros_like(lam)])
    rest = np.array([[1.0], [0.0]])
    moments = np.zeros((lam.size, 3))
    feedback, source = chi * lam**2, problem.multiplicity * lam**2
    measure = population.along(problem) if population is not None else None
    start = problem.floor + float(np.sum(problem.initial_loss))
    limit = LARGEST * max(start, np.finfo(np.float64).tiny)
    losses: list[float] = []
    noise_free: list[float] = []
    risks: list[float] = []
    nodes = np.append(curvature, weight_decay)
    has_feedback, bounded = bool(np.any(chi)), True
    for begin, end in segments(record):
        for k in range(begin, end):
            step = coefficients(k, nodes)
            if not isinstance(step, LinearStep):
                raise ArgumentError(f"coefficients must return a LinearStep; got {type(step).__name__}")
            of_mean = (state[0] + shift) ** 2
            (t11, t12), (t21, t22) = step.matrix[:, :, :-1]
            s1, s2 = step.noise[:, :-1]
            if bounded:
                loss = problem.floor + of_mean.sum() + moments[:, 0].sum()
                bounded = loss < limit
                variance = factors[k] * source * loss
                if has_feedback:
                    variance = variance + factors[k] * feedback * (of_mean + moments[:, 0])
                p, c, y = moments.T
                moments = np.stack(
                    [
                        t11 * (t11 * p + 2 * t12 * c) + t12**2 * y + s1**2 * variance,
                        t11 * (t21 * p + t22 * c) + t12 * (t21 * c + t22 * y) + s1 * s2 * variance,
                        t21 * (t21 * p + 2 * t22 * c) + t22**2 * y + s2**2 * variance,
                    ],
                    axis=-1,
                )
            if not of_mean.sum() < limit:  # not even without noise
                return _padded(losses, noise_free, risks if measure is not None else None, length=len(record))
            state = np.stack([t11 * state[0] + t12 * state[1], t21 * state[0] + t22 * state[1]])
            rest = step.matrix[:, :, -1] @ rest
        of_mean = (state[0] + shift) ** 2
        loss = problem.floor + of_mean.sum() + moments[:, 0].sum()
        losses.append(loss if bounded and loss < limit else np.inf)
        free = problem.floor + of_mean.sum()
        noise_free.append(free if free < limit else np.inf)
        if measure is not None and where is not None:
            position = (state[0] + shift) / unit + where.solution
            risk = measure(position, float(rest[0, 0]), moments[:, 0] / unit**2)
            risks.append(risk if np.isfinite(losses[-1]) else np.inf)
    return _padded(losses, noise_free, risks if measure is not None else None, length=len(record))


def _padded(losses: list[float], noise_free: list[float], risks: list[float] | None, *, length: int) -> Curve:
    """Return the curves, infinite where they were not followed to."""

    def whole(values: list[float]) -> Vector:
        return np.array(values + [np.inf] * (length - len(values)))

    return Curve(loss=whole(losses), noise_free=whole(noise_free), risk=None if risks is None else whole(risks))
