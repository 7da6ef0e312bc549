"""The plain value that reading a library file gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from libferry.binary.opening import open_window
from libferry.binary.window import Stamp, Window

Format = Literal["elf", "pe", "macho"]
Kind = Literal["library", "executable", "object"]
ExportKind = Literal["function", "data", "tls", "ifunc", "forward"]
Endian = Literal["little", "big"]


@dataclass(frozen=True, slots=True)
class Export:
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


@dataclass(frozen=True)
class Binary:
    """What a library file says of itself.

    Nothing stays open: ``exports`` opens the file again the first time it is
    asked for, and raises ``BadBinary`` if the file has changed meanwhile. An open
    file or a mapping would have to be closed by somebody, and nobody expects that
    of a value.

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
    _list_exports: Callable[[Window], tuple[Export, ...]] = field(repr=False)

    @cached_property
    def exports(self) -> tuple[Export, ...]:
        """What the library offers to others, in the file's order."""
        with open_window(self.path, expect=self._stamp) as window:
            return self._list_exports(window)
