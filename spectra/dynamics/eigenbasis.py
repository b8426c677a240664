r"""Samples, start and minimizer in the eigenbasis of the Hessian, for predictions that need more than its nodes."""

from dataclasses import dataclass

from spectra.frozen import Vector

__all__ = ["Coordinates", "Rows"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Rows:
    r"""The samples in the eigenbasis, for closures that follow each of them.

    Attributes
    ----------
    features : ndarray, shape (n, m)
        :math:`a_{ij} = a_i \cdot v_j`.
    residual : ndarray, shape (n,)
        :math:`b - A x_*` at the minimizer.
    error : ndarray, shape (m,)
        :math:`v_j \cdot (x_0 - x_*)`.
    """

    features: Vector
    residual: Vector
    error: Vector


@dataclass(frozen=True, eq=False, kw_only=True)
class Coordinates:
    r"""Where the start and the minimizer lie, for weight decay and for losses other than the training loss.

    Attributes
    ----------
    start, solution : ndarray, shape (m,)
        :math:`v_j \cdot x_0` and :math:`v_j \cdot x_*`.
    basis : ndarray, shape (d, m)
        Columns :math:`v_j`.
    rest : ndarray, shape (d,)
        Part of :math:`x_0` in directions without curvature, which only weight decay moves.
    """

    start: Vector
    solution: Vector
    basis: Vector
    rest: Vector
