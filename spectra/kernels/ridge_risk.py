r"""Kernel ridge regression that says what error to expect of it: an estimator in scikit-learn's conventions."""

import functools
import inspect
import warnings
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from spectra.arrays import dtype_name
from spectra.errors import ArgumentError, ShapeError
from spectra.kernels.best_ridge import best_ridge_of
from spectra.kernels.decay_result import EigenDecay
from spectra.kernels.effective_dimension import EffectiveDimension, effective_dimension
from spectra.kernels.eigendecay import eigendecay
from spectra.kernels.estimator_data import (
    as_estimator_data,
    as_estimator_targets,
    explained_share,
    feature_names,
    not_fitted,
    regressor_tags,
)
from spectra.kernels.gram_input import checked_ridge
from spectra.kernels.kernel_argument import kernel_block, kernel_parameters, resolve_kernel
from spectra.kernels.kernel_risk import checked_level
from spectra.kernels.leave_one_out import leave_one_out_of
from spectra.kernels.overfitting_regime import OverfittingRegime, overfitting_regime
from spectra.kernels.ridge_fit import ridge_fit

if TYPE_CHECKING:
    from sklearn.utils import Tags

__all__ = ["KernelRidgeRisk", "UntrustworthyRiskWarning"]

#: Attributes that are computed when they are first asked for, and forgotten by the next fit.
_LAZY = ("decay_", "effective_dimension_", "regime_")


class UntrustworthyRiskWarning(UserWarning):
    """The test error that a fit predicts for itself should not be relied on."""


class KernelRidgeRisk:
    r"""Kernel ridge regression with an estimate of its own test error, and a warning where it cannot be trusted.

    .. math:: \hat f(x) = \sum_i k(x, x_i)\, a_i, \qquad a = (K + \delta I)^{-1} y

    Follows the conventions of scikit-learn (``clone``, pipelines, grid searches, cross-validation) without needing it;
    predictions are those of its ``KernelRidge``, with the same kernel and ``alpha``.

    Parameters
    ----------
    kernel : str or callable
        A name of :data:`spectra.kernels.kernel_argument.KERNEL_NAMES`, a kernel object such as ``RBF(2.0)``, a function
        of X (n, d) and Y (m, d) that returns a block (n, m), or ``"precomputed"``: then X is the Gram matrix in
        ``fit``, and the block (m, n) of new and training samples in ``predict``.
    alpha : "loo" or float
        The ridge :math:`\delta`, unnormalized; ``"loo"`` takes the one with the lowest leave-one-out error. Below the
        floor of rounding, the floor counts.
    gamma, degree, coef0 : float, int, float
        As in scikit-learn, for the kernels that have them.
    length_scale : float, optional
        Of kernels of the distance; by default the median distance, also for ``"rbf"`` without ``gamma``.
    kernel_params : dict, optional
        Further parameters of a named kernel or of a function.
    level : float
        Of the interval of the risk.

    Attributes
    ----------
    dual_coef_ : ndarray, shape (n,) or (n, C)
        a.
    X_fit_ : ndarray, shape (n, d) or (n, n)
        The data, or the precomputed matrix.
    alpha_, kernel_ : float, callable or "precomputed"
        The ridge that was asked for or chosen, and the kernel with its parameters.
    risk_ : KernelRisk
        Leave-one-out estimate of the mean squared error on new samples, with interval, verdict and reason. After
        ``alpha="loo"`` slightly too low, because it was minimized.
    predicted_test_error_, is_trustworthy_ : float, bool
        ``risk_.risk``, summed over outputs, and ``risk_.is_trustworthy``.
    decay_ : EigenDecay
        Law of decay of the eigenvalues. This and the next two are computed at first use, from the data, each with a
        decomposition or more.
    effective_dimension_ : EffectiveDimension
        At ``alpha_``.
    regime_ : OverfittingRegime
        Of the kernel without ridge, benign, tempered or catastrophic, and the amplification of noise at ``alpha_``.
    n_features_in_, feature_names_in_
        As in scikit-learn; the latter for data frames only.

    Notes
    -----
    O(n^3) once, whatever the number of ridges; three matrices of n^2 numbers. No intercept: a remark of ``risk_`` says
    where the mean of the targets costs much. Sample weights and sparse data are not supported.

    Examples
    --------
    >>> X = np.linspace(0, 3, 100)[:, None]
    >>> noise = 0.1 * np.random.default_rng(0).standard_normal(100)
    >>> model = KernelRidgeRisk("laplace").fit(X, np.sin(X).ravel() + noise)
    >>> model.predict([[1.5]]).shape, round(model.predicted_test_error_, 2), model.is_trustworthy_
    ((1,), 0.01, True)
    """

    _estimator_type = "regressor"

    def __init__(
        self,
        kernel: Any = "rbf",
        *,
        alpha: Any = "loo",
        gamma: float | None = None,
        degree: int = 3,
        coef0: float = 1.0,
        length_scale: Any = None,
        kernel_params: dict[str, Any] | None = None,
        level: float = 0.95,
    ) -> None:
        self.kernel = kernel
        self.alpha = alpha
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.length_scale = length_scale
        self.kernel_params = kernel_params
        self.level = level

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name; ``deep`` changes nothing, for none holds an estimator."""
        return {name: getattr(self, name) for name in self._names()}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name, and return the estimator.

        Raises ArgumentError for a name that is no parameter.
        """
        known = self._names()
        for name in params:
            if name not in known:
                raise ArgumentError(
                    f"Invalid parameter {name!r} for estimator {self!r}. Valid parameters are: {', '.join(known)}"
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to data of shape (n, d) and targets of shape (n,) or (n, C), and estimate the test error.

        Raises
        ------
        ArgumentError, ShapeError, BackendError
            If data, targets or parameters cannot be used.

        Warns
        -----
        UntrustworthyRiskWarning
            If the estimated error cannot be trusted, for the reason in the message.
        """
        level = checked_level(self.level)
        data = as_estimator_data(X)
        target = as_estimator_targets(y, len(data))
        kernel = self._kernel(data)
        if isinstance(kernel, str) and dtype_name(getattr(X, "dtype", "")) == "float32":
            # The rounding of a matrix is that of the dtype in which it was computed.
            data = data.astype(np.float32)
        problem = ridge_fit(kernel_block(kernel, data, data), target)
        if self._is_number():
            alpha = checked_ridge(self.alpha)
            risk = leave_one_out_of(problem, ridge=alpha, level=level)
        else:
            if len(data) == 1:
                raise ArgumentError("n_samples = 1: a ridge is chosen from at least two samples; give alpha a number")
            best = best_ridge_of(problem, level=level)
            alpha, risk = best.ridge, best.risk
        for name in _LAZY:
            self.__dict__.pop(name, None)
        self.X_fit_, self.kernel_, self.alpha_, self.risk_ = data, kernel, alpha, risk
        dual = problem.coefficients(alpha)
        self.dual_coef_ = dual[:, 0] if target.ndim == 1 else dual
        self.predicted_test_error_, self.is_trustworthy_ = risk.risk, risk.is_trustworthy
        self.n_features_in_ = data.shape[1]
        self.__dict__.pop("feature_names_in_", None)
        if (names := feature_names(X)) is not None:
            self.feature_names_in_ = names
        if not risk.is_trustworthy:
            warnings.warn(risk.why, UntrustworthyRiskWarning, stacklevel=2)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return predictions of shape (m,) or (m, C) for data of shape (m, d).

        Raises
        ------
        NotFittedError
            Before ``fit``; that of scikit-learn where it is installed.
        ShapeError
            If the number of features is another than in ``fit``.
        ArgumentError, BackendError
            If the data cannot be used, or a data frame has other columns.
        """
        self._require_fit()
        names, own = feature_names(X), getattr(self, "feature_names_in_", None)
        if names is not None and own is not None and not np.array_equal(names, own):
            raise ArgumentError(
                "The feature names should match those that were passed during fit, in their order: "
                f"{', '.join(own)}; got {', '.join(names)}"
            )
        data = as_estimator_data(X)
        if data.shape[1] != self.n_features_in_:
            raise ShapeError(
                f"X has {data.shape[1]} features, but {type(self).__name__} is expecting {self.n_features_in_} "
                "features as input"
            )
        return kernel_block(self.kernel_, data, self.X_fit_) @ self.dual_coef_

    def score(self, X: Any, y: Any) -> float:
        """Return the share of variance explained, R^2, averaged over outputs.

        Raises as :meth:`predict`.
        """
        found = self.predict(X)
        target = as_estimator_targets(y, len(found)).reshape(len(found), -1)
        return explained_share(found.reshape(target.shape), target)

    @functools.cached_property
    def regime_(self) -> OverfittingRegime:
        """What the kernel does to label noise: without ridge as samples grow, and with the ridge of the fit."""
        return overfitting_regime(self._gram(), ridge=self.alpha_)

    @functools.cached_property
    def decay_(self) -> EigenDecay:
        """Law of decay of the eigenvalues."""
        return eigendecay(self._gram())

    @functools.cached_property
    def effective_dimension_(self) -> EffectiveDimension:
        """Effective dimension at the ridge of the fit."""
        return effective_dimension(self._gram(), self.alpha_)

    def __repr__(self) -> str:
        changed = []
        for name, value in self.get_params().items():
            default = inspect.signature(type(self)).parameters[name].default
            if value is not default and not (isinstance(value, str | int | float) and value == default):
                changed.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_is_fitted__(self) -> bool:
        return "dual_coef_" in self.__dict__

    def __sklearn_tags__(self) -> "Tags":
        return regressor_tags(pairwise=isinstance(self.kernel, str) and self.kernel == "precomputed")

    @classmethod
    def _names(cls) -> list[str]:
        """Return the names of the parameters."""
        return sorted(inspect.signature(cls).parameters)

    def _is_number(self) -> bool:
        """Return whether the ridge is given, rather than to be chosen; raise if it is neither."""
        if isinstance(self.alpha, str):
            if self.alpha != "loo":
                raise ArgumentError(f"alpha must be 'loo' or a number of at least 0; got {self.alpha!r}")
            return False
        return True

    def _kernel(self, data: np.ndarray) -> Any:
        """Return the kernel with its parameters, or "precomputed"."""
        given = dict(self.kernel_params or {})
        own = {"gamma": self.gamma, "length_scale": self.length_scale}
        own = {name: value for name, value in own.items() if value is not None}
        if not isinstance(self.kernel, str) or self.kernel == "precomputed":
            if own:
                raise ArgumentError(f"{', '.join(own)} belong to kernels by name; got kernel={self.kernel!r}")
            if not isinstance(self.kernel, str):
                return resolve_kernel(self.kernel, data, given)
            if data.shape[0] != data.shape[1]:
                raise ShapeError(f"a precomputed kernel must have shape (n, n) in fit; got {data.shape}")
            return self.kernel
        known = kernel_parameters(self.kernel)
        # These have defaults, and are ignored by kernels without them, as in scikit-learn.
        own |= {name: getattr(self, name) for name in ("degree", "coef0") if name in known and name not in given}
        if "offset" in given:
            own.pop("coef0", None)
        if len(data) == 1 and "length_scale" in known and not {"gamma", "length_scale"} & {*own, *given}:
            raise ArgumentError("n_samples = 1: with one sample there is no distance for a length_scale; give one")
        return resolve_kernel(self.kernel, data, own | given)

    def _require_fit(self) -> None:
        """Raise unless the estimator was fitted."""
        if not self.__sklearn_is_fitted__():
            raise not_fitted(self)

    def _gram(self) -> np.ndarray:
        """Return the Gram matrix of the training set, computed again so that it need not be kept."""
        self._require_fit()
        return kernel_block(self.kernel_, self.X_fit_, self.X_fit_)
