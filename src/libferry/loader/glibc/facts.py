"""What the loader reads of one file: its ``struct link_map``, as far as the file says it.

Everything here depends on the file alone, so it is read once and kept for all that is
resolved with one system. What depends on who loads it is in ``mapping.py``.

A file that our reader takes is looked at once; what the loader would say of any other is
for ``verify.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from libferry.binary.elf import Image, notes, versions
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
    EM_386,
    EM_X86_64,
    ET_DYN,
    PT_NOTE,
    ProgramHeader,
)
from libferry.binary.elf.view import ElfView
from libferry.binary.model import Binary
from libferry.errors import BadBinary, FerryError
from libferry.loader.glibc.verify import (
    IDENTIFICATION_BYTES,
    Verdict,
    program_headers,
    verify,
    verify_headers,
    verify_identification,
)
from libferry.target.model import Target
from libferry.target.system import Found, System

if TYPE_CHECKING:
    from libferry.loader.glibc.symbols import Symbols

# gABI, "Dynamic Section", and elf.h for the GNU ones: the older tag of a flag, and flags
DT_BIND_NOW, DF_BIND_NOW = 24, 0x8
DF_1_NOW, DF_1_INITFIRST, DF_1_NOOPEN, DF_1_NODEFLIB = 0x1, 0x20, 0x40, 0x800

X86_ISA_1_NEEDED = (0xC0008002).to_bytes(4, "little")  # GNU_PROPERTY_X86_ISA_1_NEEDED

LOADED_TAGS = {DT_NEEDED, DT_AUXILIARY, DT_FILTER}


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
        flags, flags_1: DT_FLAGS with the older tag of DF_BIND_NOW, DT_FLAGS_1.
        sound: whether it is known that nothing is wrong with mapping it, ever.
        symbols: what others bind to here, and what it binds to; read when it is asked for.
        versions_needed: of which library which must be there; the order is the file's.
        versions: the ones that it has; None without DT_VERDEF.
        isa_needed: the x86 levels that it was compiled for.
        relr: whether it has packed relocations.
    """

    __slots__ = (
        "binary",
        "broken",
        "flags",
        "flags_1",
        "found",
        "isa_needed",
        "needs",
        "relr",
        "rpath",
        "runpath",
        "segments",
        "soname",
        "sound",
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
        self.versions_needed: Sequence[tuple[str, frozenset[str]]] = ()
        self.sound = False
        self.versions: frozenset[str] | None = None
        self.isa_needed: tuple[str, ...] = ()
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
    facts = Facts(found, Verdict())
    try:
        facts.binary = system.read(found)
        view = facts.binary.view
        if isinstance(view, ElfView):
            _read(facts, view, system.target)
            return facts
    except BadBinary as error:
        facts.broken = error
    except FerryError as error:
        facts.verdict = Verdict(fatal=str(error))
        return facts
    facts.verdict, facts.type, raw = verify(found, system.target)
    facts.segments = program_headers(raw, system.target)
    return facts


def _read(facts: Facts, view: ElfView, target: Target) -> None:
    headers = view.headers
    tags = headers.tags
    with view.open() as window:
        start = window.bytes(0, IDENTIFICATION_BYTES, "the ELF identification")
        verdict = verify_identification(start, target) or verify_headers(
            headers.machine, headers.flags, headers.type, target
        )
        if verdict is not None:
            facts.verdict = verdict
            return
        image = Image(window, headers)
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
        wanted: dict[str, set[str]] = {}
        for need in versions.needed(image):
            if not need.weak:
                wanted.setdefault(need.library, set()).add(need.version)
        facts.versions_needed = tuple(
            (library, frozenset(names)) for library, names in wanted.items()
        )
        facts.isa_needed = _isa_needed(image)
        if DT_VERDEF in tags:
            facts.versions = frozenset(versions.given(image).values())
    facts.type = headers.type
    facts.segments = headers.segments
    facts.flags = tags.get(DT_FLAGS, 0) | (DF_BIND_NOW if DT_BIND_NOW in tags else 0)
    facts.flags_1 = tags.get(DT_FLAGS_1, 0)
    facts.relr = DT_RELR in tags
    facts.view = view


def _isa_needed(image: Image) -> tuple[str, ...]:
    """The x86 levels that the loader asks for; hardly any file has some."""
    if image.machine not in (EM_386, EM_X86_64):
        return ()
    for segment in image.segments:
        if segment.type == PT_NOTE and segment.offset + segment.file_size <= image.window.size:
            note = image.window.bytes(segment.offset, segment.file_size, "its notes")
            if X86_ISA_1_NEEDED in note:
                return notes.properties(image).isa_needed
    return ()
