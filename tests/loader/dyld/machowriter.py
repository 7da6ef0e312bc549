"""Mach-O files from descriptions: each test says what its libraries are, and no more.

The format is that of Apple's loader.h and cs_blobs.h; that it is Mach-O, LIEF confirms.
The files have no code: no one runs them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

CPUS = {
    "arm64": (0x0100000C, 0),
    "arm64e": (0x0100000C, 0x80000002),
    "x86_64": (0x01000007, 3),
    "x86_64h": (0x01000007, 8),
}
TYPES = {"executable": 2, "dylib": 6, "bundle": 8}
LOADS = {
    "needed": 0x0C,
    "weak": 0x80000018,
    "reexport": 0x8000001F,
    "lazy": 0x20,
    "upward": 0x80000023,
}
PLATFORMS = {"macOS": 1, "iOS": 2, "macCatalyst": 6, "iOS-simulator": 7}
Version = tuple[int, ...]
ADHOC, HARDENED = 0x2, 0x10000


class Need(NamedTuple):
    """A library that is asked for."""

    name: str
    kind: str = "needed"
    compatibility: Version = (1, 0)


class Want(NamedTuple):
    """A symbol that is asked for: of which library, counted from 1 (-2: of any)."""

    name: str
    ordinal: int
    weak: bool = False


@dataclass(frozen=True)
class Signed:
    """What the signature says."""

    team: str = ""
    flags: int = ADHOC
    entitlements: str = ""


@dataclass(frozen=True)
class Macho:
    """One file.

    ``lazy``: whether its imports are bound by opcodes, when they are first called; else
    by chained fixups, when it is loaded.
    """

    install_name: str = ""
    needs: Sequence[Need | str] = ("/usr/lib/libSystem.B.dylib",)
    rpaths: Sequence[str] = ()
    exports: Sequence[str] = ()
    reexports: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    wants: Sequence[Want] = ()
    lazy: bool = False
    cpu: str = "arm64"
    kind: str = "dylib"
    platform: str = "macOS"
    minimum: Version = (11, 0)
    sdk: Version = (14, 0)
    compatibility: Version = (1, 0)
    environment: Sequence[str] = ()
    restricted: bool = False
    uuid: bytes = bytes(range(16))
    signed: Signed | None = field(default_factory=Signed)

    def raw(self, tail: int = 0x4000) -> bytes:
        """The file; ``tail`` is where what lies behind the load commands begins."""
        trie, binds = self._trie(), self._binds()
        blob = _signature(self.signed) if self.signed else b""
        linkedit = trie + binds
        blob_at = tail + -(-len(linkedit) // 16) * 16
        linkedit = linkedit.ljust(blob_at - tail, b"\0") + blob
        commands = [
            self._segment("__TEXT", 0, tail, 5),
            *([self._segment("__RESTRICT", 0, 0, 1, "__restrict")] if self.restricted else []),
            self._segment("__LINKEDIT", tail, len(linkedit), 1),
            self._build_version(),
        ]
        if self.uuid:
            commands.append(struct.pack("<II", 0x1B, 24) + self.uuid)
        if self.install_name:
            commands.append(_dylib(0x0D, Need(self.install_name, "", self.compatibility)))
        for need in self.needs:
            need = Need(need) if isinstance(need, str) else need
            commands.append(_dylib(LOADS[need.kind], need))
        commands += [_text(0x8000001C, rpath) for rpath in self.rpaths]
        commands += [_text(0x27, variable) for variable in self.environment]
        if self.lazy:
            places = (0, 0, 0, 0, 0, 0, tail + len(trie), len(binds), tail, len(trie))
            commands.append(struct.pack("<12I", 0x80000022, 48, *places))
        else:
            commands.append(struct.pack("<4I", 0x80000033, 16, tail, len(trie)))
            commands.append(struct.pack("<4I", 0x80000034, 16, tail + len(trie), len(binds)))
        if blob:
            commands.append(struct.pack("<4I", 0x1D, 16, blob_at, len(blob)))
        body = b"".join(commands)
        cpu, subtype = CPUS[self.cpu]
        two_level = 0x85
        header = struct.pack(
            "<8I",
            0xFEEDFACF,
            cpu,
            subtype,
            TYPES[self.kind],
            len(commands),
            len(body),
            two_level,
            0,
        )
        return (header + body).ljust(tail, b"\0") + linkedit

    def _segment(self, name: str, at: int, size: int, protection: int, section: str = "") -> bytes:
        length = 72 + (80 if section else 0)
        raw = struct.pack("<II16s4Q4I", 0x19, length, name.encode(), at, size, at, size, protection,
                          protection, bool(section), 0)  # fmt: skip
        if section:
            raw += struct.pack("<16s16sQQ8I", section.encode(), name.encode(), at, *[0] * 9)
        return raw

    def _build_version(self) -> bytes:
        number = PLATFORMS[self.platform]
        versions = packed(self.minimum), packed(self.sdk)
        return struct.pack("<8I", 0x32, 32, number, *versions, 1, 3, packed((1000, 1)))

    def _trie(self) -> bytes:
        """One root, and an edge to each name: what no linker writes, and all readers read."""
        ends = [(name, b"\0" + uleb(0x1000)) for name in self.exports]
        for name, (ordinal, there) in self.reexports.items():
            ends.append((name, uleb(8) + uleb(ordinal) + there.encode() + b"\0"))
        size = 2 + sum(len(name) + 1 + 3 for name, _ in ends)
        root, nodes = bytes([0, len(ends)]), b""
        for name, end in ends:
            at = size + len(nodes)
            # three bytes, so that the root's size is known before the nodes'
            root += name.encode() + b"\0" + bytes([at & 127 | 128, at >> 7 & 127 | 128, at >> 14])
            nodes += uleb(len(end)) + end + b"\0"
        raw = root + nodes
        return raw.ljust(-(-len(raw) // 8) * 8, b"\0")

    def _binds(self) -> bytes:
        if self.lazy:
            raw = b""
            for want in self.wants:
                special = want.ordinal < 0
                raw += b"\x72\x00" + bytes([(0x30 if special else 0x10) | want.ordinal & 15])
                raw += bytes([0x40 | want.weak]) + want.name.encode() + b"\0\x90\x00"
            return raw
        names, table = b"\0", b""
        for want in self.wants:
            word = want.ordinal & 0xFF | want.weak << 8 | len(names) << 9
            table += struct.pack("<I", word)
            names += want.name.encode() + b"\0"
        # no segment has a fixup: starts_in_image of no segments
        header = struct.pack("<7I", 0, 28, 32, 32 + len(table), len(self.wants), 1, 0)
        return header + struct.pack("<I", 0) + table + names


def universal(*files: Macho) -> bytes:
    """One file with a slice of each."""
    raw, place = b"", 0x4000
    head = struct.pack(">II", 0xCAFEBABE, len(files))
    for file in files:
        part = file.raw()
        head += struct.pack(">5I", *CPUS[file.cpu], place + len(raw), len(part), 14)
        raw += part.ljust(-(-len(part) // 0x4000) * 0x4000, b"\0")
    return head.ljust(place, b"\0") + raw


def packed(version: Version) -> int:
    major, minor, patch = (*version, 0, 0)[:3]
    return major << 16 | minor << 8 | patch


def uleb(value: int) -> bytes:
    raw = b""
    while value > 127:
        raw += bytes([value & 127 | 128])
        value >>= 7
    return raw + bytes([value])


def _dylib(command: int, need: Need) -> bytes:
    name = need.name.encode() + b"\0"
    name = name.ljust(-(-len(name) // 8) * 8, b"\0")
    version = packed(need.compatibility)
    return struct.pack("<6I", command, 24 + len(name), 24, 2, version, version) + name


def _text(command: int, text: str) -> bytes:
    raw = text.encode() + b"\0"
    raw = raw.ljust(-(-(12 + len(raw)) // 8) * 8 - 12, b"\0")
    return struct.pack("<3I", command, 12 + len(raw), 12) + raw


def _signature(signed: Signed) -> bytes:
    identifier, team = b"test\0", signed.team.encode() + b"\0"
    strings = 52  # CS_CodeDirectory up to teamOffset
    length = strings + len(identifier) + len(team)
    directory = struct.pack(
        ">9I4BI",
        0xFADE0C02,
        length,
        0x20200,
        signed.flags,
        length,
        strings,
        0,
        0,
        0,
        32,
        2,
        0,
        14,
        0,
    )
    team_at = strings + len(identifier) if signed.team else 0
    directory += struct.pack(">II", 0, team_at) + identifier + team
    text = signed.entitlements.encode()
    parts = [(0, directory), (5, struct.pack(">II", 0xFADE7171, 8 + len(text)) + text)]
    cms = b"" if signed.flags & ADHOC else b"certificates"
    parts.append((0x10000, struct.pack(">II", 0xFADE0B01, 8 + len(cms)) + cms))
    place, index, body = 12 + 8 * len(parts), b"", b""
    for slot, part in parts:
        index += struct.pack(">II", slot, place + len(body))
        body += part
    return struct.pack(">III", 0xFADE0CC0, place + len(body), len(parts)) + index + body
