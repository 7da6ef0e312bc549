"""``.deb``: an ar archive of ``debian-binary``, ``control.tar`` and ``data.tar``.

The last has the files, compressed as its name says. Specification: deb(5), ar(5).
"""

from __future__ import annotations

from libferry.audit.inputs import tar
from libferry.audit.inputs.streams import Stream
from libferry.audit.inputs.unpacking import Unpacking

MAGIC = b"!<arch>\ndebian-binary"
_AR_MAGIC = 8  # bytes
_AR_HEADER = 60


class _Member:
    """The contents of one member of an ar archive, as a file to read from."""

    def __init__(self, stream: Stream, size: int) -> None:
        self._stream = stream
        self._left = size

    def read(self, size: int) -> bytes:
        part = self._stream.read(min(size, self._left))
        self._left -= len(part)
        return part


def unpack(stream: Stream, unpacking: Unpacking) -> None:
    """Unpack its files.

    Raises:
        BadArchive: it is damaged or hostile.
    """
    bad = unpacking.budget.bad
    stream.exactly(_AR_MAGIC, "its first bytes")
    while header := stream.read(_AR_HEADER):
        # name, date, owner, group, mode, size, and two bytes
        name = header[:16].rstrip(b" /")
        digits = header[48:58].rstrip()
        if len(header) < _AR_HEADER or header[58:] != b"`\n" or not digits.isdigit():
            raise bad("the header of a member is damaged")
        size = int(digits)
        if name.startswith(b"data.tar"):
            inner = Stream(_Member(stream, size), unpacking.budget)
            return tar.unpack(inner, unpacking)
        for _ in stream.chunks(size + size % 2, "a member"):
            pass
    raise bad("it has no data.tar, and so no files")
