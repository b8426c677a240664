import numpy as np
import pytest

from spectra import lanczos
from spectra.missed_pairs import LEVEL, Multiplicities, look_for_missed_pairs, no_eigenvalue_beyond
from spectra.products import Products
from spectra.start_vectors import start_vectors, unit_rows
from spectra.thick_restart import ThickRestart


def searched(a, *, num=1, which="largest", start=None, tolerance=1e-8, **options):
    products = Products(a)
    start = start_vectors(products.operator.like, num=1) if start is None else start
    search = ThickRestart(products, unit_rows(start, products.operator)[0], max_rows=1000)
    search.run(num=num, which=which, tolerance=0.5 * tolerance, max_steps=500)
    pairs = search.ritz()
    known = Multiplicities(
        values=pairs.values, residuals=pairs.residuals, tolerance=tolerance * search.norm, block=1, is_complete=False
    )
    spent = products.num_matvecs
    options = {"max_products": 400, "seed": 5, "first": 1} | options
    level, known = look_for_missed_pairs(search, known, num=num, which=which, **options)
    return search, level, known, products.num_matvecs - spent


def test_statement_holds_as_often_as_it_says():
    n, p, failure = 60, 1500, 0.3
    values = np.concatenate([np.linspace(0.0, 1.0, n - 1), [1.3]])
    found = lanczos(np.diag(values), start_vectors(np.zeros(n), num=p, rng=3), num_steps=6)
    wrong = 0
    for i in range(p):
        if any(
            no_eigenvalue_beyond(1.2999, found.diagonal[i, :m], found.off_diagonal[i, :m], dimension=n, failure=failure)
            for m in range(1, 7)
        ):
            wrong += 1
    assert 0 < wrong / p <= failure + 3.0 * np.sqrt(failure * (1.0 - failure) / p)


def test_statement_is_made_in_time():
    n = 400
    values = np.linspace(0.0, 1.0, n)
    found = lanczos(np.diag(values), start_vectors(np.zeros(n), num=5), num_steps=25)
    for i in range(5):
        asked = [
            no_eigenvalue_beyond(1.2, found.diagonal[i, :m], found.off_diagonal[i, :m], dimension=n, failure=0.01)
            for m in range(1, 26)
        ]
        assert asked[-1]
        assert 4 <= np.argmax(asked) <= 15


@pytest.mark.parametrize("which", ["largest", "smallest", "both", "magnitude"])
def test_copies_are_found_one_by_one(which):
    values = np.concatenate([np.linspace(-1.0, 1.0, 57), [5.0] * 3, [-4.0] * 2])
    search, level, known, spent = searched(np.diag(values), num=1, which=which)
    assert level == LEVEL
    assert spent < 120
    if which != "smallest":
        assert known.count(5.0 * 2.0 ** -(search.products.exponent or 0)) == 3
    if which in ("smallest", "both"):
        assert known.count(-4.0 * 2.0 ** -(search.products.exponent or 0)) == 2
    assert known.is_complete


def test_an_eigenvector_orthogonal_to_the_start_is_found():
    values = np.concatenate([np.linspace(0.0, 1.0, 98), [2.0, 3.0]])
    start = np.ones((100, 1))
    start[-1] = 0.0
    search, level, _, _ = searched(np.diag(values), start=start)
    assert level == LEVEL
    assert search.products.unscaled(search.ritz().values[-1]) == pytest.approx(3.0, rel=1e-12)


def test_nothing_missed_costs_few_products():
    values = np.concatenate([np.linspace(0.0, 1.0, 995), [3.0, 4.0, 5.0, 6.0, 7.0]])
    _, level, known, spent = searched(np.diag(values), num=5)
    assert level == LEVEL
    assert spent <= 15
    assert known.is_complete


def test_too_few_products_make_no_statement():
    values = np.concatenate([np.linspace(0.0, 1.0, 97), [5.0] * 3])
    for products in (1, 3):
        search, level, known, spent = searched(np.diag(values), max_products=products)
        assert (level, spent, known.is_complete) == (0.0, products, False)
        assert not known.is_resolved(5.0 * 2.0 ** -(search.products.exponent or 0))


@pytest.mark.parametrize("a", [np.zeros((6, 6)), -2.0 * np.eye(6), np.array([[3.0]]), np.ones((6, 6))])
@pytest.mark.parametrize("which", ["largest", "both", "magnitude"])
def test_degenerate(a, which):
    search, level, known, spent = searched(a, which=which)
    assert level == LEVEL
    assert spent <= 12
    scale = 2.0 ** -(search.products.exponent or 0)
    exact = np.linalg.eigvalsh(a)
    for value in {"largest": [exact[-1]], "both": [exact[0], exact[-1]], "magnitude": [exact[np.argmax(abs(exact))]]}[
        which
    ]:
        assert known.count(value * scale) == np.sum(np.abs(exact - value) < 1e-12)
