"""A sandbox for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import libferry as ferry
from tests.sandbox.library import sandboxed


@pytest.fixture
def pure() -> Iterator[ferry.Library]:
    """The library in the sandbox ``pure``."""
    with sandboxed() as library:
        yield library
