"""Decompressing as much as is asked for, and counting it.

``gzip.open`` and its like give no limit on memory: a few bytes of xz may ask for a
dictionary of 4 GiB. So we drive the decompressors themselves, with a limit each.

zstd came into Python with 3.14 (``compression.zstd``); before, ``backports.zstd`` is the
same code as a package.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from libferry.audit.inputs.limits import Budget
from libferry.errors import BadArchive

CHUNK = 1 << 18
XZ_MEMORY = 256 << 20  # bytes; `xz -9` makes files that need 65 MiB
ZSTD_WINDOW = 27  # as a power of two; what `zstd --ultra -22` makes, and zstd's own limit


class Decompressor(Protocol):
    """What ``bz2``, ``lzma`` and ``zstd`` have in common."""

    @property
    def eof(self) -> bool:
        """Whether all of one member came out."""

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes out without more data."""

    @property
    def unused_data(self) -> bytes:
        """What came behind the member."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Put data in, get at most so much out."""


class Readable(Protocol):
    """What a stream is read from: ``read`` gives nothing only at the end."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes."""


class _Gzip:
    """zlib's, made like the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(zlib.MAX_WBITS | 16)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def _xz() -> Decompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_AUTO, memlimit=XZ_MEMORY)


def _zstd() -> Decompressor:
    try:
        from compression import zstd
    except ImportError:
        from backports import zstd
    options = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW}
    made: Decompressor = zstd.ZstdDecompressor(options=options)
    return made


# first bytes -> name, how
COMPRESSIONS: dict[bytes, tuple[str, Callable[[], Decompressor]]] = {
    b"\x1f\x8b": ("gzip", _Gzip),
    b"BZh": ("bzip2", bz2.BZ2Decompressor),
    b"\xfd7zXZ\0": ("xz", _xz),
    b"\x5d\0\0": ("lzma", _xz),
    b"\x28\xb5\x2f\xfd": ("zstd", _zstd),
}
LONGEST_MAGIC = max(map(len, COMPRESSIONS))


def compression(head: bytes) -> tuple[str, Callable[[], Decompressor]] | None:
    """How a file that begins with these bytes is compressed, if it is."""
    return next((how for magic, how in COMPRESSIONS.items() if head.startswith(magic)), None)


class Stream:
    """Bytes in their order, decompressed if they are compressed, each counted."""

    def __init__(self, file: Readable, budget: Budget) -> None:
        head = file.read(16)
        found = compression(head)
        self.compressed = found is not None
        self._name = found[0] if found else "file"
        parts = _parts(file, head)
        self._source = _decompressed(parts, found[1]) if found else parts
        self._budget = budget
        self._have = b""
        self.position = 0  # bytes that were read from it

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer only at the end."""
        parts = []
        while size:
            if not self._have:
                self._have = self._more()
                if not self._have:
                    break
            part, self._have = self._have[:size], self._have[size:]
            parts.append(part)
            size -= len(part)
            self.position += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def exactly(self, size: int, what: str) -> bytes:
        """The next ``size`` bytes, all of them; ``what`` names them if they are not there."""
        data = self.read(size)
        if len(data) != size:
            raise self._budget.bad(f"it ends within {what}")
        return data

    def chunks(self, size: int, what: str) -> Iterator[bytes]:
        """The next ``size`` bytes, a chunk at a time."""
        while size:
            yield self.exactly(min(size, CHUNK), what)
            size -= min(size, CHUNK)

    def _more(self) -> bytes:
        try:
            part = next(self._source, b"")
        except (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError) as error:
            raise self._budget.bad(f"its {self._name} data is damaged: {error}") from None
        except ImportError:
            raise BadArchive(
                self._budget.tried,
                "it is compressed with zstd, which this Python cannot read",
                hint="pip install 'libferry[zstd]'",
            ) from None
        except Exception as error:
            if type(error).__name__ != "ZstdError":  # it derives from Exception alone
                raise
            raise self._budget.bad(f"its zstd data is damaged: {error}") from None
        self._budget.spend(len(part))
        return part


def _parts(file: Readable, head: bytes) -> Iterator[bytes]:
    yield head
    while part := file.read(CHUNK):
        yield part


def _decompressed(parts: Iterator[bytes], make: Callable[[], Decompressor]) -> Iterator[bytes]:
    """All members one after the other; what is behind the last and no member is padding."""
    inner, data = make(), b""
    while True:
        if not data and inner.needs_input:
            data = next(parts, b"")
            if not data:
                raise EOFError("it ends too early")
        out = inner.decompress(data, CHUNK)
        data = b""
        if out:
            yield out
        if inner.eof:
            data = inner.unused_data
            while len(data := data.lstrip(b"\0")) < LONGEST_MAGIC and (more := next(parts, b"")):
                data += more
            if not data or compression(data) is None:
                return
            inner = make()
