"""The plain value that reading a library file gives.

Exports and imports are named tuples, the others dataclasses: a library has thousands of
them, and a frozen dataclass takes six times as long to make.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from libferry.binary.window import Stamp

if TYPE_CHECKING:
    from libferry.binary.view import View

Format = Literal["elf", "pe", "macho"]
Kind = Literal["library", "executable", "object"]
ExportKind = Literal["function", "data", "tls", "ifunc", "forward"]
Endian = Literal["little", "big"]
ImportKind = Literal["function", "data", "tls", "unknown"]
DependencyKind = Literal["needed", "delay", "weak", "reexport", "upward", "lazy"]
TlsModel = Literal["dynamic", "initial-exec"]


class Export(NamedTuple):
    """One name that a library offers.

    Attributes:
        name: the name as ``dlsym`` or ``GetProcAddress`` takes it. A PE export
            without a name is ``#<ordinal>``. Of a Mach-O name, the underscore
            that C compilers put in front, and ``dlsym`` adds again, is left out.
        kind: what the name stands for. ``ifunc`` is a function that chooses its
            implementation when it is bound; ``forward`` is a name for something
            in another library.
        version: the ELF symbol version, or None.
        address: as the file has it, counted from where the library is loaded:
            ELF ``st_value``, PE RVA, Mach-O offset from the header. 0 for a
            forward.
        ordinal: the PE ordinal, or None.
        hidden: whether this is an old ELF version of the symbol (``name@version``,
            not ``name@@version``), which only a caller that asks for it gets.
        forward: where a forward leads, such as ``NTDLL.RtlAllocateHeap``, or None.
    """

    name: str
    kind: ExportKind
    version: str | None
    address: int
    ordinal: int | None
    hidden: bool = False
    forward: str | None = None


class Import(NamedTuple):
    """One name that a library wants from others.

    Attributes:
        name: as ``Export.name``; a PE import by number alone is ``#<ordinal>``.
        kind: what it is used as, where the file says so.
        library: who shall give it, where the file says so: always in PE and in Mach-O with
            two-level namespaces; in ELF only for a symbol with a version.
        version: the ELF symbol version, or None.
        weak: whether the library also loads without it.
        ordinal: the PE ordinal it is asked for by, or None.
        delay: whether it is looked for when it is first used (PE delay import).
    """

    name: str
    kind: ImportKind
    library: str | None
    version: str | None
    weak: bool = False
    ordinal: int | None = None
    delay: bool = False


@dataclass(frozen=True, slots=True)
class VersionNeed:
    """One version of a needed library that must be there: ELF ``vernaux``.

    A weak need is ignored if the version is missing.
    """

    library: str
    version: str
    weak: bool = False


@dataclass(frozen=True, slots=True)
class Dependency:
    """One library that this one asks for.

    Attributes:
        name: as in the file, with ``$ORIGIN``, ``@rpath`` and the like.
        kind: ``needed``, or how it differs: PE ``delay``; Mach-O ``weak`` (may be
            missing), ``reexport``, ``upward``, ``lazy``.
        compatibility: the Mach-O compatibility version that it must have, as (x, y, z).
    """

    name: str
    kind: DependencyKind = "needed"
    compatibility: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the file as it lies in memory: ELF PT_LOAD, PE section, Mach-O segment.

    Addresses are the file's own (PE: RVA), sizes in bytes. ``alignment`` is what the
    segment's address is aligned to when it is loaded.
    """

    name: str
    address: int
    size: int
    offset: int
    file_size: int
    alignment: int
    readable: bool
    writable: bool
    executable: bool


@dataclass(frozen=True, slots=True)
class Tls:
    """Thread-local storage of the library itself: size and alignment in bytes."""

    size: int
    alignment: int
    model: TlsModel


@dataclass(frozen=True, slots=True)
class GoBuild:
    """What ``go version -m`` shows of a file.

    Attributes:
        version: such as ``go1.22.3``.
        path: the main package, or "".
        modules: (path, version) of the main module first, then of what it depends on.
        settings: ``GOOS``, ``CGO_ENABLED``, ``-buildmode`` and the others.
    """

    version: str
    path: str
    modules: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature inside the file; whether it holds is for the room ``trust``.

    Attributes:
        kind: ``authenticode``, ``apple`` (with certificates) or ``ad-hoc``.
        identifier: Apple's signing identifier, or None.
        team: Apple's team identifier, or None.
        entitlements: Apple's entitlements, an XML property list, or None.
        hardened: whether Apple's hardened runtime is asked for.
        library_validation: whether only libraries of the same team may be loaded.
    """

    kind: Literal["authenticode", "apple", "ad-hoc"]
    identifier: str | None = None
    team: str | None = None
    entitlements: str | None = None
    hardened: bool = False
    library_validation: bool = False


@dataclass(frozen=True, slots=True)
class Debug:
    """Where this file's debugging information is.

    Attributes:
        build_id: ELF build id, PE CodeView GUID and age, Mach-O UUID; lower-case hex; or None.
        link: ELF ``.gnu_debuglink`` or PE's path of the PDB, or None.
        stripped: whether the file itself has neither debugging information nor a full
            symbol table.
    """

    build_id: str | None
    link: str | None
    stripped: bool


@dataclass(frozen=True)
class Binary:
    """What a library file says of itself.

    The attributes are read at once. Everything below them is read when it is first
    asked for: the file is opened again then, and ``BadBinary`` raised if it has changed
    meanwhile or is damaged there. Nothing stays open: an open file or a mapping would
    have to be closed by somebody, and nobody expects that of a value.

    Attributes:
        path: the absolute path it was read from.
        format: ``elf``, ``pe`` or ``macho``.
        kind: ``library``, ``executable``, or ``object`` for what is neither
            (relocatable objects, core files).
        cpu: ``x86_64``, ``i386``, ``aarch64``, ``arm``, ``riscv64``, ...; a CPU we
            have no name for is its number, as in ``elf-machine-4711``.
        bits: 32 or 64, the size of a pointer.
        endian: ``little`` or ``big``.
        os: ``linux``, ``windows``, ``macos``, ``freebsd``, ...
        soname: the name the library gives itself: ELF ``DT_SONAME``, the name in
            the PE export directory, Mach-O ``LC_ID_DYLIB``; or None.
        needed: the libraries it asks for, in its own order. For PE, delay-loaded
            ones follow the others.
        rpath: ELF ``DT_RPATH`` or Mach-O ``LC_RPATH`` directories.
        runpath: ELF ``DT_RUNPATH`` directories.
        interpreter: the loader that an executable asks for, or None.
        slices: the CPUs in a Mach-O universal file, in its order. Everything else
            in this Binary is about the first. Empty for all other files.
    """

    path: Path
    format: Format
    kind: Kind
    cpu: str
    bits: Literal[32, 64]
    endian: Endian
    os: str
    soname: str | None
    needed: tuple[str, ...]
    rpath: tuple[str, ...]
    runpath: tuple[str, ...]
    interpreter: str | None
    slices: tuple[str, ...]
    _stamp: Stamp = field(repr=False)
    _make_view: Callable[[Path, Stamp], View] = field(repr=False, compare=False)

    @cached_property
    def view(self) -> View:
        """The format's own view: an ``ElfView``, ``PeView`` or ``MachOView``."""
        return self._make_view(self.path, self._stamp)

    @property
    def exports(self) -> tuple[Export, ...]:
        """What the library offers to others, in the file's order."""
        return self.view.exports

    @property
    def imports(self) -> tuple[Import, ...]:
        """What the library wants from others, in the file's order."""
        return self.view.imports

    @property
    def dependencies(self) -> tuple[Dependency, ...]:
        """``needed`` with how each is needed."""
        return self.view.dependencies

    @property
    def versions_needed(self) -> tuple[VersionNeed, ...]:
        """The symbol versions that needed libraries must have (ELF)."""
        return self.view.versions_needed

    @property
    def versions_given(self) -> tuple[str, ...]:
        """The symbol versions that the library has, without its base version (ELF)."""
        return self.view.versions_given

    @property
    def segments(self) -> tuple[Segment, ...]:
        """What is mapped, in the file's order."""
        return self.view.segments

    @property
    def tls(self) -> Tls | None:
        """Its thread-local storage, if it has any."""
        return self.view.tls

    @property
    def debug(self) -> Debug:
        """Its build id, and where its debugging information is."""
        return self.view.debug

    @property
    def signature(self) -> Signature | None:
        """The signature inside the file, if there is one."""
        return self.view.signature

    @property
    def minimum_os(self) -> str | None:
        """The oldest system it says it is for: ``3.2.0`` (Linux ABI tag), ``6.1``, ``11.0``."""
        return self.view.minimum_os

    @property
    def go(self) -> GoBuild | None:
        """How Go built it, if Go did."""
        return self.view.go

    @property
    def compilers(self) -> tuple[str, ...]:
        """What compilers and linkers wrote of themselves into the file."""
        return self.view.compilers
