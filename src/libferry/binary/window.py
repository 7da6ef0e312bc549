"""A view of a file in which every read is checked against the file's end.

All three formats are pages of offsets and counts that somebody else wrote, and
any of them may lie. The readers therefore never index bytes themselves. They ask
a ``Window``, and a ``Window`` either gives the bytes or raises ``BadBinary`` with
the file offset and the name of what was being read. A window can be narrowed
(``view``) to one segment, section or slice; offsets in messages stay those of
the file.

Three limits keep hostile files from costing more than honest ones:

- no table is larger than the region it lies in, nor than ``LARGEST_TABLE``;
- every string is charged to a budget that grows with the file's size. A million
  names may all point into the same long string, one byte apart, and reading
  them would then take the square of the file's size;
- bytes come through ``pread`` a page at a time, so that we touch what we use.

Why not ``mmap``, the usual choice for this? If another process truncates a
mapped file, the next access kills us with SIGBUS, which no ``except`` can catch.
``pread`` on that file gives a short read, which we can put into words. It is also
faster here: reading a library touches two to four pages, and to map the file, fault
those pages in and unmap it again took five times as long as copying them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from struct import Struct
from typing import Any

from libferry.errors import BadBinary

PAGE = 1 << 14

LARGEST_TABLE = 1 << 28
"""256 MiB, or eleven million symbols. The point is sparse files, whose size is
free to whoever makes them."""

NAMES_AT_ONCE = 512
TABLE_BYTES_PER_NAME = 256
"""Of a string table larger than this, each name is read by itself."""

NAME_BYTES_PER_FILE_BYTE = 8
NAME_BYTES_AT_LEAST = 1 << 16
NAME_BYTES_AT_MOST = 1 << 30

Raw = bytes
"""What ``bytes`` is called where ``Window.bytes`` hides it."""

DAMAGED = (
    "the file is incomplete or damaged: get it again from where it was built, "
    "and compare its size or checksum"
)

Stamp = tuple[int, int, int, int]
"""Device, inode, size and time of change: enough to notice that a file is not
the one we read before."""


def decode(raw: bytes) -> str:
    """Give a name from a file as text; bytes that are not UTF-8 become ``\\xNN``.

    The usual ``surrogateescape`` would make strings that cannot be printed or
    written as JSON, and fail far from here.
    """
    return raw.decode("utf-8", "backslashreplace")


class _File:
    """The open file that all windows on it share."""

    __slots__ = ("budget", "fd", "pages", "path", "size", "stamp", "tried")

    def __init__(self, fd: int, path: Path, tried: str, stamp: Stamp) -> None:
        self.fd = fd
        self.path = path
        self.tried = tried
        self.stamp = stamp
        self.size = stamp[2]
        self.pages: dict[int, bytes] = {}
        allowed = max(self.size * NAME_BYTES_PER_FILE_BYTE, NAME_BYTES_AT_LEAST)
        self.budget = min(allowed, NAME_BYTES_AT_MOST)

    def page(self, number: int) -> bytes:
        page = self.pages.get(number)
        if page is None:
            start = number * PAGE
            page = self.pages[number] = self.pread(start, min(PAGE, self.size - start))
        return page

    def pread(self, offset: int, size: int) -> bytes:
        parts = []
        while size > 0:
            try:
                part = os.pread(self.fd, size, offset)
            except OSError as error:
                raise BadBinary(
                    self.tried,
                    f"reading at offset {offset:#x} failed: {error.strerror}",
                    hint="check the disk or the network share that holds the file",
                ) from error
            if not part:
                raise BadBinary(
                    self.tried,
                    f"the file became shorter while it was read, at offset {offset:#x}",
                    hint="wait until whoever is writing the file has finished, then try again",
                )
            parts.append(part)
            size -= len(part)
            offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class Window:
    """A region of an open file; offsets count from the region's start.

    The window made by ``opening.open_window`` owns the file and closes it at the
    end of its ``with`` block. Windows made by ``view`` borrow it.
    """

    __slots__ = ("_base", "_file", "_region", "size")

    def __init__(self, fd: int, path: Path, tried: str, stamp: Stamp) -> None:
        self._file = _File(fd, path, tried, stamp)
        self._base = 0
        self._region = "the file"
        self.size = stamp[2]

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file.fd)

    @property
    def path(self) -> Path:
        """The file's absolute path."""
        return self._file.path

    @property
    def stamp(self) -> Stamp:
        """Which state of the file this is."""
        return self._file.stamp

    def bad(self, happened: str, *, at: int | None = None, hint: str = DAMAGED) -> BadBinary:
        """Make the error for something wrong in this window, to be raised by the caller."""
        where = "" if at is None else f", at file offset {self._base + at:#x}"
        return BadBinary(self._file.tried, happened + where, hint=hint)

    def _beyond(self, offset: int, size: int, what: str) -> BadBinary:
        start, end = self._base + offset, self._base + self.size
        return self.bad(
            f"{what} would be {size} bytes at file offset {start:#x}, "
            f"but {self._region} ends at {end:#x}"
        )

    def view(self, offset: int, size: int, region: str) -> Window:
        """Narrow to ``size`` bytes at ``offset``; ``region`` is its name in messages."""
        if offset < 0 or size < 0 or offset + size > self.size:
            raise self._beyond(offset, size, region)
        narrow = object.__new__(Window)
        narrow._file = self._file
        narrow._base = self._base + offset
        narrow._region = region
        narrow.size = size
        return narrow

    def if_worth_it(self, names: int, what: str) -> Raw:
        """Read a string table, or nothing if it is much larger than ``names`` names need."""
        worth = self.size <= min(PAGE + names * TABLE_BYTES_PER_NAME, LARGEST_TABLE)
        return self.bytes(0, self.size, what) if worth else b""

    def bytes(self, offset: int, size: int, what: str) -> bytes:
        """Read ``size`` bytes at ``offset``; ``what`` names them if they are not there."""
        if offset < 0 or size < 0 or offset + size > self.size:
            raise self._beyond(offset, size, what)
        if size > LARGEST_TABLE:
            raise self.bad(
                f"{what} claims {size} bytes, more than any real library has",
                at=offset,
            )
        number, start = divmod(self._base + offset, PAGE)
        if start + size <= PAGE and size:
            return self._file.page(number)[start : start + size]
        return self._file.pread(self._base + offset, size) if size else b""

    def unpack(self, struct: Struct, offset: int, what: str) -> tuple[Any, ...]:
        """Read one C struct."""
        return struct.unpack(self.bytes(offset, struct.size, what))

    def table(self, struct: Struct, offset: int, count: int, what: str) -> Iterator[Any]:
        """Read an array of ``count`` C structs of one field each."""
        raw = self.bytes(offset, struct.size * count, what)
        return map(itemgetter(0), struct.iter_unpack(raw))

    def string(self, offset: int, what: str) -> str:
        """Read a string that ends with NUL, which must come before the window's end."""
        if not 0 <= offset < self.size:
            raise self._beyond(offset, 1, what)
        number, start = divmod(self._base + offset, PAGE)
        page = self._file.page(number)
        stop = page.find(0, start)
        if stop < 0:
            return self._long_string(offset, what)
        if stop - start >= self.size - offset:
            raise self.bad(f"{what} has no end before {self._region} ends", at=offset)
        self.charge(stop - start)
        return decode(page[start:stop])

    def strings(self, offsets: Sequence[int], what: str) -> list[str]:
        """Read many strings of a string table that is this window.

        With ``string`` for each, a table of thousands of names costs thousands of times
        the check for a page and for its end. Here the whole table is read at once, and
        checked to end with NUL and to have no gap so long that a few names would be much.
        A table that fails this, or of which little is wanted, goes the other way.
        """
        table = self._small_table(len(offsets), what)
        if table is None or (offsets and max(offsets) >= self.size):
            return [self.string(offset, what) for offset in offsets]
        find, found = table.find, []
        for start in range(0, len(offsets), NAMES_AT_ONCE):
            some = offsets[start : start + NAMES_AT_ONCE]
            names = [table[offset : find("\0", offset)] for offset in some]
            self.charge(sum(map(len, names)))
            found += names
        return found

    def _small_table(self, names: int, what: str) -> str | None:
        """Give the window as text, if that is all ASCII and strings of common lengths."""
        raw = self.if_worth_it(names, what)
        if not raw:
            return None
        if raw[-1] or not raw.isascii():
            return None
        if any(raw.find(0, at, at + PAGE) < 0 for at in range(0, self.size, PAGE)):
            return None
        return raw.decode("ascii")

    def _long_string(self, offset: int, what: str) -> str:
        number, start = divmod(self._base + offset, PAGE)
        end = self._base + self.size
        parts: list[bytes] = []
        while number * PAGE < end:
            part = self._file.page(number)[start : end - number * PAGE]
            stop = part.find(0)
            self.charge(stop if stop >= 0 else len(part))
            if stop >= 0:
                return decode(b"".join([*parts, part[:stop]]))
            parts.append(part)
            number, start = number + 1, 0
        raise self.bad(f"{what} has no end before {self._region} ends", at=offset)

    def charge(self, size: int) -> None:
        """Take ``size`` bytes of names from the file's budget; see the top of this file."""
        self._file.budget -= size
        if self._file.budget < 0:
            raise self.bad(
                "its names overlap so much that together they are many times as long as the file",
                hint="no compiler makes such a file: treat it as hostile, and get the library "
                "from where it was built",
            )
