"""Fixtures shared by all tests."""

from typing import Any

import pytest

from tests.cases import ARRAY_LIBRARIES, OPERATORS, load


@pytest.fixture(params=ARRAY_LIBRARIES)
def xp(request: pytest.FixtureRequest) -> Any:
    """Return the namespace of one array library after the other."""
    return load(request.param)


@pytest.fixture(params=OPERATORS)
def any_operator(request: pytest.FixtureRequest) -> Any:
    """Return one operator of ``tests.cases`` after the other."""
    return OPERATORS[request.param]()
