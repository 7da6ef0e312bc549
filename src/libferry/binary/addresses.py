"""From an address in memory to the part of the file that is mapped there.

ELF segments, PE sections and Mach-O sections all say "these bytes go to that
address", and all three readers ask the way back, some once for every export. A
binary search keeps that cheap even when a file has as many sections as exports.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Generic, TypeVar

Part = TypeVar("Part")


class AddressMap(Generic[Part]):
    """Parts by address. Of parts that overlap, the one that starts last is found."""

    __slots__ = ("_parts", "_starts")

    def __init__(self, parts: Iterable[tuple[int, int, Part]]) -> None:
        """Take ``(start, size, part)`` in any order."""
        self._parts = sorted(parts, key=_start)
        self._starts = [part[0] for part in self._parts]

    def find(self, address: int) -> tuple[int, Part] | None:
        """Give the part at ``address`` and how far into it that is."""
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        start, size, part = self._parts[index]
        return (address - start, part) if address - start < size else None

    def around(self, address: int) -> tuple[int, int, Part] | None:
        """Give the addresses from and up to which ``find`` gives the same part, and it."""
        index = bisect_right(self._starts, address) - 1
        if self.find(address) is None:
            return None
        start, size, part = self._parts[index]
        after = self._starts[index + 1] if index + 1 < len(self._starts) else start + size
        return start, min(start + size, after), part


def _start(part: tuple[int, int, object]) -> int:
    return part[0]
