r"""Curvature by layer: the diagonal blocks of an operator, all of them together, and what lies between them.

With the coordinates cut into blocks, :math:`A = \mathrm{diag}(A_{11}, \dots, A_{BB}) + (\text{the rest})`. Hessians
of networks are nearly block-diagonal (Dong et al. 2025, arXiv 2505.02809), and the spectra of the blocks of a
transformer differ much (Zhang et al. 2024, arXiv 2402.16788).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from torch import Tensor

from probes.operators.base import CurvatureOperator
from probes.parameters import ParameterSpec, by_module, positions, select
from spectra import Operator
from spectra.errors import ArgumentError, TaskError
from spectra.start_vectors import as_count

__all__ = ["Blocks", "block_diagonal", "layers", "off_diagonal", "restrict"]

#: Names of parameters (as ``select`` reads them) that form a block, under a name of its own or not.
Blocks = Mapping[str, ParameterSpec] | Iterable[ParameterSpec]

#: Bytes of zero-padded columns multiplied at once.
MAX_HELD_BYTES = 1 << 28


def restrict(operator: CurvatureOperator, names: ParameterSpec) -> CurvatureOperator:
    """Return the principal submatrix of some of an operator's parameters, as an operator of the same class.

    Parameters
    ----------
    operator : CurvatureOperator
    names : str, iterable of str, or callable
        As for :func:`probes.parameters.select`: names, patterns, paths of modules, ``!`` to exclude. Of the parameters
        that are named, those of the operator are taken.

    Raises
    ------
    TaskError
        A pattern matches nothing in the model, or nothing that belongs to the operator.

    Notes
    -----
    Products differentiate by these parameters only. The order is that of the operator.

    Examples
    --------
    >>> import torch
    >>> from probes.operators import HessianOperator
    >>> x = torch.tensor([[1.0], [3.0]])
    >>> H = HessianOperator(torch.nn.Linear(1, 1), torch.nn.MSELoss(), (x, x))
    >>> restrict(H, "weight") @ torch.ones(1)
    tensor([10.])
    """
    return operator.restricted(_named(operator, names))


def layers(operator: CurvatureOperator) -> dict[str, CurvatureOperator]:
    """Return for each module with parameters of its own the principal submatrix of these.

    Returns
    -------
    dict of str to CurvatureOperator
        Path of the module (``""`` for the model itself) to its diagonal block, in order. No product is computed.

    Examples
    --------
    >>> import torch
    >>> from probes.operators import HessianOperator
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    >>> H = HessianOperator(model, torch.nn.MSELoss(), (torch.ones(4, 2), torch.ones(4, 1)))
    >>> {path: block.shape[0] for path, block in layers(H).items()}
    {'0': 9, '2': 4}
    """
    return {path: operator.restricted(names) for path, names in by_module(operator.parameters).items()}


def block_diagonal(
    operator: CurvatureOperator, blocks: Blocks | None = None, *, max_columns: int | None = None
) -> Operator:
    r"""Return :math:`\mathrm{diag}(A_{11}, \dots, A_{BB})`, of the order of A; one product costs B products of A.

    The B pieces of a vector, each padded with zeros, are multiplied as columns of one block, so that all of them share
    the forward passes and graphs of A; of each product the piece is kept.

    Parameters
    ----------
    operator : CurvatureOperator, shape (n, n)
        A.
    blocks : mapping of str to names, or iterable of names, optional
        The blocks, each as for `restrict`; no parameter in two. By default the modules, as for `layers`. Parameters
        in none of them have zero rows and columns.
    max_columns : int, optional
        Most columns multiplied at once; by default as many as fit into 256 MiB, and at least 1.

    Raises
    ------
    TaskError
        A name matches nothing, or a parameter is in two blocks.
    ArgumentError
        There is no block, or ``max_columns`` is less than 1.

    Examples
    --------
    >>> import torch
    >>> from probes.operators import HessianOperator
    >>> x = torch.tensor([[1.0], [3.0]])
    >>> H = HessianOperator(torch.nn.Linear(1, 1), torch.nn.MSELoss(), (x, x))
    >>> H @ torch.ones(2), block_diagonal(H, ["weight", "bias"]) @ torch.ones(2)
    (tensor([14.,  6.]), tensor([10.,  2.]))
    """
    cut, most = _places(operator, blocks), _most(max_columns)

    def product(columns: Tensor) -> Tensor:
        result = columns.new_zeros(columns.shape)
        for block, index, image in _images(operator, list(cut.values()), columns, most):
            for place in block:
                result[place, index] = image[place]
        return result

    return Operator(product, like=operator.like, name=f"{len(cut)} diagonal blocks of {operator.name}")


def off_diagonal(
    operator: CurvatureOperator, blocks: Blocks | None = None, *, max_columns: int | None = None
) -> Operator:
    r"""Return :math:`A - \mathrm{diag}(A_{11}, \dots, A_{BB})`; one product costs B products of A.

    Nothing is subtracted: of the product with each piece everything but the piece is added up. Parameters, options and
    errors as for `block_diagonal`; parameters in none of the blocks keep their rows and columns, and cost one product
    more.

    Examples
    --------
    >>> import torch
    >>> from probes.operators import HessianOperator
    >>> x = torch.tensor([[1.0], [3.0]])
    >>> H = HessianOperator(torch.nn.Linear(1, 1), torch.nn.MSELoss(), (x, x))
    >>> off_diagonal(H, ["weight", "bias"]) @ torch.ones(2)
    tensor([4., 4.])
    """
    cut, most = _places(operator, blocks), _most(max_columns)
    covered = sum(place.stop - place.start for block in cut.values() for place in block)
    rest = _complement([place for block in cut.values() for place in block], operator.shape[0])
    pieces = [*cut.values(), *([rest] if covered < operator.shape[0] else [])]

    def product(columns: Tensor) -> Tensor:
        result = columns.new_zeros(columns.shape)
        for block, index, image in _images(operator, pieces, columns, most):
            if block is not rest:
                for place in block:
                    image[place] = 0
            result[:, index] += image
        return result

    return Operator(product, like=operator.like, name=f"{operator.name} without {len(cut)} diagonal blocks")


def _images(
    operator: CurvatureOperator, blocks: Sequence[list[slice]], columns: Tensor, max_columns: int | None
) -> Iterator[tuple[list[slice], int, Tensor]]:
    """Yield for every block and column: the block, the number of the column, A times its zero-padded piece."""
    width = max_columns or max(1, MAX_HELD_BYTES // (columns.shape[0] * columns.element_size()))
    pairs = [(block, index) for block in blocks for index in range(columns.shape[1])]
    for begin in range(0, len(pairs), width):
        part = pairs[begin : begin + width]
        padded = columns.new_zeros(columns.shape[0], len(part))
        for number, (block, index) in enumerate(part):
            for place in block:
                padded[place, number] = columns[place, index]
        product = operator @ padded
        for number, (block, index) in enumerate(part):
            yield block, index, product[:, number]


def _most(max_columns: int | None) -> int | None:
    return None if max_columns is None else as_count(max_columns, name="max_columns")


def _named(operator: CurvatureOperator, names: ParameterSpec) -> list[str]:
    """Return the operator's parameters that a specification names, in the operator's order."""
    named = select(operator.model, names, allow_half=True)
    kept = [name for name in operator.parameters if name in named]
    if not kept:
        raise TaskError(
            f"{names!r} names {', '.join(list(named)[:5])}, none of which belongs to {operator!r}; it acts on "
            f"{', '.join(list(operator.parameters)[:5])}."
        )
    return kept


def _places(operator: CurvatureOperator, blocks: Blocks | None) -> dict[str, list[slice]]:
    """Return where the coordinates of each block lie, neighbors joined."""
    if blocks is None:
        groups: dict[str, list[str]] = by_module(operator.parameters)
    elif isinstance(blocks, Mapping):
        groups = {str(key): _named(operator, names) for key, names in blocks.items()}
    elif isinstance(blocks, str) or callable(blocks):
        raise ArgumentError(f"blocks must be several, in a list or a mapping; got {blocks!r}. For one use restrict.")
    else:
        groups = {str(number): _named(operator, names) for number, names in enumerate(blocks)}
    if not groups:
        raise ArgumentError("at least one block is needed; got none.")
    owner: dict[str, str] = {}
    for key, names in groups.items():
        for name in names:
            if name in owner:
                raise TaskError(f"the parameter {name!r} is in the blocks {owner[name]!r} and {key!r}; cut it once.")
            owner[name] = key
    return {key: _joined(list(positions(operator.parameters, names).values())) for key, names in groups.items()}


def _joined(places: list[slice]) -> list[slice]:
    """Join slices that follow one another."""
    result: list[slice] = []
    for place in places:
        if result and result[-1].stop == place.start:
            result[-1] = slice(result[-1].start, place.stop)
        else:
            result.append(place)
    return result


def _complement(places: list[slice], n: int) -> list[slice]:
    """Return the slices of ``0 .. n - 1`` between the given ones."""
    result, begin = [], 0
    for place in sorted(places, key=lambda place: place.start):
        if begin < place.start:
            result.append(slice(begin, place.start))
        begin = max(begin, place.stop)
    return [*result, slice(begin, n)] if begin < n else result
