"""The Fisher matrix of the outputs against its definition, and its draws against its own standard error."""

import math

import pytest
import torch
from torch import nn
from torch.func import grad, jacrev, vmap

from probes.losses import read_loss
from spectra.errors import ArgumentError, NonFiniteError, ShapeError, TaskError
from tests.probes.losses.cases import CASES, WEIGHT, dense, drawable_targets
from tests.probes.networks import labels, normal

LIKELIHOODS = [case for case in CASES if read_loss(case.loss).is_likelihood]
OTHERS = [case for case in CASES if not read_loss(case.loss).is_likelihood]

every_likelihood = pytest.mark.parametrize("case", LIKELIHOODS, ids=str)


def is_natural(loss):
    """Whether outputs are natural parameters of an exponential family: not log-probabilities, not rates."""
    return not isinstance(loss, nn.NLLLoss) and getattr(loss, "log_input", True)


def unsmoothed(loss):
    """Return the negative log-likelihood itself: the sum, without label smoothing."""
    if isinstance(loss, nn.CrossEntropyLoss):
        return nn.CrossEntropyLoss(reduction="sum")
    if isinstance(loss, nn.PoissonNLLLoss):
        return nn.PoissonNLLLoss(log_input=loss.log_input, eps=loss.eps, reduction="sum")
    return type(loss)(reduction="sum")


def items(case):
    """Return what the loss averages over."""
    if case.loss.reduction == "sum":
        return 1
    if isinstance(case.loss, nn.CrossEntropyLoss | nn.NLLLoss):
        if case.target.is_floating_point():
            return case.output.numel() // 4
        return int((case.target != case.loss.ignore_index).sum())
    return case.output.numel()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@every_likelihood
def test_definition(case):
    """The expectation of s s' over targets that are enumerated, s by automatic differentiation of the torch loss."""
    read, output = read_loss(case.loss), case.output
    count, loss = output.numel(), unsmoothed(case.loss)
    index = torch.arange(count).reshape(output.shape)
    softmax = isinstance(case.loss, nn.CrossEntropyLoss | nn.NLLLoss)
    axis = 1 if output.ndim > 1 else 0
    # Entries of one position (softmax) or of one element belong together; different ones are independent.
    item = index.select(axis, 0).unsqueeze(axis).expand_as(index) if softmax else index
    together = item.reshape(-1, 1) == item.reshape(1, -1)
    expected, mean = torch.zeros(count, count, dtype=torch.float64), torch.zeros(count, dtype=torch.float64)
    for target, share in drawable_targets(case):
        score = grad(lambda z, target=target: loss(z, target))(output).flatten()
        probability = share.expand_as(output).flatten()
        mean += probability * score
        expected += together * torch.outer(probability * score, score)
    found = dense(lambda u: read.fisher_product(output, case.target, u), count, output.shape)
    torch.testing.assert_close(found, expected / items(case), rtol=1e-11, atol=1e-14)
    if not isinstance(case.loss, nn.NLLLoss):
        assert mean.abs().max() < 1e-12


@pytest.mark.parametrize("case", [case for case in LIKELIHOODS if is_natural(case.loss)], ids=str)
def test_equals_the_hessian_where_it_must(case):
    """For the natural parameter of an exponential family the two agree; soft targets sum to one here."""
    read, vector = read_loss(case.loss), normal(*case.output.shape, seed=8)
    hessian = read.hessian_product(case.output, case.target, vector)
    torch.testing.assert_close(read.fisher_product(case.output, case.target, vector), hessian, rtol=1e-12, atol=1e-16)


def test_network_turns_log_probabilities_into_logits():
    """J'FJ through log_softmax is the Fisher matrix of cross-entropy."""
    logits, target, vector = normal(7, 4), labels(7), normal(7, 4, seed=2)
    read = read_loss(nn.NLLLoss())
    log_probabilities = torch.log_softmax(logits, 1)
    jacobian = jacrev(lambda z: torch.log_softmax(z, 1))(logits).reshape(28, 28)
    tangent = (jacobian @ vector.flatten()).reshape(7, 4)
    found = (jacobian.T @ read.fisher_product(log_probabilities, target, tangent).flatten()).reshape(7, 4)
    expected = read_loss(nn.CrossEntropyLoss()).fisher_product(logits, target, vector)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-16)
    with pytest.raises(TaskError, match="log-probabilities"):
        read.fisher_product(logits, target, vector)


@every_likelihood
def test_leading_axes(case):
    read, output, target = read_loss(case.loss), case.output, case.target
    vectors = normal(2, 3, *output.shape, seed=8)
    scores = read.draw_scores(output, target, 5, generator())
    for product in (
        lambda u: read.fisher_product(output, target, u),
        lambda u: read.scores_product(output, target, scores, u),
    ):
        together = product(vectors)
        single = torch.stack([product(u) for u in vectors.flatten(0, 1)]).reshape(vectors.shape)
        torch.testing.assert_close(together, single, rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(vmap(product)(vectors), together, rtol=1e-12, atol=1e-15)


@every_likelihood
def test_scores_are_gradients_at_targets(case):
    """A target is read off from every score; the gradient of the torch loss there is the score."""
    read, output, loss = read_loss(case.loss), case.output, unsmoothed(case.loss)
    axis = 1 if output.ndim > 1 else 0
    for score in read.draw_scores(output, case.target, 3, generator()):
        if isinstance(case.loss, nn.CrossEntropyLoss | nn.NLLLoss):
            target = score.argmin(axis)
            if not case.target.is_floating_point():
                target = torch.where(case.target == case.loss.ignore_index, -100, target)
        elif isinstance(case.loss, nn.MSELoss):
            target = output - score / 2
        elif isinstance(case.loss, nn.BCEWithLogitsLoss):
            target = (score < 0).double()
        elif isinstance(case.loss, nn.SoftMarginLoss):
            target = -score.sign()
        else:
            rate = output.exp() if loss.log_input else output + loss.eps
            target = (rate - score if loss.log_input else rate * (1 - score)).round()
            assert (target >= 0).all()
        torch.testing.assert_close(grad(lambda z, t=target: loss(z, t))(output), score, rtol=1e-12, atol=1e-13)


@every_likelihood
def test_expectation_over_draws(case):
    """u'Fu of single draws: their mean is within the spread that they show themselves."""
    read, output, target = read_loss(case.loss), case.output, case.target
    vector, num = normal(*output.shape, seed=8), 3000
    scores = read.draw_scores(output, target, num, generator(11))
    exact = float((vector * read.fisher_product(output, target, vector)).sum())
    draws = vmap(lambda s: (vector * read.scores_product(output, target, s.unsqueeze(0), vector)).sum())(scores)
    together = float((vector * read.scores_product(output, target, scores, vector)).sum())
    assert together == pytest.approx(float(draws.mean()), rel=1e-12)
    stderr = float(draws.std()) / math.sqrt(num)
    # 4.4 standard errors: one false alarm in 1e5 for each case.
    assert abs(together - exact) < 4.4 * stderr
    if not isinstance(case.loss, nn.NLLLoss):
        means = (scores * vector).flatten(1).sum(1)
        assert abs(float(means.mean())) < 4.4 * float(means.std()) / math.sqrt(num)


@every_likelihood
def test_block_product_is_the_outer_product_within_items(case):
    """For a vector of a single item nothing is left out: (1/(D num)) sum s (s'u) itself."""
    read, output, target = read_loss(case.loss), case.output, case.target
    scores = read.draw_scores(output, target, 4, generator())
    vector, mask = torch.zeros_like(output), torch.zeros_like(output, dtype=torch.bool)
    if isinstance(case.loss, nn.CrossEntropyLoss | nn.NLLLoss):
        mask[(0, slice(None), *[0] * (output.ndim - 2)) if output.ndim > 1 else slice(None)] = True
    else:
        mask.view(-1)[1] = True
    vector[mask] = normal(int(mask.sum()), seed=3)
    expected = torch.einsum("m...,m->...", scores, (scores * vector).flatten(1).sum(1)) / (4 * items(case))
    found = read.scores_product(output, target, scores, vector)
    torch.testing.assert_close(found[mask], expected[mask], rtol=1e-12, atol=1e-16)
    assert not found[~mask].any()


@every_likelihood
def test_draws_belong_to_the_generator(case):
    read, state = read_loss(case.loss), torch.get_rng_state()
    first, again, other = (read.draw_scores(case.output, case.target, 6, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())
    assert first.shape == (6, *case.output.shape)
    with pytest.raises(ArgumentError, match="CPU"):
        read.draw_scores(case.output, case.target, 1, 0)


def test_draws_do_not_depend_on_the_precision():
    read, output, target = read_loss(nn.CrossEntropyLoss()), normal(50, 4), labels(50)
    wide = read.draw_scores(output, target, 20, generator())
    narrow = read.draw_scores(output.float(), target, 20, generator())
    torch.testing.assert_close(narrow.double(), wide, rtol=1e-5, atol=1e-7)


def test_saturated_scores_keep_their_digits():
    """p - e_y in float32 where p_y rounds to 1: what is left is the small probability of the other classes."""
    output = torch.tensor([[18.0, 0.0, 0.5], [0.0, 20.0, 1.0]])
    score = read_loss(nn.CrossEntropyLoss()).draw_scores(output, torch.tensor([0, 1]), 1, generator())[0]
    expected = torch.softmax(output.double(), 1) - torch.tensor([[1, 0, 0], [0, 1, 0]])
    torch.testing.assert_close(score.double(), expected, rtol=1e-5, atol=0)
    score = read_loss(nn.BCEWithLogitsLoss()).draw_scores(output, output, 1, generator())[0, 0, 0]
    assert float(score) == pytest.approx(-1 / (1 + math.exp(18.0)), rel=1e-5)


def test_ignored_positions_have_no_curvature():
    read, output, target = read_loss(nn.CrossEntropyLoss()), normal(6, 4, 3), labels(6, 3)
    target[2, 1] = -100
    scores, vector = read.draw_scores(output, target, 8, generator()), normal(6, 4, 3, seed=2)
    assert not scores[:, 2, :, 1].any()
    assert scores[:, 2, :, 0].all()
    assert not read.fisher_product(output, target, vector)[2, :, 1].any()
    assert not read.scores_product(output, target, scores, vector)[2, :, 1].any()


@pytest.mark.parametrize("case", OTHERS, ids=str)
def test_losses_without_likelihood(case):
    read = read_loss(case.loss)
    needed = "GaussNewtonOperator"
    with pytest.raises(TaskError, match=needed):
        read.fisher_product(case.output, case.target, case.output)
    with pytest.raises(TaskError, match=needed):
        read.draw_scores(case.output, case.target, 1, generator())
    with pytest.raises(TaskError, match=needed):
        read.scores_product(case.output, case.target, case.output.unsqueeze(0), case.output)


def test_why_there_is_no_likelihood():
    for loss, reason in [
        (nn.CrossEntropyLoss(weight=WEIGHT, label_smoothing=0.1), "with class weights"),
        (nn.BCEWithLogitsLoss(pos_weight=WEIGHT), "with weight or pos_weight"),
        (nn.KLDivLoss(reduction="batchmean"), "nn.CrossEntropyLoss on logits"),
        (lambda output, target: output.mean(), "not the negative log-likelihood"),
    ]:
        with pytest.raises(TaskError, match=reason):
            read_loss(loss).fisher_product(normal(5, 4), normal(5, 4), normal(5, 4))


def test_what_does_not_fit():
    read, output, target = read_loss(nn.CrossEntropyLoss()), normal(5, 4), labels(5)
    with pytest.raises(ShapeError, match="as draw_scores gives them"):
        read.scores_product(output, target, output, output)
    with pytest.raises(ShapeError, match="outputs' shape"):
        read.fisher_product(output, target, normal(4, 5))
    read = read_loss(nn.PoissonNLLLoss(log_input=False))
    for rate in (math.inf, -1.0):
        with pytest.raises(NonFiniteError, match="Poisson counts"):
            read.draw_scores(torch.tensor([rate]), torch.zeros(1), 1, generator())
