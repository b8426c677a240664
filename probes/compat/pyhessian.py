"""The interface of PyHessian 0.1 on our engine: change ``from pyhessian import hessian`` and keep the script."""

import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from torch import Tensor, nn

import spectra
from probes.compat.evaluation_mode import EvaluationHessian
from probes.compat.one_pass import one_pass
from probes.compat.pyhessian_plot import get_esd_plot
from probes.compat.pyhessian_trace import mean_of, sample_trace
from probes.compat.pyhessian_vectors import (
    get_params_grad,
    group_add,
    group_product,
    hessian_vector_product,
    normalization,
    orthnormal,
)
from probes.losses import LossLike
from probes.parameters import flatten, unflatten
from spectra.arrays import eps, inner
from spectra.errors import ArgumentError, ShapeError
from spectra.estimates import Estimate
from spectra.start_vectors import as_count, as_seed

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "get_esd_plot",
    "get_params_grad",
    "group_add",
    "group_product",
    "hessian",
    "hessian_vector_product",
    "normalization",
    "orthnormal",
]


@final
class hessian:
    r"""Top eigenvalues, trace and spectral density of the Hessian of a loss, called as in PyHessian.

    The matrix is that of :class:`probes.HessianOperator`: of the mean over all samples however they are batched, or of
    the sum for ``reduction="sum"``. As in PyHessian it is measured with the model in evaluation mode, and batches are
    moved to the model; but the model is left as it was found, in its mode, gradients, buffers and random states.
    Products read the parameters that the model has *then*, while PyHessian keeps the gradient of a single batch.

    Parameters
    ----------
    model : torch.nn.Module
        With parameters of one dtype (float32 or float64) on one device.
    criterion : torch.nn loss or callable
        ``(output, target) -> scalar``; a callable without ``reduction`` must be the mean over samples.
    data : (inputs, targets), optional
        One batch.
    dataloader : iterable of (inputs, targets), optional
        Several batches. Read once, in the order it then has, and kept: a shuffling or augmenting loader is frozen.
    cuda : bool
        Where the caller believes the model to be. It is measured where it is; if that contradicts ``cuda``, a warning
        says so (PyHessian raises).
    rng : int or numpy.random.Generator
        Seed of all random vectors, so that the same call gives the same numbers. A Generator gives up one draw in each
        call. The global generators are never touched.
    check : bool
        Run the self-check of :class:`probes.HessianOperator`, about ten gradients on at most 32 samples.

    Attributes
    ----------
    model, criterion, data : as given
        ``data`` is the loader, if that was given.
    full_dataset : bool
        Whether a loader was given.
    inputs, targets : torch.Tensor
        Of a single batch, on :attr:`device`, a str: where the model is.
    params : list of torch.nn.Parameter
        The trainable parameters, in the order of ``model.parameters()``.

    Raises
    ------
    ArgumentError
        Not exactly one of ``data`` and ``dataloader``.
    TaskError, BackendError, NonFiniteError, NonDeterministicError, NotSymmetricError, DerivativeError
        From :class:`probes.HessianOperator`.

    Examples
    --------
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> batch = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.zeros(2, 1)
    >>> module = hessian(model, torch.nn.MSELoss(), data=batch, cuda=False)
    >>> top, vectors = module.eigenvalues(top_n=2)
    >>> [round(value, 5) for value in top], vectors[0][0].shape
    ([4.0, 1.0], torch.Size([1, 2]))
    >>> print(round(float(np.mean(module.trace())), 5))
    5.0
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: LossLike,
        data: Any = None,
        dataloader: Iterable[Any] | None = None,
        cuda: bool = True,
        *,
        rng: int | np.random.Generator = 0,
        check: bool = True,
    ) -> None:
        if (data is None) == (dataloader is None):
            came = "neither" if data is None else "both"
            raise ArgumentError(f"pass either data=(inputs, targets) or dataloader=, an iterable of these; got {came}.")
        self.model, self.criterion = model, criterion
        self.full_dataset = dataloader is not None
        self.data = data if dataloader is None else dataloader
        self._rng = rng
        self._pairs: xr.Dataset | None = None
        self._measure: xr.Dataset | None = None
        self._samples: list[float] = []
        batches = [data] if dataloader is None else one_pass(dataloader)
        self._hessian = EvaluationHessian(model, criterion, batches, rng=as_seed(rng), check=check)
        self.params = self._hessian.parameters
        device = self._hessian.source.device
        self.device = str(device)
        if not self.full_dataset:
            batch = self._hessian.source.batches[0]
            self.inputs, self.targets = batch.inputs, batch.target
        if bool(cuda) != (device.type == "cuda"):
            warnings.warn(
                f"cuda={cuda}, but the parameters of {type(model).__name__} are on {self.device}: measured there. Pass "
                f"cuda={not cuda}, or move the model before.",
                UserWarning,
                stacklevel=2,
            )

    @property
    def operator(self) -> spectra.Operator:
        """The Hessian in evaluation mode, for every function of :mod:`spectra`; it counts its products."""
        return self._hessian.operator

    @property
    def pairs(self) -> "xr.Dataset":
        """What the last :meth:`eigenvalues` found: residuals and error bounds too, see `spectra.eigenpairs`."""
        if self._pairs is None:
            raise ArgumentError("pairs holds what eigenvalues() found; call eigenvalues() first.")
        return self._pairs

    @property
    def measure(self) -> "xr.Dataset":
        """The spectral measure behind the last :meth:`density`, see `spectra.slq`."""
        if self._measure is None:
            raise ArgumentError("measure holds what density() found; call density() first.")
        return self._measure

    @property
    def gradsH(self) -> list[Tensor]:
        """Gradient of the loss, one tensor for each parameter, computed anew (cost: one gradient).

        For a single batch it carries its graph, as :func:`hessian_vector_product` needs; of a loader it does not.
        """
        return self._hessian.gradient() if self.full_dataset else self._hessian.gradient_with_graph()

    def dataloader_hv_product(self, v: Sequence[Tensor]) -> tuple[float, list[Tensor]]:
        """Return ``v'Hv`` and ``Hv`` over all data, of a single batch too.

        Parameters
        ----------
        v : list of torch.Tensor
            Of the parameters' shapes, dtype and device.

        Raises
        ------
        ShapeError
            The shapes are not those of :attr:`params`.
        """
        came, wanted = [tuple(x.shape) for x in v], [tuple(p.shape) for p in self.params]
        if came != wanted:
            raise ShapeError(f"v must hold one tensor for each parameter, of shapes {wanted}; got {came}.")
        flat = flatten(list(v))
        product = self.operator @ flat
        return float(inner(flat, product)), unflatten(product, self.params)

    def eigenvalues(self, maxIter: int = 100, tol: float = 1e-3, top_n: int = 1) -> tuple[list[float], list[Any]]:
        """Find the eigenvalues of largest modulus, in descending modulus, with their eigenvectors.

        Lanczos for all of them together, until every residual ``||Hy - theta y||`` is at most ``tol ||H||``; then a
        search of the complement for pairs that were missed, such as copies of a multiple eigenvalue. For the signed
        ends of the spectrum: :func:`spectra.eigenpairs <spectra.eigenpairs.eigenpairs>` with ``which="both"``.

        Parameters
        ----------
        maxIter : int
            Steps for each eigenvalue: at most ``maxIter top_n`` products until convergence, and as many for the search.
        tol : float
            Relative residual. The error of an eigenvalue is at most that, and as a rule of the order of its square. A
            warning says if it was not reached; :attr:`pairs` tells by which.
        top_n : int
            How many.

        Returns
        -------
        list of float
            Eigenvalues.
        list of list of torch.Tensor
            Eigenvectors of norm 1, each a list of tensors of the parameters' shapes, on the model's device.

        Raises
        ------
        ArgumentError
            ``top_n`` exceeds the number of parameters, or an argument is not positive.
        """
        max_steps = as_count(maxIter, name="maxIter") * as_count(top_n, name="top_n")
        n = self.operator.shape[0]
        if top_n > n:
            raise ArgumentError(f"top_n must be at most {n}, the number of trainable parameters; got {top_n}.")
        pairs = self._pairs = spectra.eigenpairs(
            self.operator,
            num=top_n,
            which="magnitude",
            tolerance=tol,
            max_steps=min(n, max_steps),
            verify_steps=max_steps,
            rng=self._rng,
        )
        settled = int(pairs["converged"].sum())
        if settled < top_n:
            warnings.warn(
                f"{top_n - settled} of {top_n} eigenvalues have no residual within tol={tol} of the norm after "
                f"{pairs.attrs['num_matvecs']} products; pairs['error_bound'] bounds the errors. Raise maxIter or tol.",
                UserWarning,
                stacklevel=2,
            )
        vectors = torch.as_tensor(pairs["eigenvector"].values).to(self.operator.like)
        return pairs["eigenvalue"].values.tolist(), [unflatten(vector, self.params) for vector in vectors]

    def trace(self, maxIter: int = 100, tol: float = 1e-3) -> list[float]:
        """Sample the trace: ``v'Hv`` for random signs v, whose mean estimates ``tr H`` without bias (Hutchinson, 1990).

        :func:`spectra.trace <spectra.stochastic_trace.trace>` errs less for as many products where the spectrum decays.

        Parameters
        ----------
        maxIter : int
            Samples at most; one product each, ten in a block.
        tol : float
            Stop once the standard error of the mean is at most ``tol`` times its modulus, looked at after every ten
            samples. 1e-3 takes far more than 100 samples for most networks; :meth:`trace_estimate` says what was
            reached.

        Returns
        -------
        list of float
            Independent samples.
        """
        self._samples = sample_trace(self.operator, limit=maxIter, tolerance=tol, rng=self._rng)
        return list(self._samples)

    def trace_estimate(self, *, level: float = 0.95) -> Estimate:
        """Return the mean of the last :meth:`trace` with its interval by Student's t; no products.

        Raises
        ------
        ArgumentError
            Before the first call of :meth:`trace`.
        """
        if not self._samples:
            raise ArgumentError("trace_estimate() reads the samples of trace(); call trace() first.")
        return mean_of(self._samples, eps=eps(self.operator.like), level=level)

    def density(self, iter: int = 100, n_v: int = 1) -> tuple[list[list[float]], list[list[float]]]:
        """Measure the spectral density by stochastic Lanczos quadrature with full reorthogonalization.

        Costs ``n_v iter`` products and one. Holds as many Lanczos vectors as fit 4 GiB, those of one probe at least.

        Parameters
        ----------
        iter : int
            Lanczos steps of each probe; n, the number of parameters, at most are made.
        n_v : int
            Probes.

        Returns
        -------
        list of list of float, twice
            Ritz values of each probe, ascending, and their weights, with sum 1 in each list. A probe that ended early
            is filled up with weights of 0.
        """
        steps = min(as_count(iter, name="iter"), self.operator.shape[0])
        basis_bytes = steps * self.operator.shape[0] * self.operator.like.element_size()
        measure = self._measure = spectra.slq(
            self.operator, num_probes=n_v, num_steps=steps, rng=self._rng, max_basis_bytes=max(2**32, basis_bytes)
        )
        values, weights = measure["ritz_value"].values, measure["weight"].values
        filled = np.where(np.isnan(values), np.nanmax(values, axis=1)[:, None], values)
        return filled.tolist(), weights.tolist()
