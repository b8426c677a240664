r"""Problems from products with a Hessian: the trace exact, large eigenvalues one by one, the rest by quadrature.

The critical learning rate at small batches is about 2/(c tr H), so that noise in the trace of a plain stochastic
quadrature moves it directly: with ten probes it was off by up to 24 %. Two things mend it. The largest eigenvalues are
summed instead of sampled, and the weights of the rest are scaled so that the whole has the exact trace, which costs no
products for a sum of squares: :math:`\operatorname{tr} H = \tfrac1n \sum_i |a_i|^2`.

The loss of the modes comes from a Lanczos run of its own, see :mod:`spectra.dynamics.loss_nodes`.
"""

from collections.abc import Callable

import numpy as np
from array_api_compat import device

from spectra.arrays import eps, namespace, to_host
from spectra.dynamics.loss_nodes import loss_from_gradient, loss_from_residual, require_start
from spectra.dynamics.quadratic import Quadratic
from spectra.eigenpairs import eigenpairs
from spectra.errors import ArgumentError
from spectra.frozen import Vector
from spectra.lanczos import lanczos
from spectra.operators import Operator, as_operator
from spectra.protocols import Array, SupportsMatmul
from spectra.start_vectors import as_count, as_seed, start_vectors
from spectra.tridiagonal import Ritz

__all__ = ["from_operator"]

#: Nodes below this times eps of the products, relative to the largest, are not told from zero (design choice).
NEGLIGIBLE = 100.0
#: Of deflated pairs, relative to the norm: their sum counts, not each (design choice).
DEFLATION_TOLERANCE = 1e-4
#: By how much the largest eigenvalues may exceed the trace by rounding and by their tolerance: ten of the tolerance.
TRACE_SLACK = 1e-3
#: Nodes of the gradient within this of a deflated eigenvalue, relative, stand for it: ten of its tolerance.
SAME = 1e-3
#: By how much the modes may hold more loss than there is, by rounding of float32 (design choice).
LOSS_SLACK = 0.05


def from_operator(
    A: SupportsMatmul | Array,
    gradient: Array | None = None,
    *,
    loss: float,
    trace: float,
    num_samples: int | None,
    reported_loss: float | None = None,
    rows_per_sample: float = 1.0,
    largest_row: float | None = None,
    num_deflated: int = 8,
    num_probes: int = 8,
    num_steps: int = 30,
    num_gradient_steps: int = 60,
    residual: Array | None = None,
    sample_gram: SupportsMatmul | Array | None = None,
    sample_squares: Callable[[Array], Array] | None = None,
    rng: int | np.random.Generator = 0,
    name: str = "operator",
) -> Quadratic:
    r"""Return a problem known by products with its Hessian, its gradient and the trace of the Hessian.

    Parameters
    ----------
    A : Operator or anything `as_operator` accepts, shape (d, d)
        Hessian of a sum of squares: positive semidefinite. For a network its Gauss-Newton matrix.
    gradient : array, shape (d,), optional
        :math:`\nabla L(x_0)`, in the library and on the device of the operator. Or, in its place, the next two.
    residual : array, shape (n,), optional
        :math:`r = A x_0 - b`, of any scale.
    sample_gram : Operator or anything `as_operator` accepts, shape (n, n), optional
        :math:`A A^T / n`, which has the eigenvalues of the Hessian.
    loss : float
        :math:`L(x_0)` as a sum of squares, what makes noise. For the quadratic model of another loss it is the part
        that is a square, and ``reported_loss`` is the loss itself.
    trace : float
        :math:`\operatorname{tr} H`, exact: mean over the samples of the squared norms of their rows.
    num_samples : int or None
        n.
    reported_loss : float, optional
        Loss at the start as it is reported; the difference is a constant that makes no noise.
    rows_per_sample, largest_row, name
        See :class:`Quadratic`.
    num_deflated : int
        Largest eigenvalues that are summed one by one.
    num_probes, num_steps : int
        Random vectors and Lanczos steps of the quadrature for the rest.
    num_gradient_steps : int
        Lanczos steps from the gradient or residual.
    sample_squares : callable, optional
        From vectors (d, k) to :math:`|A_i v|^2` of every sample, (n, k). With it the largest modes have their fourth
        moments :math:`\kappa_j` and the closure ``kurtosis`` can be used; it is ``limit`` for all others, which it
        hardly concerns.
    rng : int or numpy.random.Generator
        Seed.

    Returns
    -------
    Quadratic
        ``evidence`` holds

        - ``num_matvecs``;
        - ``trace_correction``: factor on the weights of the rest that makes the trace exact; far from 1 means few
          probes;
        - ``unconverged``: deflated pairs that missed their tolerance;
        - ``forcing_excess``: loss that the modes hold beyond the loss, by rounding;
        - ``smallest_resolved``: smallest eigenvalue that was told from rounding, over the largest. What smaller ones
          hold counts as floor, which is then too high, with float32 products by far;
        - ``forcing_change``: largest change of the loss without noise, relative to the loss at the start, when half of
          the gradient's Lanczos steps are left out, over the time scales that all the steps resolve.

    Raises
    ------
    ArgumentError
        If trace or loss are not positive; if the deflated eigenvalues alone exceed the trace; if the modes hold more
        loss than there is; if the gradient or residual is zero; or unless either the gradient, or residual and
        ``sample_gram`` together, are given.
    NotSymmetricError, NonFiniteError, ShapeError, BackendError
        As of `spectra.lanczos` and `spectra.eigenpairs`.

    Notes
    -----
    Costs the products of `spectra.eigenpairs`, ``num_probes num_steps`` and ``num_gradient_steps``; holds
    ``max(num_probes num_steps, num_gradient_steps) d`` numbers.

    On random features of digits (n = 900, d = 400) the critical learning rate was within 0.1 % of the exact one with 8
    deflated eigenvalues and 2 probes; two probes without deflation and trace gave 0.65 to 1.29 of it. See
    ``scripts/benchmarks/dynamics_accuracy.py``.

    Sources: Chen, Trogdon and Ubaru (2021), arXiv 2105.06595, for the quadrature; the recipe is derived here.

    Examples
    --------
    >>> A = np.random.default_rng(0).standard_normal((300, 100))
    >>> b = np.ones(300)
    >>> problem = from_operator(
    ...     A.T @ A / 300, -A.T @ b / 300, loss=0.5, trace=float(np.mean(np.sum(A**2, axis=1))), num_samples=300
    ... )
    >>> bool(abs(problem.trace / np.trace(A.T @ A / 300) - 1) < 1e-12)
    True
    """
    operator = as_operator(A)
    seed = as_seed(rng)
    if not (0 < trace < np.inf and 0 < loss < np.inf):
        raise ArgumentError(f"trace and loss must be positive and finite; got {trace} and {loss}")
    if (gradient is None) == (residual is None) or (residual is None) != (sample_gram is None):
        raise ArgumentError("either gradient, or residual and sample_gram together, must say where the loss lies")
    if gradient is not None:
        require_start(gradient, size=operator.shape[0], name="gradient")
    if residual is not None and sample_gram is not None:
        require_start(residual, size=sample_gram.shape[0], name="residual")
    deflate = min(as_count(num_deflated, name="num_deflated", least=0), operator.shape[0] - 1)
    begin, like = operator.num_matvecs, operator.like
    threshold = NEGLIGIBLE * eps(like)
    values, kurtosis, unconverged = np.empty(0), np.empty(0), 0
    rest = operator
    if deflate:
        pairs = eigenpairs(operator, num=deflate, tolerance=DEFLATION_TOLERANCE, rng=seed)
        values = pairs["eigenvalue"].values
        told = values > threshold * np.max(values, initial=0.0)  # from zero, where the rank is low
        values, unconverged = values[told], int(np.sum(~pairs["converged"].values[told]))
        vectors = pairs["eigenvector"].values[told].T
    if values.size:
        basis = namespace(like).asarray(vectors, dtype=like.dtype, device=device(like))
        rest = _projected(operator, basis, like=like)
        if sample_squares is not None:
            squares = to_host(sample_squares(basis))
            kurtosis = np.mean(squares**2, axis=0) / np.mean(squares, axis=0) ** 2
    remaining = trace - float(np.sum(values))
    if remaining < -TRACE_SLACK * trace:
        raise ArgumentError(
            f"the {values.size} largest eigenvalues sum to {np.sum(values):.6g}, more than the trace {trace:.6g}: "
            "trace and operator are not of one matrix, or their units differ"
        )
    probes = start_vectors(like, num=as_count(num_probes, name="num_probes"), rng=seed, distribution="rademacher")
    tridiagonal = lanczos(rest, probes, num_steps=num_steps)
    kernel, weight = _quadrature([tridiagonal.ritz(i) for i in range(num_probes)], operator.shape[0], threshold)
    told = kernel > threshold * max(float(np.max(kernel, initial=0.0)), float(np.max(values, initial=0.0)))
    kernel, weight = kernel[told], weight[told]
    sampled = float(weight @ kernel)
    if sampled == 0 and remaining > TRACE_SLACK * trace:
        raise ArgumentError(
            f"the trace {trace:.6g} is more than the sum of all eigenvalues, {np.sum(values):.6g}: trace and operator "
            "are not of one matrix, or their units differ"
        )
    correction = max(remaining, 0.0) / sampled if sampled > 0 else 1.0
    kernel, weight = np.append(values, kernel), np.append(np.ones_like(values), weight * correction)
    if gradient is not None:
        found = loss_from_gradient(operator, gradient, loss=loss, num_steps=num_gradient_steps, threshold=threshold)
    else:
        found = loss_from_residual(sample_gram, residual, loss=loss, num_steps=num_gradient_steps, threshold=threshold)
    held = float(np.sum(found.losses))
    if held > (1 + LOSS_SLACK) * loss:
        raise ArgumentError(
            f"the modes hold a loss of {held:.6g}, more than the loss of {loss:.6g}: Hessian and gradient are not "
            "those of one sum of squares, or their units differ"
        )
    losses = found.losses * min(1.0, loss / held if held > 0 else 1.0)
    own, nodes, losses = _shared(values[: kurtosis.size], found.nodes, losses)
    eigenvalue = np.append(kernel, nodes)
    neutral = np.full_like(eigenvalue, 1 + 1 / rows_per_sample)
    neutral[: kurtosis.size] = kurtosis
    return Quadratic(
        eigenvalue=eigenvalue,
        kurtosis=None if sample_squares is None else neutral,
        multiplicity=np.append(weight, np.zeros_like(nodes)),
        initial_loss=np.concatenate([own, np.zeros(kernel.size - own.size), losses]),
        floor=max(loss - held, 0.0),
        offset=0.0 if reported_loss is None else reported_loss - loss,
        num_samples=num_samples,
        rows_per_sample=rows_per_sample,
        largest_row=largest_row,
        name=name,
        evidence={
            "num_matvecs": float(operator.num_matvecs - begin + (found.num_matvecs if gradient is None else 0)),
            "trace_correction": correction,
            "unconverged": float(unconverged),
            "forcing_change": found.change,
            "forcing_excess": max(held / loss - 1, 0.0),
            "smallest_resolved": float(np.min(found.nodes) / max(np.max(found.nodes), np.max(values, initial=0.0))),
        },
    )


def _projected(operator: Operator, vectors: Array, *, like: Array) -> Operator:
    """Return P A P with the projector P off orthonormal columns (d, k)."""
    xp = namespace(like)
    across = xp.matrix_transpose(vectors)

    def product(columns: Array) -> Array:
        columns = columns - vectors @ (across @ columns)
        result = operator @ columns
        return result - vectors @ (across @ result)

    return Operator(product, like=like, name=f"{operator.name}, deflated")


def _shared(known: Vector, nodes: Vector, losses: Vector) -> tuple[Vector, Vector, Vector]:
    r"""Give the loss of nodes at a known eigenvalue to it; return its loss, and the nodes and losses that are left.

    A mode whose noise is measured must be one node: with its loss at another one, however close, the noise of its own
    error and the factor :math:`\rho` that takes it off again would not cancel.
    """
    if not known.size or not nodes.size:
        return np.zeros_like(known), nodes, losses
    nearest = np.argmin(np.abs(nodes[:, None] - known), axis=1)
    same = np.abs(nodes - known[nearest]) <= SAME * known[nearest]
    own = np.zeros_like(known)
    np.add.at(own, nearest[same], losses[same])
    return own, nodes[~same], losses[~same]


def _quadrature(probes: list[Ritz], dimension: int, threshold: float) -> tuple[Vector, Vector]:
    """Return nodes above rounding, and weights that sum to the dimension with those below."""
    values = np.concatenate([probe.values for probe in probes])
    weights = np.concatenate([probe.weights for probe in probes]) * dimension / len(probes)
    kept = (values > threshold * np.max(values)) & (weights > 0)
    return values[kept], weights[kept]
