"""What a file says of the calling convention beyond its CPU.

A CPU's name is not enough to know whether two libraries can call each other. Whether
floating-point arguments go in registers of their own is an option of the compiler on Arm,
RISC-V and LoongArch, and code compiled one way reads garbage from the other.

Arm and RISC-V compilers write "build attributes", in a section of a format that they
share; LoongArch and RISC-V also use ``e_flags``. LoongArch's ``e_flags`` have the version of
the object format, too, which is how its two worlds are confused with each other: the "old
world" of the first commercial systems and the "new world" of everybody's kernel and C library
have different kernel interfaces and different oldest symbol versions. The object format
changed in between, but a library has it from its compiler, not from its world.

Specifications: "Addenda to, and Errata in, the ABI for the Arm Architecture", section 3.3
"Build Attributes", and "ELF for the Arm Architecture", section "ELF Header"; "RISC-V ELF
psABI", sections "File Header" and "Attributes"; "ELF for the LoongArch Architecture",
section "e_flags Identifies ABI Type and Version"; "64-bit ELF V2 ABI, Power", "ELF Header".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from libferry.binary.elf.image import Image
from libferry.binary.elf.layout import EM_ARM, EM_LOONGARCH, EM_PPC64, EM_RISCV
from libferry.binary.elf.sections import contents, sections
from libferry.binary.window import decode

ATTRIBUTES_AT_MOST = 1 << 14  # bytes of the section; real ones have a hundred
SHT_ATTRIBUTES = 0x70000003  # both SHT_ARM_ATTRIBUTES and SHT_RISCV_ATTRIBUTES
TAG_FILE = 1

# e_machine -> the vendor whose attributes we read, and its tags
_TAGS: dict[int, tuple[bytes, dict[int, str]]] = {
    EM_ARM: (
        b"aeabi",
        {
            5: "CPU_name",
            6: "CPU_arch",
            7: "CPU_arch_profile",
            9: "THUMB_ISA_use",
            10: "FP_arch",
            12: "Advanced_SIMD_arch",
            24: "ABI_align_needed",
            28: "ABI_VFP_args",
        },
    ),
    EM_RISCV: (b"riscv", {4: "stack_align", 5: "arch", 6: "unaligned_access"}),
}
# Of Arm's tags up to 32, only these have text; above, and RISC-V's, all that are odd.
_ARM_TEXTS = {4, 5}
_TAG_COMPATIBILITY = 32  # Arm: a number, then text

# e_machine -> the mask of e_flags, and what its values mean
_FLOAT_ABI: dict[int, tuple[int, dict[int, str]]] = {
    EM_ARM: (0x600, {0x200: "soft", 0x400: "hard"}),
    EM_RISCV: (0x6, {0: "soft", 2: "single", 4: "double", 6: "quad"}),
    EM_LOONGARCH: (0x7, {1: "soft", 2: "single", 3: "double"}),
}
_OBJECT_ABI: dict[int, tuple[int, dict[int, str]]] = {
    EM_ARM: (0xFF000000, {0x04000000: "eabi4", 0x05000000: "eabi5"}),
    EM_LOONGARCH: (0xC0, {0: "v0", 0x40: "v1"}),
    EM_PPC64: (0x3, {1: "v1", 2: "v2"}),
}
_ARM_VFP_ARGS = {0: "soft", 1: "hard"}

Attributes = dict[str, int | str]


class Abi(NamedTuple):
    """The calling convention, as far as ``e_flags`` and the attributes say it.

    Attributes:
        flags: ``e_flags`` itself.
        float_abi: Arm ``soft`` or ``hard``; RISC-V and LoongArch ``soft``, ``single``,
            ``double`` or ``quad``; None if the file does not say, or has no choice.
        object_abi: LoongArch ``v0`` or ``v1``, Arm ``eabi5``, Power ``v2``; or None.
        attributes: the build attributes that we know, by the name of their tag.
    """

    flags: int
    float_abi: str | None
    object_abi: str | None
    attributes: Attributes


def abi(image: Image) -> Abi:
    """Read all that is said of the calling convention."""
    flags, machine = image.headers.flags, image.machine
    found = attributes(image)

    def named(table: dict[int, tuple[int, dict[int, str]]]) -> str | None:
        mask, names = table.get(machine, (0, {}))
        return names.get(flags & mask)

    float_abi = named(_FLOAT_ABI)
    if float_abi is None and machine == EM_ARM and "CPU_arch" in found:
        # The flag is younger than the attribute, and the default is left out of these.
        float_abi = _ARM_VFP_ARGS.get(int(found.get("ABI_VFP_args", 0)))
    return Abi(flags, float_abi, named(_OBJECT_ABI), found)


def attributes(image: Image) -> Attributes:
    """The build attributes of Arm and RISC-V; none if they are missing or damaged."""
    if image.machine not in _TAGS:
        return {}
    for section in sections(image)[0]:
        if section.type == SHT_ATTRIBUTES:
            region = contents(image, section)
            raw = region.bytes(0, min(region.size, ATTRIBUTES_AT_MOST), "its attributes")
            try:
                return dict(_attributes(image, raw))
            except IndexError:  # it ends in the middle
                return {}
    return {}


def _attributes(image: Image, raw: bytes) -> Iterator[tuple[str, int | str]]:
    vendor, names = _TAGS[image.machine]
    at = 1  # the format version, "A"
    while at + 4 < len(raw):
        (length,) = image.layout.word.unpack_from(raw, at)
        name, begin = _text(raw, at + 4)
        if name == vendor:
            yield from _of_the_file(image, raw, begin, at + length, names)
        at += max(length, 4)


def _of_the_file(
    image: Image, raw: bytes, at: int, end: int, names: dict[int, str]
) -> Iterator[tuple[str, int | str]]:
    while at + 5 <= min(end, len(raw)):
        scope = raw[at]
        (size,) = image.layout.word.unpack_from(raw, at + 1)
        if scope == TAG_FILE:
            place, stop = at + 5, min(at + size, len(raw))
            while place < stop:
                tag, place = _number(raw, place)
                value: int | str
                if _is_text(image.machine, tag):
                    text, place = _text(raw, place)
                    value = decode(text)
                else:
                    value, place = _number(raw, place)
                    if tag == _TAG_COMPATIBILITY and image.machine == EM_ARM:
                        _, place = _text(raw, place)
                if tag in names:
                    yield names[tag], value
        at += max(size, 5)


def _is_text(machine: int, tag: int) -> bool:
    if machine == EM_ARM and tag <= _TAG_COMPATIBILITY:
        return tag in _ARM_TEXTS
    return tag % 2 == 1


def _text(raw: bytes, at: int) -> tuple[bytes, int]:
    end = raw.find(0, at)
    if end < 0:
        raise IndexError
    return raw[at:end], end + 1


def _number(raw: bytes, at: int) -> tuple[int, int]:
    """A ULEB128: seven bits a byte, the lowest first."""
    value = shift = 0
    while True:
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << min(shift, 64)
        if byte < 0x80:
            return value, at
        shift += 7
