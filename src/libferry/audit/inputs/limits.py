"""What an archive may cost.

Ten kilobytes can unpack to ten gigabytes, and nothing in them says so beforehand: what
headers claim is written by whoever made the file. So what really comes out is counted
while it does, against limits that no honest package reaches. Measured on Debian 12's
packages and on wheels, the best that xz does with real code is 1:40.
"""

from __future__ import annotations

from dataclasses import dataclass

from libferry.errors import BadArchive

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Limits:
    """How much of it there may be.

    Attributes:
        entries: files, folders and links.
        ratio, allowance: it may expand to ``ratio`` times its size and ``allowance`` bytes.
        expanded: and at most to so many bytes.
        depth: folders inside each other.
        header: bytes of what is not contents: one name, one table.
    """

    entries: int = 1_000_000
    ratio: int = 200
    allowance: int = 512 * MEBIBYTE
    expanded: int = 64 * 1024 * MEBIBYTE
    depth: int = 200
    header: int = MEBIBYTE


class Budget:
    """What is left of the limits while one archive is unpacked."""

    def __init__(self, tried: str, size: int, limits: Limits) -> None:
        self.tried = tried
        self.limits = limits
        self._bytes = self._allowed = min(limits.allowance + limits.ratio * size, limits.expanded)
        self._entries = limits.entries

    def spend(self, size: int) -> None:
        """Take ``size`` bytes that came out of it."""
        self._bytes -= size
        if self._bytes < 0:
            raise BadArchive(
                self.tried,
                f"it expands to more than {self._allowed // MEBIBYTE} MiB, more than any honest "
                "archive of its size",
                hint="treat it as hostile; if you trust it, unpack it and check the folder",
            )

    def entry(self) -> None:
        """Take one file, folder or link."""
        self._entries -= 1
        if self._entries < 0:
            raise BadArchive(
                self.tried,
                f"it has more than {self.limits.entries} entries",
                hint="treat it as hostile; if you trust it, unpack it and check the folder",
            )

    def bad(self, happened: str, hint: str = "") -> BadArchive:
        """The error for something wrong in it, to be raised by the caller."""
        return BadArchive(
            self.tried,
            happened,
            hint=hint or "it is incomplete or damaged: get it again, and compare its checksum",
        )
