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
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from libferry.binary.elf import Image, versions
from libferry.binary.elf.layout import (
    DT_AUXILIARY,
    DT_FILTER,
    DT_FLAGS,
    DT_FLAGS_1,
    DT_NEEDED,
    DT_RELR,
    DT_RPATH,
    DT_RUNPATH,
    DT_SONAME,
    DT_VERDEF,
    ET_DYN,
    ET_EXEC,
    ProgramHeader,
    layout_of,
)
from libferry.binary.elf.view import ElfView
from libferry.binary.model import Binary
from libferry.errors import BadBinary, FerryError
from libferry.loader.glibc import rules
from libferry.target.model import Target
from libferry.target.system import Found, System

if TYPE_CHECKING:
    from libferry.loader.glibc.symbols import Symbols

# gABI, "Dynamic Section", and elf.h for the GNU ones: the older tags of some flags, and flags
DT_SYMBOLIC, DT_TEXTREL, DT_BIND_NOW = 16, 22, 24
DF_SYMBOLIC, DF_TEXTREL, DF_BIND_NOW = 0x2, 0x4, 0x8
DF_1_NOW, DF_1_INITFIRST, DF_1_NOOPEN, DF_1_NODEFLIB = 0x1, 0x20, 0x40, 0x800

HEADER_BYTES = 832  # struct filebuf: sizeof buf, of 64-bit loaders

LOADED_TAGS = {DT_NEEDED, DT_AUXILIARY, DT_FILTER}


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


class Facts:
    """One file.

    Attributes:
        found: where it is.
        verdict: what ``open_verify`` says.
        broken: why it cannot be read as far as a loader reads it; then all below is empty.
        binary: what it says of itself, for the people who ask; None if only described.
        view: the same in ELF's own words; None if it cannot be read, or is only described.
        type: e_type.
        segments: its program headers.
        needs: (tag, name) of what it asks for, with filters, in its order.
        soname, rpath, runpath: as in the file; None if they are not there. RPATH is None
            if there is a RUNPATH, as the loader has it.
        flags, flags_1: DT_FLAGS with the older tags of the same meaning, DT_FLAGS_1.
        symbols: what others bind to here, and what it binds to; read when it is asked for.
        versions_needed: of which library.
        versions: the ones that it has; None without DT_VERDEF.
        relr: whether it has packed relocations.
    """

    __slots__ = (
        "binary",
        "broken",
        "flags",
        "flags_1",
        "found",
        "needs",
        "relr",
        "rpath",
        "runpath",
        "segments",
        "soname",
        "symbols",
        "type",
        "verdict",
        "versions",
        "versions_needed",
        "view",
    )

    def __init__(self, found: Found, verdict: Verdict) -> None:
        self.found = found
        self.verdict = verdict
        self.broken: BadBinary | None = None
        self.binary: Binary | None = None
        self.type = ET_DYN
        self.view: ElfView | None = None
        self.segments: Sequence[ProgramHeader] = ()
        self.needs: tuple[tuple[int, str], ...] = ()
        self.soname: str | None = None
        self.rpath: str | None = None
        self.runpath: str | None = None
        self.flags = self.flags_1 = 0
        self.versions_needed: Sequence[versions.NeededVersion] = ()
        self.versions: frozenset[str] | None = None
        self.relr = False
        self.symbols: Symbols | None = None

    def of_type(self, kind: int) -> ProgramHeader | None:
        """The first program header of a type."""
        for header in self.segments:
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
    verdict, facts_type, raw = verify(found, system.target)
    facts = Facts(found, verdict)
    if verdict.skip or verdict.fatal:
        return facts
    facts.type = facts_type
    try:
        facts.binary = binary = system.read(found)
        view = binary.view
        assert isinstance(view, ElfView)  # it begins with ELF's magic
        facts.segments = view.headers.segments
        _dynamic(facts, view)
    except BadBinary as error:
        facts.broken = error
        facts.segments = _program_headers(raw, system.target)
    except FerryError as error:
        facts.verdict = Verdict(fatal=str(error))
    return facts


def _dynamic(facts: Facts, view: ElfView) -> None:
    with view.open() as window:
        image = Image(window, view.headers)
        tags = image.tags
        facts.needs = tuple(
            (tag, image.string(value, "the name of a needed library"))
            for tag, value in image.entries
            if tag in LOADED_TAGS
        )
        if DT_SONAME in tags:
            facts.soname = image.string(tags[DT_SONAME], "the soname")
        # elf/get-dynamic-info.h: "When both DT_RPATH and DT_RUNPATH are present ignore
        # DT_RPATH".
        if DT_RUNPATH in tags:
            facts.runpath = image.string(tags[DT_RUNPATH], "the runpath")
        elif DT_RPATH in tags:
            facts.rpath = image.string(tags[DT_RPATH], "the rpath")
        facts.versions_needed = versions.needed(image)
        if DT_VERDEF in tags:
            facts.versions = frozenset(versions.given(image).values())
    facts.flags = (
        tags.get(DT_FLAGS, 0)
        | (DF_SYMBOLIC if DT_SYMBOLIC in tags else 0)
        | (DF_TEXTREL if DT_TEXTREL in tags else 0)
        | (DF_BIND_NOW if DT_BIND_NOW in tags else 0)
    )
    facts.flags_1 = tags.get(DT_FLAGS_1, 0)
    facts.relr = DT_RELR in tags
    facts.view = view


_HEADERS = {
    (bits, order): struct.Struct(order + ("HHIQQQIHHH" if bits == 64 else "HHIIIIIHHH"))
    for bits in (32, 64)
    for order in "<>"
}
_PROGRAM_HEADER_BYTES = {32: 32, 64: 56}
_CLASSES = {32: 1, 64: 2}


def _program_headers(raw: bytes, target: Target) -> Sequence[ProgramHeader]:
    """The program headers of a file that cannot be read any further."""
    layout = layout_of(_CLASSES[target.bits], 1 if target.endian == "little" else 2)
    return list(map(ProgramHeader._make, layout.segment.rows(raw)))


def verify(found: Found, target: Target) -> tuple[Verdict, int, bytes]:
    """What ``open_verify`` says of a file, with its e_type and program headers as bytes."""
    assert found.file is not None
    order = "<" if target.endian == "little" else ">"
    header = _HEADERS[target.bits, order]
    none = b""
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
        if size != _PROGRAM_HEADER_BYTES[target.bits]:
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
    return Verdict(), kind, raw


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
