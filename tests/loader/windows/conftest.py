"""The crafted DLLs, compiled once."""

from __future__ import annotations

from pathlib import Path

import pytest

from .wine import build


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Give the DLLs that ``wine.build`` makes, by name."""
    return build(tmp_path_factory.mktemp("crafted") / "built")
