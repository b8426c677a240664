"""Data as scikit-learn hands it to an estimator: checked in the words and with the exceptions that its tools expect."""

from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.arrays import is_array, to_host
from spectra.errors import ArgumentError, BackendError, ShapeError
from spectra.frozen import Vector

if TYPE_CHECKING:
    from sklearn.utils import Tags

__all__ = [
    "NotFitted",
    "as_estimator_data",
    "as_estimator_targets",
    "explained_share",
    "feature_names",
    "not_fitted",
    "regressor_tags",
]


class NotFitted(ArgumentError, AttributeError):
    """Something was asked of an estimator before it was fitted, where scikit-learn, which has its own, is missing."""


def as_estimator_data(X: Any, *, name: str = "X") -> Vector:
    """Return data of shape (n, d) as float64 on the host.

    Parameters
    ----------
    X : array_like, shape (n, d)
        Also a data frame of numbers, or an array of another library.
    name : str
        For messages.

    Raises
    ------
    ArgumentError
        For complex numbers, NaN and infinity. A ValueError, as scikit-learn requires.
    ShapeError
        If it has not two axes, or is empty.
    BackendError
        For sparse matrices, and entries that are no numbers. A TypeError, as scikit-learn requires.

    Examples
    --------
    >>> as_estimator_data([[1, 2]]).tolist()
    [[1.0, 2.0]]
    """
    if hasattr(X, "tocsr"):
        raise BackendError(f"{name} is a sparse matrix, and sparse input is not supported; use {name}.toarray()")
    data = _numbers(X, name=name)
    if data.ndim != 2:
        raise ShapeError(
            f"Expected 2D array for {name}, of shape (n, d); got shape {data.shape}. Reshape your data: "
            f"{name}[:, None] for one feature, {name}[None, :] for one sample"
        )
    if data.shape[0] == 0 or data.shape[1] == 0:
        what = "sample" if data.shape[0] == 0 else "feature"
        raise ShapeError(f"Found array with 0 {what}(s) (shape={data.shape}) while a minimum of 1 is required.")
    return _finite(data, name=name)


def as_estimator_targets(y: Any, num_samples: int) -> Vector:
    """Return targets of shape (n,) or (n, C) as float64 on the host.

    Raises
    ------
    ArgumentError
        If there are none, or one is NaN or infinite.
    ShapeError
        If their number is not that of the samples.
    BackendError
        For entries that are no numbers.
    """
    if y is None:
        raise ArgumentError("this estimator requires y to be passed, but the target y is None")
    if hasattr(y, "tocsr"):
        raise BackendError("y is a sparse matrix, and sparse input is not supported; use y.toarray()")
    target = _numbers(y, name="y")
    if target.ndim not in (1, 2) or 0 in target.shape or len(target) != num_samples:
        raise ShapeError(
            f"y must have shape ({num_samples},) or ({num_samples}, C), for as many samples as X has; got "
            f"{target.shape}: inconsistent numbers of samples"
        )
    return _finite(target, name="y")


def feature_names(X: Any) -> np.ndarray | None:
    """Return the names of the columns of a data frame if all are strings, else None."""
    columns = getattr(X, "columns", None)
    if columns is None or not all(isinstance(column, str) for column in columns):
        return None
    return np.asarray(columns, dtype=object)


def not_fitted(estimator: object) -> Exception:
    """Return the exception for an estimator that is not fitted: scikit-learn's, for its tools look for it."""
    message = f"this {type(estimator).__name__} is not fitted yet; call fit first"
    try:
        from sklearn.exceptions import NotFittedError
    except ImportError:
        return NotFitted(message)
    return NotFittedError(message)


def explained_share(prediction: np.ndarray, target: np.ndarray) -> float:
    """Return R^2, the share of the variance of targets (m, C) that predictions explain, averaged over outputs.

    Examples
    --------
    >>> explained_share(np.array([[1.0], [2.0]]), np.array([[1.0], [3.0]]))
    0.5
    """
    error = np.sum((target - prediction) ** 2, axis=0)
    total = np.sum((target - np.mean(target, axis=0)) ** 2, axis=0)
    # Constant targets: 1 for perfect predictions and else 0, as scikit-learn has it.
    share = np.where(total > 0, 1 - error / np.where(total > 0, total, 1.0), np.where(error > 0, 0.0, 1.0))
    return float(np.mean(share))


def regressor_tags(*, pairwise: bool) -> "Tags":
    """Return what scikit-learn wants to know of a regressor with several outputs; only scikit-learn asks.

    Parameters
    ----------
    pairwise : bool
        Whether data are a square matrix, to be split by rows and columns.
    """
    from sklearn.utils import InputTags, RegressorTags, Tags, TargetTags

    return Tags(
        estimator_type="regressor",
        target_tags=TargetTags(required=True, multi_output=True),
        regressor_tags=RegressorTags(),
        input_tags=InputTags(pairwise=pairwise),
    )


def _numbers(given: Any, *, name: str) -> np.ndarray:
    """Return an array of float64."""
    if is_array(given) and not isinstance(given, np.ndarray):
        return to_host(given)
    array = np.asarray(given)
    if array.dtype.kind == "c":
        raise ArgumentError(f"Complex data not supported: {name} has dtype {array.dtype}")
    try:
        return np.array(array, dtype=np.float64)
    except TypeError as error:
        raise BackendError(f"{name} must hold numbers: {error}") from error
    except ValueError as error:
        raise ArgumentError(f"{name} must hold numbers: {error}") from error


def _finite(array: np.ndarray, *, name: str) -> np.ndarray:
    """Return an array, or raise if an entry is not finite."""
    if np.all(np.isfinite(array)):
        return array
    row = int(np.argwhere(~np.isfinite(array))[0][0])
    raise ArgumentError(
        f"Input {name} contains NaN or infinity (inf), first in row {row}; drop such rows or impute them"
    )
