from __future__ import annotations

from pathlib import Path

import pytest

from .workshop import Loader, Workshop


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    """A workshop whose work this machine's own loader judges."""
    return Workshop(tmp_path, Loader())
