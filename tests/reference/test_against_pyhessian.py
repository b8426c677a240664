"""The drop-in beside PyHessian 0.1 itself: equal where that is right, and right where it is not.

PyHessian asks for torchvision, which can replace a CPU build of torch: ``pip install --no-deps pyhessian``.
"""

import numpy as np
import pytest
import torch
from torch import nn

from probes.compat.pyhessian import hessian
from tests.cases import optional
from tests.probes.networks import cut, dense_hessian, labels, mlp, normal, relative_error

pyhessian = optional("pyhessian")

pytestmark = pytest.mark.filterwarnings(r"ignore:Using backward\(\) with create_graph=True:UserWarning")

ACCURACY = 1e-10
#: PyHessian adds 1e-6 to the norms by which it divides, which is what its Rayleigh quotients are off, twice.
THEIR_ACCURACY = 1e-5

VECTORS, LABELS = normal(12, 6), labels(12)
EQUAL, RAGGED = (4, 4, 4), (7, 3, 2)


def network():
    return mlp(nn.Tanh)


def both(loss, target=LABELS, **data):
    """Return ours and theirs on the same data, each with a model of its own."""
    with torch.random.fork_rng(devices=[]):
        theirs = pyhessian.hessian(network(), loss, cuda=False, **data)
    return hessian(network(), loss, cuda=False, **data), theirs, dense_hessian(network(), loss, VECTORS, target)


def seeded(call, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return call()


def flat(tensors):
    return torch.cat([x.reshape(-1) for x in tensors])


def vector(module):
    return [normal(*p.shape, seed=i) for i, p in enumerate(module.params)]


SOURCES = {
    "one batch": {"data": (VECTORS, LABELS)},
    "equal batches": {"dataloader": cut(VECTORS, LABELS, EQUAL)},
    "unequal batches": {"dataloader": cut(VECTORS, LABELS, RAGGED)},
}


@pytest.mark.parametrize("source", SOURCES)
def test_top_eigenvalues_of_a_mean_agree(source):
    ours, theirs, dense = both(nn.CrossEntropyLoss(), **SOURCES[source])
    values, vectors = ours.eigenvalues(tol=1e-10, top_n=2)
    their_values, their_vectors = seeded(lambda: theirs.eigenvalues(maxIter=1000, tol=1e-10, top_n=2))
    exact = torch.linalg.eigvalsh(dense)
    np.testing.assert_allclose(values, exact[exact.abs().argsort(descending=True)][:2], rtol=1e-9)
    np.testing.assert_allclose(their_values, values, rtol=THEIR_ACCURACY)
    for v, w in zip(vectors, their_vectors, strict=True):
        assert [x.shape for x in v] == [x.shape for x in w]
        assert abs(float(flat(v) @ flat(w))) == pytest.approx(1, abs=THEIR_ACCURACY)


@pytest.mark.parametrize("source", ["equal batches", "unequal batches"])
def test_products_of_a_mean_agree(source):
    ours, theirs, dense = both(nn.CrossEntropyLoss(), **SOURCES[source])
    v = vector(ours)
    value, product = ours.dataloader_hv_product(v)
    their_value, their_product = theirs.dataloader_hv_product(v)
    assert relative_error(flat(product), dense @ flat(v)) < ACCURACY
    assert relative_error(flat(their_product), flat(product)) < ACCURACY
    assert value == pytest.approx(their_value, rel=1e-9)


@pytest.mark.parametrize("source", SOURCES)
def test_traces_of_a_mean_agree_within_both_error_bars(source):
    ours, theirs, dense = both(nn.CrossEntropyLoss(), **SOURCES[source])
    samples = [ours.trace(tol=1e-9), seeded(lambda: theirs.trace(tol=0.0))]
    assert [len(x) for x in samples] == [100, 100]
    means = [np.mean(x) for x in samples]
    stderrs = [np.std(x, ddof=1) / 10 for x in samples]
    assert abs(means[0] - means[1]) < 3 * np.hypot(*stderrs)
    assert abs(means[0] - float(torch.trace(dense))) < 3 * stderrs[0]
    assert ours.trace_estimate().stderr == pytest.approx(stderrs[0])


def test_a_gradient_with_graph_is_theirs():
    ours, theirs, _ = both(nn.CrossEntropyLoss(), **SOURCES["one batch"])
    torch.testing.assert_close([g.detach() for g in ours.gradsH], [g.detach() for g in theirs.gradsH])
    v = vector(ours)
    product = pyhessian.hessian_vector_product(ours.gradsH, ours.params, v)
    torch.testing.assert_close(list(product), ours.dataloader_hv_product(v)[1])


# ------------------------------------------------------------------------------------------------- where they are wrong


def test_theirs_averages_the_sums_of_batches():
    ours, theirs, dense = both(nn.CrossEntropyLoss(reduction="sum"), **SOURCES["unequal batches"])
    v = vector(ours)
    exact = dense @ flat(v)
    assert relative_error(flat(ours.dataloader_hv_product(v)[1]), exact) < ACCURACY
    assert relative_error(flat(theirs.dataloader_hv_product(v)[1]), exact) > 0.1


def test_theirs_stops_a_negative_trace_at_once():
    def concave(output, target):
        return -nn.functional.mse_loss(output, target)

    target = normal(12, 4, seed=4)
    ours, theirs, dense = both(concave, target, data=(VECTORS, target))
    assert len(seeded(theirs.trace)) == 2
    assert len(ours.trace()) == 100
    estimate = ours.trace_estimate()
    assert float(torch.trace(dense)) < 0
    assert abs(estimate.value - float(torch.trace(dense))) < 3 * estimate.stderr


def test_theirs_has_no_density_any_more():
    ours, theirs, dense = both(nn.CrossEntropyLoss(), **SOURCES["one batch"])
    with pytest.raises(RuntimeError, match="deprecated"):
        seeded(lambda: theirs.density(iter=5))
    exact = torch.linalg.eigvalsh(dense)
    nodes, weights = ours.density(iter=20)
    assert len(nodes[0]) == len(weights[0]) == 20
    assert nodes[0][-1] == pytest.approx(float(exact[-1]), rel=1e-6)


def test_theirs_leaves_the_model_in_evaluation_mode_with_gradients():
    model = network().train()
    pyhessian.hessian(model, nn.CrossEntropyLoss(), data=(VECTORS, LABELS), cuda=False)
    assert not model.training
    assert all(p.grad.requires_grad for p in model.parameters())
    model = network().train()
    hessian(model, nn.CrossEntropyLoss(), data=(VECTORS, LABELS), cuda=False).eigenvalues()
    assert model.training
    assert all(p.grad is None for p in model.parameters())
