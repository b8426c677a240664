import pytest
import torch

from probes.operators.kronecker import KroneckerFactors, KroneckerPreconditioner, LayerFactors
from probes.operators.preconditioned import preconditioned
from spectra import Operator
from spectra.errors import ArgumentError, BackendError, NonFiniteError, ShapeError, TaskError
from spectra.testing import check_operator
from tests.probes.networks import normal


def covariance(n: int, seed: int = 0) -> torch.Tensor:
    """Return a seeded covariance matrix."""
    x = normal(n, n, seed=seed)
    return (x @ x.T) / n


#: One layer with weight and bias apart from each other, a convolution, and a bare vector.
PARAMETERS = {
    "linear.bias": torch.zeros(2, dtype=torch.float64),
    "scale": torch.zeros(4, dtype=torch.float64),
    "conv.weight": torch.zeros(3, 2, 2, 1, dtype=torch.float64),
    "linear.weight": torch.zeros(2, 3, dtype=torch.float64),
}


def given() -> KroneckerFactors:
    return KroneckerFactors(
        parameters=PARAMETERS,
        layers={
            "linear": LayerFactors(
                weight="linear.weight",
                bias="linear.bias",
                input_covariance=covariance(4),
                gradient_covariance=covariance(2, seed=1),
            ),
            "conv": LayerFactors(
                weight="conv.weight",
                bias=None,
                input_covariance=covariance(4, seed=2),
                gradient_covariance=covariance(3, seed=3),
            ),
        },
        diagonal={"scale": torch.linspace(0.0, 3.0, 4, dtype=torch.float64)},
    )


def dense(factors: KroneckerFactors, damping: float) -> torch.Tensor:
    """Form P entry by entry: cov(weight o i, weight o' i') = B[o, o'] A[i, i'], the bias being the last input."""
    coordinates = []
    for name, p in factors.parameters.items():
        layer = next((key for key, f in factors.layers.items() if name in (f.weight, f.bias)), None)
        for flat in range(p.numel()):
            if layer is None:
                coordinates.append((name, flat, None))
            else:
                width = p.numel() // p.shape[0]
                last = factors.layers[layer].input_covariance.shape[0] - 1
                column = last if name == factors.layers[layer].bias else flat % width
                coordinates.append((layer, flat // width, column))
    n = len(coordinates)
    P = damping * torch.eye(n, dtype=torch.float64)
    for i, (one, row, column) in enumerate(coordinates):
        for j, (other, row_, column_) in enumerate(coordinates):
            if one == other and column is None:
                P[i, j] += factors.diagonal[one].reshape(-1)[row] if i == j else 0.0
            elif one == other:
                layer = factors.layers[one]
                P[i, j] += layer.gradient_covariance[row, row_] * layer.input_covariance[column, column_]
    return P


EYE = torch.eye(24, dtype=torch.float64)


def test_every_power_against_dense():
    P = KroneckerPreconditioner(given(), damping=0.1)
    values, vectors = torch.linalg.eigh(dense(given(), 0.1))
    for exponent in (1.0, 0.5, -0.5, -1.0, 2.0):
        torch.testing.assert_close(P.power(EYE, exponent), vectors @ torch.diag(values**exponent) @ vectors.T)


def test_powers_multiply():
    P, v = KroneckerPreconditioner(given(), damping=1e-3), normal(24, 3)
    torch.testing.assert_close(P.sqrt(P.sqrt(v)), P.multiply(v))
    torch.testing.assert_close(P.solve(P.multiply(v)), v)
    torch.testing.assert_close(P.inverse_sqrt(P.sqrt(v[:, 0])), v[:, 0])
    torch.testing.assert_close(P.power(v, 0.0), v)


def test_roots_conform():
    P = KroneckerPreconditioner(given(), damping=1e-2)
    for power in (P.sqrt, P.inverse_sqrt, P.solve, P.multiply):
        check_operator(Operator(power, like=P.like))


def test_the_kronecker_identity():
    """With weights alone and row-major order the block is kron(B, A), and the damping is that of the product."""
    a, b = covariance(3), covariance(2, seed=1)
    layer = LayerFactors(weight="w", bias=None, input_covariance=a, gradient_covariance=b)
    factors = KroneckerFactors(parameters={"w": torch.zeros(2, 3, dtype=torch.float64)}, layers={"": layer})
    P = KroneckerPreconditioner(factors, damping=0.5)
    eye = torch.eye(6, dtype=torch.float64)
    torch.testing.assert_close(P.multiply(eye), torch.kron(b, a) + 0.5 * eye)
    torch.testing.assert_close(P.solve(eye), torch.linalg.inv(torch.kron(b, a) + 0.5 * eye))


def test_damped_matrix_preconditioned_by_itself_has_eigenvalues_below_one():
    bare, damping = dense(given(), 0.0), 0.3
    P = KroneckerPreconditioner(given(), damping=damping)
    found = torch.linalg.eigvalsh(preconditioned(bare, P) @ EYE)
    values = torch.linalg.eigvalsh(bare)
    torch.testing.assert_close(found, values / (values + damping))


def test_singular_factors_are_damped():
    layer = LayerFactors(
        weight="w",
        bias=None,
        input_covariance=torch.ones(3, 3, dtype=torch.float64),
        gradient_covariance=torch.zeros(2, 2, dtype=torch.float64),
    )
    factors = KroneckerFactors(parameters={"w": torch.zeros(2, 3, dtype=torch.float64)}, layers={"": layer})
    P = KroneckerPreconditioner(factors, damping=4.0)
    v = normal(6)
    torch.testing.assert_close(P.inverse_sqrt(v), v / 2)


def test_dtype_is_that_of_the_parameters():
    factors = given()
    single = KroneckerFactors(
        parameters={name: p.float() for name, p in PARAMETERS.items()}, layers=factors.layers, diagonal=factors.diagonal
    )
    P = KroneckerPreconditioner(single, damping=0.1)
    v = normal(24).float()
    # Condition number about 100 of P, times the rounding of float32.
    torch.testing.assert_close(
        P.solve(v).double(), torch.linalg.solve(dense(factors, 0.1), v.double()), rtol=1e-4, atol=1e-5
    )
    with pytest.raises(BackendError):
        P.solve(v.double())


def changed(**changes) -> KroneckerFactors:
    values = {"parameters": PARAMETERS, "layers": given().layers, "diagonal": given().diagonal, **changes}
    return KroneckerFactors(**values)


@pytest.mark.parametrize(
    ("factors", "error", "message"),
    [
        (changed(diagonal={}), TaskError, "scale"),
        (changed(layers={}), TaskError, r"linear\.bias"),
        (changed(parameters={"scale": torch.zeros(4)}), TaskError, r"linear\.weight"),
        (changed(parameters={**PARAMETERS, "conv.weight": torch.zeros(3, 5).double()}), ShapeError, "o x d"),
        (changed(parameters={**PARAMETERS, "conv.weight": torch.zeros(4, 3).double()}), ShapeError, "o x d"),
        (changed(diagonal={"scale": -torch.ones(4)}), NonFiniteError, "scale"),
        (changed(diagonal={"scale": torch.full((4,), torch.nan)}), NonFiniteError, "scale"),
    ],
)
def test_factors_that_do_not_fit(factors, error, message):
    with pytest.raises(error, match=message):
        KroneckerPreconditioner(factors, damping=1.0)


def test_factor_that_is_not_finite():
    layer = LayerFactors(
        weight="w", bias=None, input_covariance=torch.full((1, 1), torch.inf), gradient_covariance=torch.ones(1, 1)
    )
    with pytest.raises(NonFiniteError, match="factor for w"):
        KroneckerPreconditioner(KroneckerFactors(parameters={"w": torch.zeros(1, 1)}, layers={"": layer}), damping=1.0)


@pytest.mark.parametrize("damping", [0.0, -1.0, float("nan"), "x"])
def test_damping_is_positive(damping):
    with pytest.raises(ArgumentError, match="damping"):
        KroneckerPreconditioner(given(), damping=damping)
