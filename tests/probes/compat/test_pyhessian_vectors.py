"""Lists of tensors against flat vectors."""

import pytest
import torch

from probes.compat.pyhessian import (
    get_params_grad,
    group_add,
    group_product,
    hessian,
    hessian_vector_product,
    normalization,
    orthnormal,
)
from tests.probes.networks import labels, mlp, normal

SHAPES = ((3, 2), (4,), (1,))


def tensors(seed, scale=1.0):
    return [scale * normal(*shape, seed=seed + i) for i, shape in enumerate(SHAPES)]


def flat(x):
    return torch.cat([piece.reshape(-1) for piece in x])


def test_products_and_sums_are_those_of_flat_vectors():
    x, y = tensors(0), tensors(10)
    assert float(group_product(x, y)) == pytest.approx(float(flat(x) @ flat(y)))
    expected = flat(x) - 2.5 * flat(y)
    assert group_add(x, y, alpha=-2.5) is x
    torch.testing.assert_close(flat(x), expected)


@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
def test_normalization_has_no_scale(scale):
    torch.testing.assert_close(flat(normalization(tensors(0, scale))), flat(tensors(0)) / flat(tensors(0)).norm())


def test_a_zero_vector_stays_zero():
    assert float(flat(normalization(tensors(0, 0.0))).abs().max()) == 0.0


def test_orthonormal_to_rounding_even_of_a_nearly_dependent_vector():
    basis = [normalization(tensors(0))]
    basis.append(orthnormal(tensors(10), basis))
    w = [x + 1e-9 * y for x, y in zip(basis[0], tensors(20), strict=True)]
    kept = flat(w).clone()
    found = flat(orthnormal(w, basis))
    assert torch.equal(flat(w), kept)
    assert float(found.norm()) == pytest.approx(1)
    assert max(abs(float(found @ flat(v))) for v in basis) < 1e-15


def test_get_params_grad_copies_and_fills_with_zeros():
    model = mlp()
    model[0].weight.requires_grad_(False)
    model[2].bias.grad = torch.ones(4).double()
    params, grads = get_params_grad(model)
    assert [id(p) for p in params] == [id(model[0].bias), id(model[2].weight), id(model[2].bias)]
    assert grads[2] is not model[2].bias.grad
    assert [float(g.sum()) for g in grads] == [0.0, 0.0, 4.0]


def test_a_script_with_its_own_loop_gets_the_products_of_the_class():
    module = hessian(mlp(), torch.nn.CrossEntropyLoss(), data=(normal(9, 6), labels(9)), cuda=False)
    v = [normal(*p.shape, seed=i) for i, p in enumerate(module.params)]
    found = hessian_vector_product(module.gradsH, module.params, v)
    torch.testing.assert_close(list(found), module.dataloader_hv_product(v)[1])
    assert all(p.grad is None for p in module.params)


def test_a_piece_without_curvature_gives_zeros():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    (gradient,) = torch.autograd.grad((x**3).sum(), x, create_graph=True)
    pieces = hessian_vector_product([gradient, torch.ones(1)], [x, torch.ones(1, requires_grad=True)], [x, x[:1]])
    assert pieces[1].tolist() == [0.0]
