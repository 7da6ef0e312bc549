"""What an unwinder may spend on files and memory that somebody else wrote.

Call frame information is a program, and its author may be the library that has just
crashed. It can loop (``DW_OP_skip`` backwards), ask for a gigabyte of rows, or describe
callers for ever. Nothing here therefore counts on a size or an end that a file claims:
every step of every kind is paid for from one budget, and a backtrace that has used it up
is simply shorter.
"""

from __future__ import annotations

import time

FRAMES_AT_MOST = 1024
FILES_AT_MOST = 256
STEPS = 400_000
"""Instructions, operations and table entries in one backtrace. An honest frame takes fifty;
a table that has no index to search takes one for each entry."""


SYMBOLS = 4_000_000
"""Entries of symbol tables in one backtrace: a browser's, with all its local functions."""


SECONDS = 5.0
"""After these a backtrace goes no further. Files can be made that cost little on disk and take
long to read; an honest backtrace takes a thousandth of that."""


class NotUnwindable(Exception):
    """These bytes do not say who called; never leaves this room."""


class Budget:
    """How many steps are left, and how much time."""

    __slots__ = ("_left", "_until")

    def __init__(self, steps: int, seconds: float = SECONDS) -> None:
        self._left = steps
        self._until = time.monotonic() + seconds

    def spend(self, steps: int = 1) -> None:
        """Take some away."""
        self._left -= steps
        if self._left < 0:
            raise NotUnwindable("too many steps")
        if self.late:
            raise NotUnwindable("it took too long")

    @property
    def late(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() > self._until
