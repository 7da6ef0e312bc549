"""What a Mach-O file offers: the export trie, or the symbol table of files without one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from libferry.binary.macho.facts import (
    EXPORT_KIND_MASK,
    EXPORT_REEXPORT,
    EXPORT_STUB_AND_RESOLVER,
    EXPORT_THREAD_LOCAL,
    EXPORT_WEAK,
    LC_DYLD_EXPORTS_TRIE,
    LC_DYLD_INFO,
    LC_SYMTAB,
    N_EXT,
    N_INDR,
    N_PBUD,
    N_PEXT,
    N_STAB,
    N_TYPE,
    N_UNDF,
    S_ATTR_INSTRUCTIONS,
)
from libferry.binary.macho.image import Command, Image
from libferry.binary.model import Export, ExportKind
from libferry.binary.window import Window


class Exports(NamedTuple):
    """What is exported.

    Attributes:
        all: in the file's order.
        weak: the names of those that another library's may replace (C++).
        reexported: of those that are another library's: the ordinal of that library, and
            the name there.
    """

    all: tuple[Export, ...]
    weak: frozenset[str]
    reexported: dict[str, tuple[int, str]]


def read_exports(image: Image) -> Exports:
    """List the exports of one slice."""
    code = _Code(image)
    for command in image.all(LC_DYLD_EXPORTS_TRIE):
        offset, size = image.unpack(image.layout.pair, command, 8)
        return _from_trie(image.window, offset, size, code)
    for command in image.all(LC_DYLD_INFO):
        offset, size = image.unpack(image.layout.pair, command, 40)
        if size:
            return _from_trie(image.window, offset, size, code)
    for command in image.all(LC_SYMTAB):
        return Exports(tuple(_from_symbol_table(image, command, code)), frozenset(), {})
    return Exports((), frozenset(), {})


class _Code:
    """Where the code lies: an export that points there is a function."""

    def __init__(self, image: Image) -> None:
        self.base = 0
        ranges = []
        for segment in image.segments():
            if segment.file_size and not segment.offset:
                self.base = segment.address  # of the header, which exports are counted from
            for section in segment.sections:
                if section.flags & S_ATTR_INSTRUCTIONS:
                    ranges.append((section.address - self.base, section.size))
        ranges.sort()
        self._starts = [start for start, _ in ranges]
        self._ends = [start + size for start, size in ranges]

    def kind(self, address: int) -> ExportKind:
        """Whether there is a function or data at an address, counted from the header."""
        index = bisect_right(self._starts, address) - 1
        return "function" if index >= 0 and address < self._ends[index] else "data"


def _plain(raw: bytes) -> str:
    return raw.removeprefix(b"_").decode("utf-8", "backslashreplace")


def _from_trie(window: Window, offset: int, size: int, code: _Code) -> Exports:
    what = "the export trie"
    view = window.view(offset, size, what)
    trie = _Trie(view, view.bytes(0, size, what))
    exports, weak, reexported, kind_of = [], [], {}, code.kind
    for raw, at in trie.names():
        name = _plain(raw)
        flags, at = trie.number(at)
        if flags & EXPORT_REEXPORT:
            ordinal, at = trie.number(at)
            target = _plain(trie.text(at)) or name
            reexported[name] = (ordinal, target)
            exports.append(Export(name, "forward", None, 0, None, False, target))
            continue
        address, _ = trie.number(at)
        kind: ExportKind
        if flags & EXPORT_STUB_AND_RESOLVER:
            kind = "ifunc"
        elif flags & EXPORT_KIND_MASK == EXPORT_THREAD_LOCAL:
            kind = "tls"
        elif flags & EXPORT_KIND_MASK:
            kind = "data"  # absolute: a number, not an address
        else:
            kind = kind_of(address)
        if flags & EXPORT_WEAK:
            weak.append(name)
        exports.append(Export(name, kind, None, address, None))
    return Exports(tuple(exports), frozenset(weak), reexported)


class _Trie:
    """The export trie: each node is the size of its export, the export, and its edges."""

    def __init__(self, window: Window, raw: bytes) -> None:
        self._window = window
        self._raw = raw

    def names(self) -> Iterator[tuple[bytes, int]]:
        """Give each name with the offset of its export. No node is visited twice."""
        raw, number, find, charge = self._raw, self.number, self._raw.find, self._window.charge
        waiting = [(0, b"")] if raw else []
        seen = {0}
        while waiting:
            node, name = waiting.pop()
            size, at = number(node)
            if size:
                yield name, at
            at += size
            if at >= len(raw):
                raise self._beyond(at)
            edges = raw[at]
            at += 1
            children = []
            for _ in range(edges):
                stop = find(0, at)
                if stop < 0:
                    raise self._window.bad("a name in the export trie has no end", at=at)
                label = raw[at:stop]
                child, at = number(stop + 1)
                # Nodes may overlap, so even edges without a label have to cost something;
                # and long chains of short edges would make names add up without end.
                charge(len(name) + len(label) + 1)
                if child not in seen:
                    seen.add(child)
                    children.append((child, name + label))
            if edges == 1:
                waiting += children
            else:
                waiting.extend(reversed(children))

    def _beyond(self, at: int) -> Exception:
        return self._window.bad("a node of the export trie lies beyond its end", at=at)

    def number(self, at: int) -> tuple[int, int]:
        """Read a ULEB128 of at most 64 bits; give it, and the offset behind it."""
        raw = self._raw
        try:
            value = raw[at]
            if value < 0x80:
                return value, at + 1
            value &= 0x7F
            for shift in range(7, 70, 7):
                at += 1
                byte = raw[at]
                if byte < 0x80:
                    return value | byte << shift, at + 1
                value |= (byte & 0x7F) << shift
        except IndexError:
            raise self._beyond(at) from None
        raise self._window.bad("a number in the export trie has more than 64 bits", at=at)

    def text(self, at: int) -> bytes:
        """Read a string that ends with NUL."""
        stop = self._raw.find(0, at)
        if stop < 0:
            raise self._window.bad("a name in the export trie has no end", at=at)
        self._window.charge(stop - at + 1)
        return self._raw[at:stop]


def _from_symbol_table(image: Image, command: Command, code: _Code) -> Iterator[Export]:
    symbol = image.layout.symbol
    symbols, count, strings, size = image.unpack(image.layout.symtab, command, 8)
    raw = image.window.bytes(symbols, count * symbol.size, "the symbol table")
    table = image.window.view(strings, size, "the string table")
    for name, kind, _, value in symbol.iter_unpack(raw):
        if kind & (N_STAB | N_PEXT) or not kind & N_EXT:
            continue
        if kind & N_TYPE in (N_UNDF, N_PBUD, N_INDR):
            continue
        text = table.string(name, "the name of a symbol").removeprefix("_")
        address = value - code.base
        yield Export(text, code.kind(address), None, address, None)
