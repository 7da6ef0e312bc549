"""``.rpm``: a lead that nobody reads any more, two headers, and a compressed cpio archive.

Both headers are an index of tags and a store of their values; the first is the signature,
padded to 8 bytes. We need none of the tags: what the payload is compressed with shows in
its first bytes. A cpio archive in the format "newc" has a header of hexadecimal digits
before each file. Files that share an inode come with the contents at the last of them.

Specification: RPM documentation, "Package format"; cpio(5), "New ASCII Format".
"""

from __future__ import annotations

from collections.abc import Iterator
from stat import S_ISDIR, S_ISLNK, S_ISREG
from struct import Struct

from libferry.audit.inputs.limits import Budget
from libferry.audit.inputs.streams import Stream
from libferry.audit.inputs.unpacking import Unpacking

MAGIC = b"\xed\xab\xee\xdb"
_LEAD = 96  # bytes
_HEADER = Struct(">8sII")  # magic and reserved, entries, bytes of the store
_HEADER_MAGIC = b"\x8e\xad\xe8\x01"
_INDEX_ENTRY = 16  # bytes
_HEADER_AT_MOST = 256 << 20  # bytes; rpm's own limit (lib/header.c, HEADER_DATA_MAX)

_CPIO_MAGICS = (b"070701", b"070702")
_CPIO_LARGE = b"07070X"  # without sizes, which are in rpm's header
_CPIO_HEADER = 110
_CPIO_END = "TRAILER!!!"


def unpack(stream: Stream, unpacking: Unpacking) -> None:
    """Unpack its files.

    Raises:
        BadArchive: it is damaged or hostile.
    """
    budget = unpacking.budget
    stream.exactly(_LEAD, "its lead")
    size = _pass_header(stream, budget)
    stream.exactly(-size % 8, "its signature")
    _pass_header(stream, budget)
    _unpack_cpio(Stream(stream, budget), unpacking)


def _pass_header(stream: Stream, budget: Budget) -> int:
    magic, entries, store = _HEADER.unpack(stream.exactly(_HEADER.size, "a header"))
    size = entries * _INDEX_ENTRY + store
    if not magic.startswith(_HEADER_MAGIC) or size > _HEADER_AT_MOST:
        raise budget.bad("a header is damaged")
    _pass(stream.chunks(size, "a header"))
    return int(size)


def _unpack_cpio(stream: Stream, unpacking: Unpacking) -> None:
    bad = unpacking.budget.bad
    longest = unpacking.budget.limits.header
    shared: dict[tuple[int, ...], list[str]] = {}  # by device and inode: names without contents
    while True:
        header = stream.exactly(_CPIO_HEADER, "a file's header")
        if header[:6] == _CPIO_LARGE:
            raise bad(
                "it is in rpm's format for files over 4 GiB, which we do not read",
                hint="unpack it and check the folder: rpm2archive FILE | tar xz",
            )
        try:
            if header[:6] not in _CPIO_MAGICS:
                raise ValueError
            fields = [int(header[at : at + 8], 16) for at in range(6, _CPIO_HEADER, 8)]
        except ValueError:
            raise bad("a file's header is damaged") from None
        inode, mode, _, _, links, _, size, *device = fields[:9]
        length = fields[11]
        if length > longest:
            raise bad(f"a name claims {length} bytes")
        raw = stream.exactly(length, "a file's name").split(b"\0", 1)[0]
        stream.exactly(-(_CPIO_HEADER + length) % 4, "a file's name")
        name = raw.decode("utf-8", "surrogateescape")
        if name == _CPIO_END:
            return
        contents = stream.chunks(size, "a file")
        if S_ISREG(mode):
            key = (*device, inode)
            if links > 1 and not size:
                shared.setdefault(key, []).append(name)
            unpacking.file(name, contents)
            if size:
                for other in shared.pop(key, ()):
                    unpacking.hard_link(other, name)
        elif S_ISDIR(mode):
            unpacking.folder(name)
        elif S_ISLNK(mode):
            if size > longest:
                raise bad(f"a link claims {size} bytes")
            unpacking.link(name, b"".join(contents).decode("utf-8", "surrogateescape"))
        _pass(contents)
        stream.exactly(-size % 4, "a file")


def _pass(contents: Iterator[bytes]) -> None:
    for _ in contents:
        pass
