"""What the loader reads of one file: its ``struct link_map``, as far as the file says it.

Everything here depends on the file alone, so it is read once and kept for all that is
resolved with one system. What depends on who loads it is in ``mapping.py``.

The loader's own checks come before any reading (``verify``), in its order and with its
words: they decide between "not this one, look further", which happens for another CPU's
file in a search path, and "give up", which happens for a text file of that name.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import NamedTuple

from libferry.binary.elf import Image
from libferry.binary.model import Binary, VersionNeed
from libferry.binary.opening import open_window
from libferry.errors import BadBinary, FerryError
from libferry.loader.glibc import rules
from libferry.target.model import Target
from libferry.target.system import Found, System

# gABI, "Dynamic Section", and elf.h for the GNU ones
DT_NEEDED, DT_SONAME, DT_RPATH, DT_SYMBOLIC, DT_TEXTREL = 1, 14, 15, 16, 22
DT_BIND_NOW, DT_RUNPATH, DT_FLAGS, DT_RELR = 24, 29, 30, 36
DT_FLAGS_1, DT_VERDEF, DT_VERNEED = 0x6FFFFFFB, 0x6FFFFFFC, 0x6FFFFFFE
DT_AUXILIARY, DT_FILTER = 0x7FFFFFFD, 0x7FFFFFFF
DF_SYMBOLIC, DF_TEXTREL, DF_BIND_NOW, DF_STATIC_TLS = 0x2, 0x4, 0x8, 0x10
DF_1_NOW, DF_1_INITFIRST, DF_1_NOOPEN = 0x1, 0x20, 0x40
DF_1_NODEFLIB, DF_1_PIE = 0x800, 0x08000000

ET_EXEC, ET_DYN = 2, 3
PT_LOAD, PT_DYNAMIC, PT_NOTE, PT_TLS = 1, 2, 4, 7
PT_GNU_STACK, PT_GNU_PROPERTY = 0x6474E551, 0x6474E553
PF_X = 1

HEADER_BYTES = 832  # struct filebuf: sizeof buf, of 64-bit loaders

LOADED_TAGS = {DT_NEEDED: "needed", DT_AUXILIARY: "auxiliary", DT_FILTER: "filter"}


class Verdict(NamedTuple):
    """What the loader thinks of a file before it maps it; all empty if it takes it.

    Attributes:
        skip: why it looks further.
        fatal: why it gives up.
        id: of the problem that this is.
        source: of the rule.
    """

    skip: str = ""
    fatal: str = ""
    id: str = "not-a-library"
    source: str = rules.VERIFY


class Load(NamedTuple):
    """A program header."""

    type: int
    flags: int
    offset: int
    address: int
    file_size: int
    memory_size: int
    alignment: int


class Facts:
    """One file.

    Attributes:
        found: where it is.
        verdict: what ``open_verify`` says.
        broken: why it cannot be read as far as a loader reads it; then all below is empty.
        binary: what it says of itself, for the people who ask; None if only described.
        type: e_type.
        headers: its program headers.
        needs: (tag, name) of what it asks for, with filters, in its order.
        soname, rpath, runpath: as in the file; None if they are not there. RPATH is None
            if there is a RUNPATH, as the loader has it.
        flags, flags_1: DT_FLAGS with the older tags of the same meaning, DT_FLAGS_1.
        versions_needed: by library.
        versions: the ones that it has; None without DT_VERDEF.
        relr: whether it has packed relocations.
    """

    __slots__ = (
        "binary",
        "broken",
        "flags",
        "flags_1",
        "found",
        "headers",
        "needs",
        "relr",
        "rpath",
        "runpath",
        "soname",
        "symbols",
        "type",
        "verdict",
        "versions",
        "versions_needed",
    )

    def __init__(self, found: Found, verdict: Verdict) -> None:
        self.found = found
        self.verdict = verdict
        self.broken: BadBinary | None = None
        self.binary: Binary | None = None
        self.type = ET_DYN
        self.headers: tuple[Load, ...] = ()
        self.needs: tuple[tuple[int, str], ...] = ()
        self.soname: str | None = None
        self.rpath: str | None = None
        self.runpath: str | None = None
        self.flags = self.flags_1 = 0
        self.versions_needed: tuple[VersionNeed, ...] = ()
        self.versions: frozenset[str] | None = None
        self.relr = False
        self.symbols: object = None

    def of_type(self, kind: int) -> Load | None:
        """The first program header of a type."""
        for header in self.headers:
            if header.type == kind:
                return header
        return None


def read_facts(found: Found, system: System) -> Facts:
    """Read one file as the loader would."""
    if found.file is None:
        facts = Facts(found, Verdict())
        if found.given is not None:
            facts.soname = found.given.name
            facts.versions = found.given.versions
        return facts
    verdict, kind, headers = verify(found, system.target)
    facts = Facts(found, verdict)
    if verdict.skip or verdict.fatal:
        return facts
    facts.type, facts.headers = kind, headers
    try:
        facts.binary = binary = system.read(found)
        facts.soname = binary.soname
        _dynamic(facts, found)
    except BadBinary as error:
        facts.broken = error
    except FerryError as error:
        facts.verdict = Verdict(fatal=str(error))
    return facts


def _dynamic(facts: Facts, found: Found) -> None:
    assert found.file is not None
    with open_window(found.file) as window:
        image = Image(window)
        tags = image.tags
        facts.needs = tuple(
            (tag, image.string(value, "the name of a needed library"))
            for tag, value in image.entries
            if tag in LOADED_TAGS
        )
        facts.flags = (
            tags.get(DT_FLAGS, 0)
            | (DF_SYMBOLIC if DT_SYMBOLIC in tags else 0)
            | (DF_TEXTREL if DT_TEXTREL in tags else 0)
            | (DF_BIND_NOW if DT_BIND_NOW in tags else 0)
        )
        facts.flags_1 = tags.get(DT_FLAGS_1, 0)
        # elf/get-dynamic-info.h: "When both DT_RPATH and DT_RUNPATH are present ignore
        # DT_RPATH".
        if DT_RUNPATH in tags:
            facts.runpath = image.string(tags[DT_RUNPATH], "the runpath")
        elif DT_RPATH in tags:
            facts.rpath = image.string(tags[DT_RPATH], "the rpath")
        facts.relr = DT_RELR in tags
        if DT_VERNEED in tags:
            facts.versions_needed = _needed_versions(image)
        if DT_VERDEF in tags:
            facts.versions = _defined_versions(image)


def _needed_versions(image: Image) -> tuple[VersionNeed, ...]:
    """Linux Standard Base, Core, 10.7.3 "Version Requirements": Verneed and Vernaux."""
    what = "the version needs"
    table = image.at(image.tags[DT_VERNEED], what)
    order = image.layout.word.format[0]
    need, aux = struct.Struct(order + "HHIII"), struct.Struct(order + "IHHII")
    needs = []
    at = 0
    while True:
        _, _, file, first, step = table.unpack(need, at, what)
        library = image.string(file, "the name of a needed library")
        one = at + first
        while True:
            _, flags, _, name, further = table.unpack(aux, one, what)
            version = image.string(name, "the name of a version")
            needs.append(VersionNeed(library, version, bool(flags & 2)))  # VER_FLG_WEAK
            if not further:
                break
            one += further
        if not step:
            return tuple(needs)
        at += step


def _defined_versions(image: Image) -> frozenset[str]:
    """The same, 10.7.2 "Version Definitions"; the base version counts as well."""
    what = "the version definitions"
    table = image.at(image.tags[DT_VERDEF], what)
    order = image.layout.word.format[0]
    record = struct.Struct(order + "HHHHIII")
    word = image.layout.word
    names = set()
    at = 0
    while True:
        _, _, _, count, _, aux, step = table.unpack(record, at, what)
        if count:
            names.add(image.string(table.unpack(word, at + aux, what)[0], "a version's name"))
        if not step:
            return frozenset(names)
        at += step


_HEADERS = {
    (bits, order): struct.Struct(order + ("HHIQQQIHHH" if bits == 64 else "HHIIIIIHHH"))
    for bits in (32, 64)
    for order in "<>"
}
_SEGMENTS = {
    (bits, order): struct.Struct(order + ("IIQQQQQQ" if bits == 64 else "IIIIIIII"))
    for bits in (32, 64)
    for order in "<>"
}
_CLASSES = {32: 1, 64: 2}


def verify(found: Found, target: Target) -> tuple[Verdict, int, tuple[Load, ...]]:
    """What ``open_verify`` says of a file, with its e_type and program headers."""
    assert found.file is not None
    order = "<" if target.endian == "little" else ">"
    header, segment = _HEADERS[target.bits, order], _SEGMENTS[target.bits, order]
    none: tuple[Load, ...] = ()
    try:
        fd = os.open(found.file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        return Verdict(skip=os.strerror(error.errno or errno.EACCES)), 0, none
    try:
        start = os.read(fd, HEADER_BYTES)
        if len(start) < 16 + header.size + 6:  # the three last fields are not read
            return Verdict(fatal="file too short", id="truncated"), 0, none
        verdict = _verify_identification(start, target)
        if verdict is not None:
            return verdict, 0, none
        kind, machine, version, _, offset, _, flags, _, size, count = header.unpack_from(start, 16)
        if version != 1:
            return Verdict(fatal="ELF file version does not match current one"), 0, none
        cpu = rules.CPUS.get(target.cpu)
        if cpu is not None and (machine != cpu.machine or flags & cpu.flags_mask != cpu.flags):
            return Verdict(skip="it is for another CPU", id="wrong-machine"), 0, none
        if kind not in (ET_DYN, ET_EXEC):
            return Verdict(fatal="only ET_DYN and ET_EXEC can be loaded"), 0, none
        if size != segment.size:
            return Verdict(fatal="ELF file's phentsize not the expected size"), 0, none
        raw = start[offset : offset + count * size]
        if len(raw) < count * size:
            raw = os.pread(fd, count * size, offset) if offset < 1 << 62 else b""
        if len(raw) < count * size:
            return Verdict(fatal="cannot read file data", id="truncated"), 0, none
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO)
        return Verdict(fatal=f"cannot read file data: {reason}"), 0, none
    finally:
        os.close(fd)
    if target.bits == 64:
        headers = tuple(
            Load(t, f, o, v, fs, ms, a) for t, f, o, v, _, fs, ms, a in segment.iter_unpack(raw)
        )
    else:
        headers = tuple(
            Load(t, f, o, v, fs, ms, a) for t, o, v, _, fs, ms, f, a in segment.iter_unpack(raw)
        )
    return Verdict(), kind, headers


def _verify_identification(start: bytes, target: Target) -> Verdict | None:
    """e_ident; None if it is as expected."""
    if start[:4] != b"\x7fELF":
        return Verdict(fatal="invalid ELF header")
    if start[4] != _CLASSES[target.bits]:
        other = f"wrong ELF class: ELFCLASS{96 - target.bits}"
        return Verdict(skip=other, id="wrong-class")
    if start[5] != (1 if target.endian == "little" else 2):
        return Verdict(
            fatal=f"ELF file data encoding not {target.endian}-endian", id="wrong-endianness"
        )
    if start[6] != 1:
        return Verdict(fatal="ELF file version ident does not match current one")
    osabi, version = start[7], start[8]
    known = rules.ABI_VERSIONS.get(osabi)
    if known is None and target.cpu == "arm" and osabi == rules.ARM_ABI:
        known = 1
    if known is None:
        return Verdict(fatal="ELF file OS ABI invalid", id="abi-tag-too-new")
    if version >= known:
        return Verdict(fatal="ELF file ABI version invalid", id="abi-tag-too-new")
    if any(start[9:16]):
        return Verdict(fatal="nonzero padding in e_ident")
    return None
