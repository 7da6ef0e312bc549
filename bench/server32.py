"""The half of the msl-loadlib contender that its 32-bit server runs."""

from __future__ import annotations

import importlib
from typing import Any

_Server32: Any = importlib.import_module("msl.loadlib").Server32


class Adder(_Server32):  # type: ignore[misc]  # msl-loadlib need not be installed
    """Serves `add` of a 32-bit library."""

    def __init__(self, host: str, port: int, path: str) -> None:
        super().__init__(path, "cdll", host, port)

    def add(self, a: int, b: int) -> int:
        return int(self.lib.add(a, b))
