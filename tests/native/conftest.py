"""What the tests of the C core share."""

from __future__ import annotations

import pytest

from . import test_spawn


@pytest.fixture(autouse=True)
def earlier_children() -> None:
    """Processes that other tests have made, and that end when it pleases them."""
    test_spawn.EARLIER.clear()
    test_spawn.EARLIER.update(test_spawn.children())
