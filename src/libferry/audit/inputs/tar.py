"""tar: a header of 512 bytes before each file, and half a century of ways to say more.

A name has room for 100 bytes in the header of 1979, for 255 in POSIX's ``ustar``, and for
any length in an entry of its own before the file: GNU's ``L`` and ``K``, or POSIX's ``x``
with records ``length key=value``. Sizes are octal digits, or binary if the first bit is
set.

Python's ``tarfile`` reads all of these and more. We do not use it: those extra entries it
reads whole, whatever length they claim, and it looks through them with regular expressions
that take quadratic time before Python 3.11.10 (CVE-2024-6232). Of a tar file we need
names, kinds and contents only, which is this page.

Specification: POSIX.1-2024, pax, "ustar Interchange Format" and "pax Extended Header";
GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from libferry.audit.inputs.streams import Stream
from libferry.audit.inputs.unpacking import Unpacking
from libferry.errors import BadArchive

BLOCK = 512

# typeflag
REGULAR = b"0\x007"  # the last is a contiguous file, which nobody has
HARD_LINK, LINK, FOLDER = ord("1"), ord("2"), ord("5")
NO_CONTENTS = b"123456"
PAX, PAX_GLOBAL = ord("x"), ord("g")
GNU_NAME, GNU_TARGET = ord("L"), ord("K")
GNU_SPARSE = ord("S")


@dataclass(slots=True)
class Entry:
    """One file, folder or link: ``kind`` is the typeflag, ``size`` that of its contents."""

    name: str
    kind: int
    size: int
    target: str


def is_tar(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a tar file, by its check sum."""
    return len(head) >= BLOCK and any(head[:BLOCK]) and _sum_is_right(head[:BLOCK])


def unpack(stream: Stream, unpacking: Unpacking) -> None:
    """Unpack it all.

    Raises:
        BadArchive: it is damaged or hostile.
    """
    for entry, contents in entries(stream, unpacking.budget.limits.header, unpacking.budget.bad):
        place(entry, contents, unpacking)


def place(entry: Entry, contents: Iterator[bytes], unpacking: Unpacking) -> None:
    """Unpack one entry."""
    if entry.kind in REGULAR:
        if entry.name.endswith("/"):  # how tar before POSIX wrote a folder
            unpacking.folder(entry.name)
        else:
            unpacking.file(entry.name, contents)
    elif entry.kind == FOLDER:
        unpacking.folder(entry.name)
    elif entry.kind == LINK:
        unpacking.link(entry.name, entry.target)
    elif entry.kind == HARD_LINK:
        unpacking.hard_link(entry.name, entry.target)


def entries(
    stream: Stream, longest: int, bad: Callable[[str], BadArchive]
) -> Iterator[tuple[Entry, Iterator[bytes]]]:
    """All entries with their contents, which are passed over if they are not taken.

    Args:
        stream: where they are read from.
        longest: bytes that a name or a set of records may have.
        bad: makes the error for something wrong.
    """
    name = target = ""
    always: dict[str, str] = {}
    once: dict[str, str] = {}
    while True:
        block = stream.read(BLOCK)
        if not block.strip(b"\0"):
            return  # two such blocks are the end, and so is the end of the file
        if len(block) < BLOCK:
            raise bad("it ends within a header")
        if not _sum_is_right(block):
            raise bad("a header's check sum is wrong")
        kind, size = block[156], _number(block[124:136], bad)
        padding = -size % BLOCK
        if kind in (PAX, PAX_GLOBAL, GNU_NAME, GNU_TARGET):
            if size > longest:
                raise bad(f"a header claims {size} bytes, more than any name has")
            data = stream.exactly(size, "a header")
            stream.exactly(padding, "a header")
            if kind == PAX:
                once = _records(data, bad)
            elif kind == PAX_GLOBAL:
                always |= _records(data, bad)
                if len(always) > longest // BLOCK:
                    raise bad("it has more records for all files than anybody needs")
            elif kind == GNU_NAME:
                name = _text(data)
            else:
                target = _text(data)
            continue
        records = {**always, **once}
        entry = Entry(
            records.get("path") or name or _short_name(block),
            kind,
            _decimal(records["size"], bad) if "size" in records else size,
            records.get("linkpath") or target or _text(block[157:257]),
        )
        name, target, once = "", "", {}
        if kind in NO_CONTENTS:
            entry.size = 0
        if kind == GNU_SPARSE:
            while block[482 if kind == GNU_SPARSE else 504]:
                block, kind = stream.exactly(BLOCK, "a header"), 0
        if any(record.startswith("GNU.sparse.") for record in records):
            entry.kind = GNU_SPARSE  # its name and its contents are not what they seem
        contents = stream.chunks(entry.size, "a file")
        yield entry, contents
        for _ in contents:
            pass
        stream.exactly(-entry.size % BLOCK, "a file")


def _sum_is_right(block: bytes) -> bool:
    digits = block[148:156].replace(b"\0", b" ").strip()
    try:
        wanted = int(digits, 8)
    except ValueError:
        return False
    return sum(block[:148]) + sum(b" " * 8) + sum(block[156:]) == wanted


def _number(field: bytes, bad: Callable[[str], BadArchive]) -> int:
    if field[0] & 0x80:
        return int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
    try:
        return int(field.replace(b"\0", b" ").strip() or b"0", 8)
    except ValueError:
        raise bad(f"a header has {field!r} for a size") from None


def _decimal(digits: str, bad: Callable[[str], BadArchive]) -> int:
    if len(digits) > 20 or not (digits.isascii() and digits.isdigit()):
        raise bad("a record has no number for a size")
    return int(digits)


def _short_name(block: bytes) -> str:
    name, prefix = _text(block[:100]), _text(block[345:500])
    # GNU's old header has times where ustar has the prefix
    return f"{prefix}/{name}" if prefix and block[257:263] == b"ustar\0" else name


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _records(data: bytes, bad: Callable[[str], BadArchive]) -> dict[str, str]:
    """pax: ``length key=value\\n``, the length being that of all of this."""
    found: dict[str, str] = {}
    at = 0
    while at < len(data) and data[at]:
        space = data.find(b" ", at, at + 20)
        digits = data[at:space]
        length = int(digits) if space > 0 and digits.isdigit() else 0
        record = data[space + 1 : at + length - 1]
        key, equals, value = record.partition(b"=")
        if length <= space - at or at + length > len(data) or not equals:
            raise bad("a header's records are damaged")
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        at += length
    return found
