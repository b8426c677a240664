"""Every exception of both packages, in one tree.

::

    SpectraError                     anything this project raises on purpose
    ├── ArgumentError    ValueError      an argument has a value that cannot be used
    ├── ShapeError       ValueError      an array or operator has the wrong shape
    ├── BackendError     TypeError       an array library, dtype or device that cannot be used here
    ├── NotSymmetricError    ValueError  u'(Av) and v'(Au) differ
    ├── NonFiniteError   ArithmeticError a product, loss or gradient is NaN or infinite
    ├── NonDeterministicError RuntimeError  the same product twice gave two results
    ├── DerivativeError  RuntimeError    a product of a network disagrees with differences of its gradient
    ├── SchemaError      ValueError      a file is not ours, too new, damaged or incomplete
    ├── CheckpointError  ValueError      a checkpoint cannot be read safely
    ├── TaskError        ValueError      a task cannot be imported or does not describe a training problem
    ├── OutOfMemoryError MemoryError     the smallest piece of the work does not fit into memory
    └── MissingExtraError ImportError    an optional library is not installed

Each class is also the builtin that fits, so ``except ValueError`` keeps working. Messages say what was required, what
came, and what to do.
"""

__all__ = [
    "ArgumentError",
    "BackendError",
    "CheckpointError",
    "DerivativeError",
    "MissingExtraError",
    "NonDeterministicError",
    "NonFiniteError",
    "NotSymmetricError",
    "OutOfMemoryError",
    "SchemaError",
    "ShapeError",
    "SpectraError",
    "TaskError",
]


class SpectraError(Exception):
    """Base of every exception this project raises on purpose."""


class ArgumentError(SpectraError, ValueError):
    """An argument has a value that cannot be used."""


class ShapeError(SpectraError, ValueError):
    """An array or operator has the wrong shape."""


class BackendError(SpectraError, TypeError):
    """An array library, dtype or device cannot be used here."""


class NotSymmetricError(SpectraError, ValueError):
    """The operator is not symmetric: ``u'(Av)`` and ``v'(Au)`` differ by more than rounding."""


class NonFiniteError(SpectraError, ArithmeticError):
    """A product, loss or gradient contains NaN or infinity."""


class NonDeterministicError(SpectraError, RuntimeError):
    """The same computation, run twice, gave two results."""


class DerivativeError(SpectraError, RuntimeError):
    """A curvature product could not be formed, or disagrees with differences of the gradient."""


class SchemaError(SpectraError, ValueError):
    """A file is foreign, written by a newer schema, damaged or incomplete."""


class CheckpointError(SpectraError, ValueError):
    """A checkpoint cannot be read, or only by running code stored in it."""


class TaskError(SpectraError, ValueError):
    """A task cannot be imported, or does not describe a training problem."""


class OutOfMemoryError(SpectraError, MemoryError):
    """The smallest piece of the work does not fit into memory, or into the budget it was given."""


class MissingExtraError(SpectraError, ImportError):
    """An optional library is missing; the message names the extra to install."""
