import numpy as np

from spectra.laws.bracketing import increasing_root


def test_roots_are_exact_to_the_last_bits():
    target = np.concatenate([np.geomspace(1e-9, 1e9, 401), [0.0]])
    found = increasing_root(lambda x: x**3 - target, np.full(402, -1.0), np.full(402, 1e4))
    np.testing.assert_allclose(found[:-1], np.cbrt(target[:-1]), rtol=1e-13)
    assert abs(found[-1]) < 1e-18


def test_jumps_and_flat_pieces_end_at_a_bracket_of_one_bit():
    jump = np.array([0.3, -0.7, 0.0])
    found = increasing_root(lambda x: np.where(x < jump, -1.0, 1.0), np.full(3, -1.0), np.ones(3))
    np.testing.assert_allclose(found, jump, atol=1e-15)


def test_a_bracket_without_a_root_gives_the_nearer_end():
    found = increasing_root(lambda x: x - np.array([2.0, -2.0]), np.full(2, -1.0), np.ones(2))
    np.testing.assert_array_equal(found, [1.0, -1.0])


def test_roots_at_the_ends_are_found():
    found = increasing_root(lambda x: x - np.array([0.0, 1.0]), np.zeros(2), np.ones(2))
    np.testing.assert_allclose(found, [0.0, 1.0], atol=1e-300)


def test_few_evaluations_suffice_for_smooth_functions():
    count = 0

    def function(x):
        nonlocal count
        count += 1
        return np.expm1(x) - np.linspace(0.1, 5.0, 50)

    increasing_root(function, np.zeros(50), np.full(50, 3.0))
    assert count < 25


def test_a_target_gives_the_same_roots():
    target = np.linspace(0.1, 5.0, 500)
    low, high = np.zeros(500), np.full(500, 3.0)
    together = increasing_root(lambda x: np.expm1(x) - target, low, high)
    np.testing.assert_allclose(increasing_root(np.expm1, low, high, target=target), together, rtol=1e-15)
    np.testing.assert_allclose(together, np.log1p(target), rtol=1e-14)


def test_no_points_at_all():
    assert increasing_root(np.expm1, np.empty(0), np.empty(0), target=np.empty(0)).shape == (0,)


def test_points_that_are_done_stay_while_others_go_on():
    low, high = np.array([0.0, 1.0, 0.0, 2.0, 0.0]), np.array([0.0, 2.0, 0.9, 3.0, 3.0])
    root = np.array([0.0, 0.5, 1.0, 2.0, 1.234])
    expected = [0.0, 1.0, 0.9, 2.0, 1.234]
    np.testing.assert_allclose(increasing_root(lambda x: x**3 - root**3, low, high), expected, rtol=1e-14)
    np.testing.assert_allclose(increasing_root(lambda x: x**3, low, high, target=root**3), expected, rtol=1e-14)
