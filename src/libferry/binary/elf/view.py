"""What an ELF file says beyond what every reader asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from libferry.binary import go
from libferry.binary.elf import attributes, facts, notes, relocations, sections, symbols, versions
from libferry.binary.elf.image import Headers, Image
from libferry.binary.elf.layout import (
    DT_AUDIT,
    DT_AUXILIARY,
    DT_DEPAUDIT,
    DT_FILTER,
    DT_RELR,
    PF_W,
    PF_X,
)
from libferry.binary.model import (
    Debug,
    Dependency,
    Export,
    GoBuild,
    Import,
    Segment,
    Tls,
    VersionNeed,
)
from libferry.binary.view import View
from libferry.binary.window import Stamp

Found = TypeVar("Found")


class ElfView(View):
    """An ELF file.

    Whatever is read here can raise ``BadBinary``, for a file that is damaged there. What
    only the headers say has been read already, and cannot.
    """

    def __init__(self, headers: Headers, path: Path, stamp: Stamp) -> None:
        super().__init__(path, stamp)
        self.headers = headers

    def _read(self, reader: Callable[[Image], Found]) -> Found:
        with self.open() as window:
            return reader(Image(window, self.headers))

    # ---- what all formats have -----------------------------------------------------

    @cached_property
    def exports(self) -> tuple[Export, ...]:
        """What the file offers to others, in its order."""
        return self._read(symbols.exports)

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """What it wants from others."""
        return self._read(symbols.imports)

    @cached_property
    def dependencies(self) -> tuple[Dependency, ...]:
        """The libraries it asks for: all are needed alike."""
        return tuple(map(Dependency, self._read(Image.needed)))

    @cached_property
    def versions_needed(self) -> tuple[VersionNeed, ...]:
        """The symbol versions that those must have."""
        found = self._read(versions.needed)
        return tuple(VersionNeed(need.library, need.version, need.weak) for need in found)

    @cached_property
    def versions_given(self) -> tuple[str, ...]:
        """The symbol versions that it has, without its base version."""
        return tuple(self._read(versions.given).values())

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """What is mapped: each PT_LOAD."""
        return facts.segments(self.headers)

    @cached_property
    def tls(self) -> Tls | None:
        """Its thread-local storage."""
        return self._read(facts.tls)

    @cached_property
    def debug(self) -> Debug:
        """Its build ID, and where its debugging information is."""
        return self._read(_debug)

    @cached_property
    def minimum_os(self) -> str | None:
        """The oldest kernel that its ABI tag names, such as ``3.2.0``."""
        tag = self.abi_tag
        return tag[1] if tag else None

    @cached_property
    def go(self) -> GoBuild | None:
        """How Go built it."""
        return self._read(_go)

    @cached_property
    def compilers(self) -> tuple[str, ...]:
        """What compilers wrote into ``.comment``."""
        return self._read(sections.compilers)

    # ---- what a resolver asks for --------------------------------------------------

    @cached_property
    def definitions(self) -> dict[tuple[str, str | None], bool]:
        """What can be found here: (name, version) -> whether it is the name's default.

        The version is None for a symbol without one. An old version, ``name@version``, is
        no default: only a caller that names the version gets it.
        """
        found = self._read(symbols.exports)
        return {(export.name, export.version): not export.hidden for export in found}

    @cached_property
    def references(self) -> tuple[symbols.Reference, ...]:
        """What the loader looks up elsewhere: symbols that a relocation is about.

        ``imports`` has all that are not defined here, and so more: a symbol that nothing
        refers to is never looked up, and may be missing.
        """
        return self._read(symbols.references)

    @cached_property
    def symbols(self) -> tuple[symbols.Symbol, ...]:
        """All dynamic symbols, with binding, visibility and size."""
        return self._read(symbols.symbols)

    # ---- ELF's own -----------------------------------------------------------------

    @property
    def flags(self) -> frozenset[str]:
        """``NOW``, ``NODEFLIB``, ``STATIC_TLS``, ``ORIGIN``, ``SYMBOLIC``, ``TEXTREL``, ...

        The names of elf.h's ``DF_`` and ``DF_1_`` without these prefixes.
        """
        return facts.flags(self.headers)

    @property
    def hardening(self) -> facts.Hardening:
        """What protects a process against mistakes in the file, and what undoes it."""
        return facts.hardening(self.headers)

    @property
    def initialisers(self) -> facts.Initialisers:
        """What runs when it is loaded and unloaded."""
        return facts.initialisers(self.headers)

    @cached_property
    def abi(self) -> attributes.Abi:
        """The calling convention, as far as the file says it."""
        return self._read(attributes.abi)

    @cached_property
    def abi_tag(self) -> tuple[str, str] | None:
        """The system it is for and the oldest version, such as ``("linux", "3.2.0")``."""
        return self._read(notes.abi_tag)

    @cached_property
    def properties(self) -> notes.Properties:
        """What the CPU must have, and which protections the code is made for."""
        return self._read(notes.properties)

    @cached_property
    def loongarch_world(self) -> facts.World | None:
        """``old`` or ``new``: which of two incompatible systems a LoongArch file is for."""
        return self._read(lambda image: facts.loongarch_world(image, self.abi))

    @cached_property
    def uses_static_tls(self) -> bool:
        """Whether it needs thread-local storage, its own or others', in the static block."""
        return self._read(facts.uses_static_tls)

    @cached_property
    def has_go_runtime(self) -> bool:
        """Whether there is a Go runtime in it, also of a Go too old for build information."""
        return self.go is not None or self._read(_has_go_section)

    @cached_property
    def audit(self) -> tuple[str, ...]:
        """Auditing libraries for it, and for what it needs: DT_AUDIT and DT_DEPAUDIT."""
        return self._read(
            lambda image: tuple(
                text
                for tag in (DT_AUDIT, DT_DEPAUDIT)
                for text in image.texts(tag, "an auditing library")
            )
        )

    @cached_property
    def filters(self) -> tuple[str, ...]:
        """Libraries that its symbols really come from: DT_FILTER."""
        return self._read(lambda image: image.texts(DT_FILTER, "the library of a filter"))

    @cached_property
    def auxiliary(self) -> tuple[str, ...]:
        """Libraries that its symbols come from where these have them: DT_AUXILIARY."""
        return self._read(lambda image: image.texts(DT_AUXILIARY, "the library of a filter"))

    @property
    def has_relr(self) -> bool:
        """Whether it has packed relative relocations, which glibc reads since 2.36."""
        return DT_RELR in self.headers.tags

    @cached_property
    def relocation_counts(self) -> dict[str, int]:
        """How many relocations there are of each type, most frequent first.

        Those that DT_RELR packs are ``RELR``.
        """
        return self._read(relocations.counts)

    def relocations(self) -> Iterator[relocations.Relocation]:
        """Give the relocations one after the other; the file is open until the last."""
        with self.open() as window:
            yield from relocations.relocations(Image(window, self.headers))

    def facts(self) -> dict[str, object]:
        """What only ELF has, as data that ``json.dumps`` can write."""
        return {
            "flags": sorted(self.flags),
            "hardening": self.hardening._asdict(),
            "abi": self.abi._asdict(),
            "properties": {name: list(found) for name, found in self.properties._asdict().items()},
            "initialisers": self.initialisers._asdict(),
            "static_tls": self.uses_static_tls,
            "go_runtime": self.has_go_runtime,
            "relr": self.has_relr,
            "relocations": self.relocation_counts,
            "audit": list(self.audit),
            "filters": list(self.filters),
            "auxiliary": list(self.auxiliary),
            "loongarch_world": self.loongarch_world,
        }


def _debug(image: Image) -> Debug:
    identity = notes.build_id(image)
    return Debug(
        build_id=identity.hex() if identity else None,
        link=sections.debug_link(image),
        stripped=sections.is_stripped(image),
    )


def _go(image: Image) -> GoBuild | None:
    section = sections.named(image, ".go.buildinfo")
    if section:
        return go.build([(section.address, section.size)], image.at)
    if sections.sections(image)[1]:
        return None  # Go's linker always makes the section
    data = (s for s in image.loads if s.flags & (PF_W | PF_X) == PF_W)
    return go.build([(s.address, s.size) for s in data][:1], image.at)


def _has_go_section(image: Image) -> bool:
    return any(map(sections.GO_SECTIONS.__contains__, sections.sections(image)[1]))
