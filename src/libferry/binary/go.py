"""How Go built a file: what ``go version -m`` shows.

Go's linker leaves a block of data that begins with a magic number, aligned to 16 bytes,
in a section of its own where the format has names for such; else somewhere in the first
segment that is data. The block has the compiler's version and, between two random-looking
marks of 16 bytes, the main package, all modules and the build's settings.

Until Go 1.17 the block only had the addresses of two Go strings, which are a pointer and a
length each; since 1.18 the two texts follow it, with their lengths in front. A library
whose pointers the loader has yet to fill in cannot be read the old way, by Go's own tool
neither.

Specification: Go's source, ``src/debug/buildinfo/buildinfo.go`` and
``src/runtime/debug/mod.go``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from libferry.binary.model import GoBuild
from libferry.binary.window import Window, decode
from libferry.errors import BadBinary

MAGIC = b"\xff Go buildinf:"
ALIGNMENT = 16
HEADER = 32
POINTER_SIZE_AT, FLAGS_AT, POINTERS_AT = 14, 15, 16
BIG_ENDIAN, INLINE = 1, 2
MARK = 16  # bytes around the modules' text

CHUNK = 1 << 20
VARINT_AT_MOST = 10
TEXT_AT_MOST = 1 << 24  # bytes; a program of a thousand modules has a hundred thousand

At = Callable[[int, str], Window]
"""From an address to the part of the file from there to the end of its segment."""


def build(places: Iterable[tuple[int, int]], at: At) -> GoBuild | None:
    """Find the block and read it.

    Args:
        places: address and size of each region where the block may begin: the section
            for it, or the first segment that is writable and not executable.
        at: gives the file's bytes at an address.

    A block that does not hold together is as good as none, and to Go's own tool, too.
    """
    try:
        for address, size in places:
            found = _find(address, size, at)
            if found is not None:
                return _read(found, at)
    except BadBinary:
        pass
    return None


def _find(address: int, size: int, at: At) -> Window | None:
    what = "Go's build information"
    window = at(address, what)
    end = min(size, window.size)
    start = -address % ALIGNMENT
    while start + HEADER <= end:
        # The magic is aligned, and so is each chunk: it is never on both sides of a cut.
        raw = window.bytes(start, min(CHUNK, end - start), what)
        found = raw.find(MAGIC)
        while found >= 0:
            if found % ALIGNMENT == 0:
                return window.view(start + found, window.size - start - found, what)
            found = raw.find(MAGIC, found + 1)
        start += CHUNK
    return None


def _read(block: Window, at: At) -> GoBuild | None:
    header = block.bytes(0, HEADER, "Go's build information")
    if header[FLAGS_AT] & INLINE:
        version, behind = _inline(block, HEADER)
        text, _ = _inline(block, behind)
    else:
        size = header[POINTER_SIZE_AT]
        order: Literal["little", "big"] = "big" if header[FLAGS_AT] & BIG_ENDIAN else "little"
        if size not in (4, 8):
            return None
        version, text = (
            _pointed(int.from_bytes(header[begin : begin + size], order), size, order, at)
            for begin in (POINTERS_AT, POINTERS_AT + size)
        )
    if not version:
        return None
    framed = len(text) > 2 * MARK and text[-MARK - 1 : -MARK] == b"\n"
    return _parse(decode(version), decode(text[MARK:-MARK]) if framed else "")


def _inline(block: Window, at: int) -> tuple[bytes, int]:
    """A text after its length, which is a varint: seven bits a byte, the lowest first."""
    what = "a text of Go's build information"
    raw = block.bytes(at, min(VARINT_AT_MOST, block.size - at), what)
    length = shift = 0
    for number, byte in enumerate(raw):
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            begin = at + number + 1
            return _text(block, begin, length), begin + length
    raise block.bad(f"{what} has no length")


def _pointed(address: int, size: int, order: Literal["little", "big"], at: At) -> bytes:
    """A text that a Go string points to: its address and its length."""
    if not address:
        return b""
    what = "a text of Go's build information"
    raw = at(address, what).bytes(0, 2 * size, what)
    begin, length = int.from_bytes(raw[:size], order), int.from_bytes(raw[size:], order)
    return _text(at(begin, what), 0, length) if length else b""


def _text(window: Window, at: int, length: int) -> bytes:
    what = "a text of Go's build information"
    if length > TEXT_AT_MOST:
        raise window.bad(f"{what} claims {length} bytes, more than any real one has")
    return window.bytes(at, length, what)


def _parse(version: str, text: str) -> GoBuild:
    """Read the lines: a word, a tab, and what belongs to it."""
    path = ""
    main: list[tuple[str, str]] = []
    others: list[tuple[str, str]] = []
    settings: list[tuple[str, str]] = []
    last = others
    for line in text.split("\n"):
        word, _, rest = line.partition("\t")
        if word == "path":
            path = rest
        elif word in ("mod", "dep", "=>"):
            module, _, rest = rest.partition("\t")
            entry = module, rest.partition("\t")[0]
            if word == "=>":
                last[-1:] = [entry]
            else:
                last = main if word == "mod" else others
                last.append(entry)
        elif word == "build":
            settings.append(_setting(rest))
    return GoBuild(version, path, (*main, *others), tuple(settings))


def _setting(text: str) -> tuple[str, str]:
    """``key=value``; either may be a Go string in quotes."""
    if text.startswith(('"', "`")):
        end = text.find(text[0] + "=", 1)
        key, value = text[: end + 1], text[end + 2 :]
    else:
        key, _, value = text.partition("=")
    return _unquoted(key), _unquoted(value)


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == "`":
        return text[1:-1]
    if len(text) >= 2 and text[0] == text[-1] == '"':
        import json  # rarely wanted, and slow to import

        try:  # what Go's quoting and JSON's have in common is all that occurs
            return str(json.loads(text))
        except ValueError:
            return text[1:-1]
    return text
