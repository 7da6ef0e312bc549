"""Whether the loader takes a file for a library of this CPU: its look at the first bytes.

Here it is decided between "not this one, look further", which happens for another CPU's
file in a search path, and "give up", which happens for a text file of that name.

Source: glibc ``elf/dl-load.c``, ``open_verify``; the checks are in its order, the words are
its own.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Sequence
from typing import NamedTuple

from libferry.binary.elf.layout import ET_DYN, ET_EXEC, ProgramHeader, layout_of
from libferry.loader.glibc import rules
from libferry.target.model import Target
from libferry.target.system import Found

HEADER_BYTES = 832  # struct filebuf: sizeof buf, of 64-bit loaders
IDENTIFICATION_BYTES = 16
ANOTHER_CPU = "it is for another CPU"


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


_HEADERS = {
    (bits, order): struct.Struct(order + ("HHIQQQIHHH" if bits == 64 else "HHIIIIIHHH"))
    for bits in (32, 64)
    for order in "<>"
}
_PROGRAM_HEADER_BYTES = {32: 32, 64: 56}
_CLASSES = {32: 1, 64: 2}


def program_headers(raw: bytes, target: Target) -> Sequence[ProgramHeader]:
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
        verdict = verify_identification(start, target)
        if verdict is not None:
            return verdict, 0, none
        kind, machine, version, _, offset, _, flags, _, size, count = header.unpack_from(start, 16)
        if version != 1:
            return Verdict(fatal="ELF file version does not match current one"), 0, none
        verdict = verify_headers(machine, flags, kind, target)
        if verdict is not None:
            return verdict, 0, none
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


def verify_identification(start: bytes, target: Target) -> Verdict | None:
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


def verify_headers(machine: int, flags: int, kind: int, target: Target) -> Verdict | None:
    """e_machine, e_flags and e_type; None if they are as expected."""
    cpu = rules.CPUS.get(target.cpu)
    if cpu is not None and (machine != cpu.machine or flags & cpu.flags_mask != cpu.flags):
        return Verdict(skip=ANOTHER_CPU, id="wrong-machine")
    if kind not in (ET_DYN, ET_EXEC):
        return Verdict(fatal="only ET_DYN and ET_EXEC can be loaded")
    return None
