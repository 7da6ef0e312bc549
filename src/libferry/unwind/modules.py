"""The files that were mapped into a worker: what lies at an address, in which file.

A mapping says "these addresses are that file from this offset on". Call frames and symbols
count in the addresses that the linker gave out instead. The file's program headers lead
from one to the other. They also say what is code, and are more to be trusted in that than
the mapping: under qemu-user the maps are those of the host, where code is mere data, and
one line may cover several segments.

Paths come from the worker. A file that is gone, or is no file, or no library for this CPU,
costs its symbols and nothing else.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import cached_property
from typing import NamedTuple

from libferry.binary import pe
from libferry.binary.addresses import AddressMap
from libferry.binary.elf import MAGIC, PF_X, Image
from libferry.binary.opening import open_window
from libferry.binary.window import Window
from libferry.errors import FerryError
from libferry.runtime import wine
from libferry.runtime.fault import Fault, Module
from libferry.unwind import symbols
from libferry.unwind.arm_tables import ArmTables
from libferry.unwind.cpus import Cpu
from libferry.unwind.frame_tables import FrameTables
from libferry.unwind.limits import FILES_AT_MOST, Budget
from libferry.unwind.symbols import Symbol, SymbolTable

DELETED = " (deleted)"
_SYSTEM = "windows/system32/"


class Budgets(NamedTuple):
    """What one backtrace may spend; see ``limits``."""

    steps: Budget
    symbols: Budget


class CodeFile:
    """An ELF file, as an unwinder uses it."""

    def __init__(self, image: Image, cpu: Cpu, budgets: Budgets) -> None:
        self.image = image
        self._cpu = cpu
        self._budgets = budgets
        self._code = AddressMap(
            (s.offset, s.file_size, s.address) for s in image.loads if s.flags & PF_X
        )
        self._loaded = AddressMap((s.offset, s.file_size, s.address) for s in image.loads)

    def address(self, offset: int) -> tuple[int, bool] | None:
        """The linker's address of an offset in the file, and whether code is there."""
        for parts, code in ((self._code, True), (self._loaded, False)):
            found = parts.find(offset)
            if found is not None:
                return found[1] + found[0], code
        return None

    @cached_property
    def frames(self) -> FrameTables:
        """Its call frame information."""
        return FrameTables(self.image, self._budgets.steps)

    @cached_property
    def arm(self) -> ArmTables:
        """Its unwinding tables, if it is one of 32-bit Arm."""
        return ArmTables(self.image)

    @cached_property
    def symbols(self) -> SymbolTable:
        """Its functions."""
        return symbols.of_elf(self.image, self._cpu.code_mask, self._budgets.symbols)


class WindowsFile:
    """A DLL or a program: its worker has unwound the stack, and only names are wanted."""

    def __init__(self, window: Window) -> None:
        self.window = window

    def address(self, offset: int) -> tuple[int, bool] | None:
        """The RVA of an offset from where the file is mapped, as a whole."""
        return offset, True

    @cached_property
    def symbols(self) -> SymbolTable:
        """Its exported functions."""
        return symbols.of_pe(self.window)


class Place(NamedTuple):
    """What is at an address: its mapping, its file if that can be read, its address there."""

    module: Module
    file: CodeFile | WindowsFile | None
    offset: int
    code: bool

    def symbol(self) -> Symbol | None:
        """The function there."""
        return self.file.symbols.find(self.offset) if self.file else None


class Modules:
    """All mappings of a worker; ``opened`` closes the files."""

    def __init__(self, fault: Fault, cpu: Cpu, opened: ExitStack, budgets: Budgets) -> None:
        modules = fault.modules
        self._copies = {path: sealed.place for path, sealed in fault.copies.items()}
        self._cpu = cpu
        self._opened = opened
        self._budgets = budgets
        self._map = AddressMap((m.start, m.end - m.start, m) for m in modules)
        self._files: dict[str, CodeFile | WindowsFile | None] = {}
        self._bases: dict[str, int] = {}
        for module in modules:
            base = module.start - module.offset
            self._bases[module.path] = min(base, self._bases.get(module.path, base))

    def find(self, address: int) -> Place | None:
        """What is at an address; None if nothing is mapped there."""
        found = self._map.find(address)
        if found is None:
            return None
        into, module = found
        file = self.file(module.path)
        if file is not None:
            place = file.address(module.offset + into)
            if place is not None:
                return Place(module, file, *place)
        return Place(module, None, address - self._bases[module.path], module.executable)

    def is_code(self, address: int) -> bool:
        """Whether what is at an address can be executed."""
        place = self.find(address)
        return place is not None and place.code

    def file(self, path: str) -> CodeFile | WindowsFile | None:
        """The file of a mapping, opened once; None if it cannot be read."""
        if path not in self._files:
            enough = len(self._files) >= FILES_AT_MOST or self._budgets.steps.late
            self._files[path] = None if enough else self._open(path)
        return self._files[path]

    def _open(self, path: str) -> CodeFile | WindowsFile | None:
        path = self._copies.get(path) or host_path(path, self._cpu.word)
        if not path.startswith("/") or path.endswith(DELETED):
            return None
        try:
            # Asked first: to say in words why a file is missing takes a look at its folder.
            if not os.path.isfile(path):
                return None
            window = self._opened.enter_context(open_window(path))
            magic = window.bytes(0, min(len(MAGIC), window.size), "the first bytes")
            if magic.startswith(pe.MAGIC):
                return WindowsFile(window)
            image = Image(window) if magic == MAGIC else None
            if image is None or image.machine != self._cpu.machine:
                return None
            if image.layout.bits != 8 * self._cpu.word or image.layout.endian != "little":
                return None
            return CodeFile(image, self._cpu, self._budgets)
        except (FerryError, OSError, ValueError):
            return None


def host_path(path: str, word: int) -> str:
    """Where this system has what Wine calls ``Z:\\folder\\file``; other paths as they are.

    What a 32-bit program calls system32 is another folder; Microsoft Learn, "File System
    Redirector".
    """
    if not (path[:1].isalpha() and path[1:3] == ":\\"):
        return path
    drive, folders = path[:2].lower(), path[3:].replace("\\", "/")
    if word == 4 and drive == "c:" and folders.lower().startswith(_SYSTEM):
        folders = f"windows/syswow64/{folders[len(_SYSTEM) :]}"
    return str(wine.prefix() / "dosdevices" / drive / folders)
