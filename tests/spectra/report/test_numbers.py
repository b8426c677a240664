"""Numbers for readers and parsers, and tables."""

from spectra.report import finite_or_null, number, table
from spectra.report.numbers import interval


def test_nan_becomes_null_at_any_depth():
    assert finite_or_null({"a": [float("nan"), (1.0, float("inf"))]}) == {"a": [None, [1.0, None]]}


def test_numbers_keep_their_digits_over_many_decades():
    for exponent in range(-12, 13):
        assert abs(float(number(1.2345 * 10.0**exponent)) / 10.0**exponent - 1.2345) < 0.005
    assert number(float("nan")) == "-"


def test_half_open_intervals_are_shown_as_such():
    assert interval(None, 2.0) == "[-, 2.00]"


def test_table_columns_line_up():
    lines = table(("a", "bb"), [("1", "2"), ("333", "4")], markdown=True).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_a_bar_in_a_cell_does_not_end_it():
    assert table(("a",), [("||G||^2",)], markdown=True).splitlines()[-1].count(" | ") == 0
