"""What was loaded together with a library, and whether that was expected.

For Linux the kernel says what is mapped (``guard/files.py``), not the worker. Under Wine it
cannot: a DLL's sections are often read and not mapped. There the list is the loader's own, asked
for through the session, and so the *worker's word*: a hostile one may leave something out.
"""

from __future__ import annotations

import os
from pathlib import Path

from libferry.abi import ABIS
from libferry.binary import Binary
from libferry.contract import declare
from libferry.errors import UnexpectedCode
from libferry.guard.files import Identity, LoadedFile, Mapping, code_of, mappings, of_descriptor
from libferry.guard.sealed import Sealed, can_be_sealed
from libferry.guard.snapshot import Expected, Loaded
from libferry.runtime import wine
from libferry.runtime.namespaces import Namespace, full, is_full
from libferry.runtime.services import Services
from libferry.runtime.worker import LIBRARY_PLACE, Worker

MODULES = 4096  # of a Windows process
NAME_UNITS = 32768  # of a path there, with its end

# Microsoft Learn, psapi.h; they are kernel32's under these names since Windows 7
_PSAPI = """
int {call}K32EnumProcessModules(intptr_t process, void *modules, uint32_t size, void *needed);
uint32_t {call}K32GetModuleFileNameExW(
    intptr_t process, uintptr_t module, void *name, uint32_t units);
"""
THIS_PROCESS = -1  # what GetCurrentProcess gives


def verified(binary: Binary, expected: Expected | None) -> Sealed | None:
    """The copy of a library that is to be opened instead of its file, if its digest is given.

    It is made once: workers that begin again are given the same, from their beginning.

    Raises:
        UnexpectedCode: its bytes are others.
    """
    wanted = expected.digest_for(binary.path) if expected else None
    if not wanted or not can_be_sealed(binary):
        return None
    sealed = Sealed(binary.path)
    if sealed.digest != wanted:
        sealed.close()
        raise _refused(binary, [f"{binary.path}: is {sealed.digest} instead of {wanted}"])
    return sealed


def _refused(binary: Binary, differences: list[str]) -> UnexpectedCode:
    return UnexpectedCode(
        f"load {binary.path.name}",
        "; ".join(differences),
        hint="if that is right, record it anew: lib.loaded.write(path) after a load without "
        "expect=; if not, somebody has changed it, or a preload brings it",
    )


class Contents:
    """What is in the process that a library lives in, and what is expected there.

    Attributes:
        worker: the process, or None for this one.
        namespace: that part of this process, or None.
        sealed: the copy that is opened instead of the file, or None.
    """

    def __init__(
        self,
        binary: Binary,
        worker: Worker | None,
        namespace: Namespace | None = None,
        expected: Expected | None = None,
        sealed: Sealed | None = None,
    ) -> None:
        self.worker = worker
        self.namespace = namespace
        self.sealed = sealed
        self._binary = binary
        self._expected = expected
        self._before: set[Identity] = set()
        if expected is not None and worker is None:
            self._before = {line.identity for line in mappings(os.getpid())}

    @property
    def pid(self) -> int:
        """The process."""
        return self.worker.pid if self.worker else os.getpid()

    @property
    def windows(self) -> bool:
        """Whether it is a Windows process."""
        return self.worker is not None and self.worker.runner.windows

    def target(self) -> str:
        """What its loader is to open."""
        path = self._binary.path.absolute()
        if self.windows:
            return path.name if wine.is_system(path) else wine.windows_path(path)
        if self.sealed is None:
            return str(path)
        return LIBRARY_PLACE if self.worker else self.sealed.place

    def open(self, services: Services) -> tuple[int, str]:
        """Open the library: its handle, and the loader's words if that is 0.

        Raises:
            NamespacesFull: this process has no room for it.
        """
        if self.namespace is None:
            return services.open(self.target())
        handle, message = self.namespace.open(self.target())
        if not handle and is_full(message):
            raise full(self._binary.path, message)
        return handle, message

    def files(self, services: Services, abi: str) -> Loaded:
        """All code in the process."""
        if self.windows:
            return Loaded(_windows_modules(services, abi, self.pid))
        return Loaded(self._mapped().values())

    def check(self, services: Services, abi: str) -> None:
        """Compare what came with the library with what was expected.

        Raises:
            UnexpectedCode: there is something else.
        """
        if self._expected is None or (self._expected.library and self.sealed):
            return
        if self.windows:
            loaded: list[LoadedFile] = list(self.files(services, abi))
        else:
            mapped = self._mapped()
            loaded = [mapped[one] for one in mapped if one not in self._before]
        wanted = self._expected.digest_for(self._binary.path)
        there = os.path.realpath(self._binary.path)
        own = {str(path) for path in self._own()}
        found = [file for file in loaded if os.path.realpath(file.path) == there]
        right = [file for file in found if file.digest == wanted]
        differences = self._expected.differences(
            file for file in loaded if file not in right and os.path.realpath(file.path) not in own
        )
        if wanted and not right and not differences:
            is_what = found[0].digest or found[0].problem if found else "not there"
            differences = [f"{self._binary.path}: is {is_what} instead of {wanted}"]
        if differences:
            raise _refused(self._binary, differences)

    def _own(self) -> list[Path]:
        """The worker's program, and the emulator that runs it."""
        words = self.worker.runner.command if self.worker else ()
        return [Path(word).resolve() for word in words if word.startswith("/")]

    def _mapped(self) -> dict[Identity, LoadedFile]:
        emulated = self.worker is not None and self.worker.runner.through.startswith("qemu")
        return code_of(self.pid, emulated=emulated, known=self._known)

    def _known(self, mapping: Mapping) -> LoadedFile | None:
        if self.sealed is None or mapping.identity != self.sealed.identity:
            return None
        return of_descriptor(self.sealed.descriptor, os.path.realpath(self.sealed.path))

    def close(self) -> None:
        """The library is closed."""
        if self.namespace:
            self.namespace.leave()
        self.sealed = None  # others may have it: a worker that begins, the error of a crash


def _windows_modules(services: Services, abi: str, pid: int) -> list[LoadedFile]:
    """What the loader of a Windows process lists."""
    kernel32, message = services.open("kernel32.dll")
    if not kernel32:
        raise UnexpectedCode("list what was loaded", message, hint="repair the Wine installation")
    call = "__stdcall " if ABIS[abi].cpu == "i386" else ""
    listing, naming = (
        services.reach(services.symbol(kernel32, name), signature)
        for name, signature in declare(_PSAPI.format(call=call), abi).functions.items()
    )
    width = ABIS[abi].pointer_size
    modules, needed = bytearray(MODULES * width), bytearray(4)
    listing(THIS_PROCESS, modules, len(modules), needed)
    size = min(int.from_bytes(needed, "little"), len(modules))
    mapped: dict[str, str] = {}
    for line in mappings(pid):  # a 32-bit process has 64-bit modules of the same names, too
        key = Path(line.path).name.lower()
        if key not in mapped or f"{ABIS[abi].cpu}-windows" in line.path:
            mapped[key] = line.path
    found = []
    for at in range(0, size, width):
        name = bytearray(2 * NAME_UNITS)
        handle = int.from_bytes(modules[at : at + width], "little")
        units = min(naming(THIS_PROCESS, handle, name, NAME_UNITS), NAME_UNITS)
        path = name[: 2 * units].decode("utf-16-le", "replace")
        found.append(_file_at(mapped.get(path.rpartition("\\")[2].lower()), path))
    return found


def _file_at(mapped: str | None, windows_path: str) -> LoadedFile:
    """The file that a module was loaded from: what is mapped of that name, or its path."""
    path = mapped or str(wine.linux_path(windows_path))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return LoadedFile(windows_path, None, None, 0, os.strerror(error.errno or 0).lower())
    try:
        return of_descriptor(descriptor, path)
    finally:
        os.close(descriptor)
