"""Small facts of an ELF file that rules and loaders ask for, each from its tag or segment."""

from __future__ import annotations

from typing import Literal, NamedTuple

from libferry.binary.elf import versions
from libferry.binary.elf.attributes import Abi
from libferry.binary.elf.image import Headers, Image
from libferry.binary.elf.layout import (
    DF_1_NAMES,
    DF_NAMES,
    DT_BIND_NOW,
    DT_FINI,
    DT_FINI_ARRAY,
    DT_FINI_ARRAYSZ,
    DT_FLAGS,
    DT_FLAGS_1,
    DT_INIT,
    DT_INIT_ARRAY,
    DT_INIT_ARRAYSZ,
    DT_PREINIT_ARRAY,
    DT_PREINIT_ARRAYSZ,
    DT_SYMBOLIC,
    DT_TEXTREL,
    EM_AARCH64,
    EM_LOONGARCH,
    EM_PPC64,
    EM_RISCV,
    ET_DYN,
    PF_R,
    PF_W,
    PF_X,
    PT_GNU_RELRO,
    PT_GNU_STACK,
    PT_TLS,
)
from libferry.binary.elf.relocation_types import INITIAL_EXEC, TYPES
from libferry.binary.elf.relocations import counts
from libferry.binary.model import Segment, Tls

Relro = Literal["full", "partial", "none"]
World = Literal["old", "new"]

# Without PT_GNU_STACK, glibc takes the stack to be executable, but for CPUs that never had
# a system without it: DEFAULT_STACK_PERMS in glibc's sysdeps/*/stackinfo.h.
STACK_IS_DATA = {EM_AARCH64, EM_RISCV, EM_LOONGARCH, EM_PPC64, 195, 113}  # and ARC, Nios II

# LoongArch: what C libraries and loaders of the two worlds have; areweloongyet.com,
# "The old world and the new world"
OLD_WORLD_LOADER = "/lib64/ld.so.1"
OLD_WORLD_VERSION, NEW_WORLD_VERSION = "GLIBC_2.27", "GLIBC_2.36"
NEW_WORLD_LOADER = "ld-linux-loongarch"


class Hardening(NamedTuple):
    """What protects a process against mistakes in the file, and what undoes it.

    Attributes:
        pie: whether it can lie anywhere in memory, as every library can.
        relro: ``full`` if nothing that the loader fills in stays writable; ``partial`` if
            the addresses of functions do, which may be bound later; or ``none``.
        now: whether all symbols are looked up when it is loaded.
        executable_stack: whether a glibc loader would make the stack executable for it.
        stack_header: whether PT_GNU_STACK is there; without, the CPU decides.
        text_relocations: whether code is changed when it is loaded.
        writable_code: whether a segment is both writable and executable.
    """

    pie: bool
    relro: Relro
    now: bool
    executable_stack: bool
    stack_header: bool
    text_relocations: bool
    writable_code: bool


class Initialisers(NamedTuple):
    """What runs when the file is loaded and unloaded: functions and lengths of lists."""

    init: bool
    init_array: int
    preinit_array: int
    fini: bool
    fini_array: int


def flags(headers: Headers) -> frozenset[str]:
    """The names of all bits of DT_FLAGS and DT_FLAGS_1, and what older tags say the same way."""
    tags = headers.tags
    found = {name for bit, name in DF_NAMES.items() if tags.get(DT_FLAGS, 0) & bit}
    found |= {name for bit, name in DF_1_NAMES.items() if tags.get(DT_FLAGS_1, 0) & bit}
    for tag, name in ((DT_BIND_NOW, "NOW"), (DT_TEXTREL, "TEXTREL"), (DT_SYMBOLIC, "SYMBOLIC")):
        if tag in tags:
            found.add(name)
    return frozenset(found)


def hardening(headers: Headers) -> Hardening:
    """What protects a process against mistakes in the file."""
    known = flags(headers)
    stack = [segment for segment in headers.segments if segment.type == PT_GNU_STACK]
    relro = any(segment.type == PT_GNU_RELRO for segment in headers.segments)
    now = "NOW" in known
    both = PF_W | PF_X
    return Hardening(
        pie=headers.type == ET_DYN,
        relro=("full" if now else "partial") if relro else "none",
        now=now,
        executable_stack=(
            bool(stack[-1].flags & PF_X) if stack else headers.machine not in STACK_IS_DATA
        ),
        stack_header=bool(stack),
        text_relocations="TEXTREL" in known,
        writable_code=any(segment.flags & both == both for segment in headers.loads),
    )


def initialisers(headers: Headers) -> Initialisers:
    """What runs when the file is loaded and unloaded."""
    tags, word = headers.tags, headers.layout.bits // 8

    def length(tag: int, size_tag: int) -> int:
        return tags.get(size_tag, 0) // word if tag in tags else 0

    return Initialisers(
        bool(tags.get(DT_INIT)),
        length(DT_INIT_ARRAY, DT_INIT_ARRAYSZ),
        length(DT_PREINIT_ARRAY, DT_PREINIT_ARRAYSZ),
        bool(tags.get(DT_FINI)),
        length(DT_FINI_ARRAY, DT_FINI_ARRAYSZ),
    )


def segments(headers: Headers) -> tuple[Segment, ...]:
    """What is mapped."""
    return tuple(
        Segment(
            name="PT_LOAD",
            address=segment.address,
            size=segment.size,
            offset=segment.offset,
            file_size=segment.file_size,
            alignment=segment.alignment,
            readable=bool(segment.flags & PF_R),
            writable=bool(segment.flags & PF_W),
            executable=bool(segment.flags & PF_X),
        )
        for segment in headers.loads
    )


def tls(image: Image) -> Tls | None:
    """Its thread-local storage.

    The model is initial-exec if the linker said so, which it forgets for programs and some
    CPUs, or if a relocation asks for an offset from the thread pointer.
    """
    for segment in image.segments:
        if segment.type == PT_TLS:
            static = uses_static_tls(image)
            model: Literal["dynamic", "initial-exec"] = "initial-exec" if static else "dynamic"
            return Tls(segment.size, segment.alignment, model)
    return None


def uses_static_tls(image: Image) -> bool:
    """Whether it needs its own or others' thread-local storage in the static block."""
    if "STATIC_TLS" in flags(image.headers):
        return True
    names = TYPES.get(image.machine, {})
    present = counts(image)
    return any(names[number] in present for number in INITIAL_EXEC.get(image.machine, ()))


def loongarch_world(image: Image, convention: Abi) -> World | None:
    """Which of the two incompatible LoongArch systems the file is for, if it says so.

    A C library's version is the best witness, then the loader's name. The object ABI is none
    that decides alone: v0 is what compilers of both worlds made at first; but v1 came after
    the old world's last compiler.
    """
    if image.machine != EM_LOONGARCH:
        return None
    interpreter = image.interpreter()
    known = {need.version for need in versions.needed(image)}
    known.update(versions.given(image).values())
    if NEW_WORLD_VERSION in known:
        return "new"
    if OLD_WORLD_VERSION in known or interpreter == OLD_WORLD_LOADER:
        return "old"
    if interpreter and NEW_WORLD_LOADER in interpreter:
        return "new"
    return "new" if convention.object_abi == "v1" else None
