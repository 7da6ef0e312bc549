"""Notes: small records for those who run or debug a file.

Each has an owner, a kind and some bytes. Loaders go by segments, so we do: ``PT_NOTE``.

- ``NT_GNU_BUILD_ID`` tells two builds of a library apart.
- ``NT_GNU_ABI_TAG`` names the oldest kernel that the C library it was linked with runs on.
- ``NT_GNU_PROPERTY_TYPE_0`` says what the CPU must have, and which protections all of
  the code was compiled for. The linker drops a protection if one object lacks it.

The oddity: a note's parts are padded to 4 bytes, in 64-bit files too, where the gABI asks
for 8. Only property notes really are of 8, and their segment's alignment says so.

Specifications: gABI chapter 5, "Note Section"; binutils' ``elf/common.h``; "Linux
Extensions to gABI", section "Program Property"; x86-64 psABI, "Program Property"; "ELF
for the Arm 64-bit Architecture", section "Program Property".
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from libferry.binary.elf.image import Image
from libferry.binary.elf.layout import EM_386, EM_AARCH64, EM_RISCV, EM_X86_64, PT_NOTE

NT_GNU_ABI_TAG, NT_GNU_BUILD_ID, NT_GNU_PROPERTY_TYPE_0 = 1, 3, 5
GNU = b"GNU\0"

NOTES_AT_MOST = 64
BUILD_ID_AT_MOST = 64  # bytes; linkers make 8 to 32
PROPERTIES_AT_MOST = 64
NOTE_AT_MOST = 1 << 12  # bytes that we read of one

# ABI tag: the first word is the system
SYSTEMS = ("linux", "hurd", "solaris", "freebsd", "netbsd")

_X86_ISA = {1: "x86-64-baseline", 2: "x86-64-v2", 4: "x86-64-v3", 8: "x86-64-v4"}
_X86_FEATURES = {1: "IBT", 2: "SHSTK", 4: "LAM_U48", 8: "LAM_U57"}

# (machine, pr_type) -> which list of Properties, and the names of its bits
_PROPERTIES: dict[tuple[int, int], tuple[str, dict[int, str]]] = {
    (EM_AARCH64, 0xC0000000): ("features", {1: "BTI", 2: "PAC", 4: "GCS"}),
    (EM_RISCV, 0xC0000000): ("features", {1: "ZICFILP", 2: "ZICFISS"}),
}
for _machine in (EM_386, EM_X86_64):
    _PROPERTIES[_machine, 0xC0000002] = ("features", _X86_FEATURES)
    _PROPERTIES[_machine, 0xC0008002] = ("isa_needed", _X86_ISA)
    _PROPERTIES[_machine, 0xC0010002] = ("isa_used", _X86_ISA)


class Note(NamedTuple):
    """One note; ``content`` is cut at ``NOTE_AT_MOST`` bytes."""

    owner: bytes
    kind: int
    content: bytes


class Properties(NamedTuple):
    """What ``NT_GNU_PROPERTY_TYPE_0`` says.

    Attributes:
        isa_needed: the x86-64 levels without which the library may not be loaded, such
            as ``x86-64-v3``.
        isa_used: the levels that its code has a use for.
        features: the protections that all of its code was compiled for: ``IBT``,
            ``SHSTK``; ``BTI``, ``PAC``, ``GCS``; ``ZICFILP``, ``ZICFISS``.
    """

    isa_needed: tuple[str, ...] = ()
    isa_used: tuple[str, ...] = ()
    features: tuple[str, ...] = ()


def notes(image: Image) -> Iterator[Note]:
    """Give the notes of all segments, ``NOTES_AT_MOST`` of each."""
    header = Struct(image.layout.order + "III")
    for segment in image.segments:
        if segment.type != PT_NOTE:
            continue
        region = image.window.view(segment.offset, segment.file_size, "its notes")
        pad = 7 if segment.alignment == 8 else 3
        at = 0
        for _ in range(NOTES_AT_MOST):
            if at + header.size > region.size:
                break
            owner_size, size, kind = region.unpack(header, at, "a note")
            owner_at = at + header.size
            content_at = owner_at + owner_size + pad & ~pad
            owner = region.bytes(owner_at, min(owner_size, NOTE_AT_MOST), "a note")
            yield Note(owner, kind, region.bytes(content_at, min(size, NOTE_AT_MOST), "a note"))
            at = content_at + size + pad & ~pad


def build_id(image: Image) -> bytes | None:
    """The build ID: what tells two builds of a library apart."""
    for note in notes(image):
        if note.kind == NT_GNU_BUILD_ID and note.owner == GNU:
            return note.content[:BUILD_ID_AT_MOST]
    return None


def abi_tag(image: Image) -> tuple[str, str] | None:
    """The system of the ABI tag, and its oldest version, such as ``("linux", "3.2.0")``."""
    words = Struct(image.layout.order + "IIII")
    for note in notes(image):
        if note.kind == NT_GNU_ABI_TAG and note.owner == GNU and len(note.content) >= words.size:
            system, *version = words.unpack_from(note.content)
            name = SYSTEMS[system] if system < len(SYSTEMS) else str(system)
            return name, ".".join(map(str, version))
    return None


def properties(image: Image) -> Properties:
    """What the CPU must have, and which protections the code is made for."""
    pair, word = Struct(image.layout.order + "II"), image.layout.word
    pad = image.layout.bits // 8 - 1
    found: dict[str, tuple[str, ...]] = {}
    for note in notes(image):
        if note.kind != NT_GNU_PROPERTY_TYPE_0 or note.owner != GNU:
            continue
        at, content = 0, note.content
        for _ in range(PROPERTIES_AT_MOST):
            if at + pair.size > len(content):
                break
            kind, size = pair.unpack_from(content, at)
            at += pair.size
            field, names = _PROPERTIES.get((image.machine, kind), ("", {}))
            if field and size == word.size and at + size <= len(content):
                (bits,) = word.unpack_from(content, at)
                found[field] = tuple(name for bit, name in names.items() if bits & bit)
            at += size + pad & ~pad
    return Properties(**found)
