from __future__ import annotations

from pathlib import Path

import pytest

import libferry._core


@pytest.fixture(scope="session")
def native() -> bytes:
    """A real library: the project's own extension."""
    return Path(libferry._core.__file__).read_bytes()
