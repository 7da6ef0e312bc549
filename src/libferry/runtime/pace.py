"""How many rows of a bulk call are a piece.

Between two pieces progress is told, Ctrl-C is heard, and a deadline begins anew. But a
piece costs some microseconds of Python. So it is to take a few milliseconds, whatever a
row takes; how much that is shows with the first pieces, which are short.
"""

from __future__ import annotations

FIRST = 64  # rows
SECONDS = 0.005
GROWTH = 64  # at most, from one piece to the next


class Pace:
    """The size of the next piece of one bulk call, ``most`` rows at most."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._rows = FIRST

    @property
    def rows(self) -> int:
        """How many rows the next piece is to have."""
        return min(self._rows, self.most)

    def took(self, rows: int, seconds: float) -> None:
        """Learn from a piece that is done."""
        fitting = int(rows * SECONDS / max(seconds, 1e-9))
        self._rows = max(1, min(fitting, rows * GROWTH))
