"""Keep a fault as a minidump: the small core file that debuggers for all systems read.

A minidump is Windows' format: a directory of *streams*, each a table about one thing, such
as threads or modules, whose rows point at names and bytes elsewhere in the file. Google's
Breakpad took it to other systems, where it is what crash reporters send, and added what
Windows has not: a module's ELF build ID (``BpEL``) where a PE module has the name of its
PDB, and Linux's own maps.

What is in it is what the fault has: one thread, its registers, its stack, and what was
mapped. It has no heap and no other thread. Read it with LLDB (``lldb -c FILE``), WinDbg or
``minidump-stackwalk``.

Specification: Microsoft, ``minidumpapiset.h``, https://learn.microsoft.com/windows/win32/api/
minidumpapiset/; Breakpad, ``src/google_breakpad/common/minidump_format.h``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from libferry.abi import ABIS
from libferry.binary import pe
from libferry.binary.elf.notes import build_id
from libferry.errors import FerryError, NoDump
from libferry.runtime.fault import Fault, Module
from libferry.unwind.cpus import CPUS
from libferry.unwind.limits import STEPS, SYMBOLS, Budget
from libferry.unwind.minidump_contexts import CONTEXTS, Context
from libferry.unwind.modules import Budgets, CodeFile, Modules, WindowsFile

# minidumpapiset.h, MINIDUMP_HEADER: signature, version, streams, where their directory is,
# checksum, time, flags
_HEADER = Struct("<IIIIIIQ")
_SIGNATURE, _VERSION = 0x504D444D, 0xA793

# MINIDUMP_STREAM_TYPE; the last two are Breakpad's
_THREAD_LIST, _MODULE_LIST, _MEMORY_LIST, _EXCEPTION, _SYSTEM_INFO, _MISC_INFO = 3, 4, 5, 6, 7, 15
_LINUX_PROC_STATUS, _LINUX_MAPS = 0x47670004, 0x47670009

_DIRECTORY = Struct("<III")  # type, size, where
_COUNT = Struct("<I")
_MEMORY = Struct("<QII")  # MINIDUMP_MEMORY_DESCRIPTOR: address, size, where
_LOCATION = Struct("<II")  # MINIDUMP_LOCATION_DESCRIPTOR: size, where
_THREAD = Struct("<IIIIQ")  # id, suspended, class, priority, TEB; then its stack and context
# thread; code, flags, next, address, how many parameters, and those
_EXCEPTION_RECORD = Struct("<IIIIQQII15Q")
_PARAMETERS_AT_MOST = 15
# EXCEPTION_RECORD.ExceptionInformation: EXCEPTION_ACCESS_VIOLATION, EXCEPTION_IN_PAGE_ERROR
_PARAMETERS = {0xC0000005: 2, 0xC0000006: 3}
# MINIDUMP_MODULE: base, size, checksum, time, name; a VS_FIXEDFILEINFO; its CV record
_MODULE = Struct("<QIIII52xIIIIQQ")
# MINIDUMP_SYSTEM_INFO: CPU, level, revision, CPUs, product, version, platform, name, features
_SYSTEM = Struct("<HHHBBIIIIIHH24x")
_MISC = Struct("<IIIIII")  # size, flags, process id, times
_MISC1_PROCESS_ID = 1

_PLATFORM_WINDOWS, _PLATFORM_LINUX = 2, 0x8201  # VER_PLATFORM_WIN32_NT; Breakpad's MD_OS_LINUX
_CV_ELF = (0x4270454C).to_bytes(4, "little")  # Breakpad's MD_CVINFOELF_SIGNATURE, "BpEL"

_NAME_AT_MOST = 4096
_MODULES_AT_MOST = 4096


class _Loaded(NamedTuple):
    """A module of the dump: all mappings of one file."""

    path: str
    start: int
    end: int


class _Dump:
    """The file in the making; all in it is told by its offset, an RVA."""

    def __init__(self, streams: int) -> None:
        self.data = bytearray(_HEADER.size + streams * _DIRECTORY.size)
        self._streams = streams
        self._directory: list[tuple[int, int, int]] = []

    def add(self, raw: bytes) -> int:
        """Put bytes into the file; give where."""
        self.data += bytes(-len(self.data) % 8)
        at = len(self.data)
        self.data += raw
        return at

    def stream(self, kind: int, raw: bytes) -> None:
        """Put a stream into the file and into its directory."""
        self._directory.append((kind, len(raw), self.add(raw)))

    def string(self, text: str) -> int:
        """Put a MINIDUMP_STRING into the file."""
        raw = text[:_NAME_AT_MOST].encode("utf-16-le", "replace")
        return self.add(_COUNT.pack(len(raw)) + raw + b"\0\0")

    def finish(self) -> bytes:
        """The file, now that its directory is known."""
        assert len(self._directory) == self._streams
        _HEADER.pack_into(
            self.data, 0, _SIGNATURE, _VERSION, self._streams, _HEADER.size, 0, int(time.time()), 0
        )
        for number, entry in enumerate(self._directory):
            _DIRECTORY.pack_into(self.data, _HEADER.size + number * _DIRECTORY.size, *entry)
        return bytes(self.data)


def write(path: str | os.PathLike[str], fault: Fault, *, pid: int) -> Path:
    """Write a fault to ``path`` as a minidump.

    Args:
        path: a file that is not there yet. Its owner alone may read it.
        fault: what the worker left behind.
        pid: the worker's process id.

    Raises:
        NoDump: there is no form for this CPU's registers, or the file cannot be written.
    """
    abi = ABIS.get(fault.abi)
    context = CONTEXTS.get(abi.cpu) if abi else None
    if abi is None or context is None:
        raise NoDump(
            f"write a minidump of a worker for {fault.abi}",
            "the format has no registers of that CPU",
            hint=f"it has those of {', '.join(CONTEXTS)}; elsewhere the error's own backtrace, "
            "registers and output say what there is to know",
        )
    raw = _dump(fault, abi.cpu, context, "windows" in abi.os, pid)
    file = Path(path)
    try:
        _create(file, raw)
    except OSError as error:
        raise NoDump(
            f"write the minidump {os.fspath(path)!r}",
            error.strerror or str(error),
            hint="give a file that is not there yet, in a folder that you may write to",
        ) from error
    return file


def _create(file: Path, raw: bytes) -> None:
    """A new file with that in it: whole, or not at all."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC  # follows no link, either
    descriptor = os.open(file, flags, 0o600)
    try:
        with open(descriptor, "wb") as opened:
            opened.write(raw)
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def _dump(fault: Fault, cpu: str, context: Context, windows: bool, pid: int) -> bytes:
    thread = fault.thread or pid
    dump = _Dump(6 if windows else 8)
    registers = context.pack(fault.registers, fault.program_counter)
    registers_at = dump.add(registers)
    stack = _MEMORY.pack(fault.stack_base, len(fault.stack), dump.add(fault.stack))
    where = _LOCATION.pack(len(registers), registers_at)

    dump.stream(_SYSTEM_INFO, _system(dump, context, windows))
    dump.stream(_MISC_INFO, _MISC.pack(_MISC.size, _MISC1_PROCESS_ID, pid, 0, 0, 0))
    dump.stream(_THREAD_LIST, _COUNT.pack(1) + _THREAD.pack(thread, 0, 0, 0, 0) + stack + where)
    dump.stream(_EXCEPTION, _exception(fault, thread, windows) + where)
    dump.stream(_MEMORY_LIST, _COUNT.pack(1) + stack)
    dump.stream(_MODULE_LIST, _modules(dump, fault, cpu))
    if not windows:
        dump.stream(_LINUX_MAPS, _maps(fault.modules))
        dump.stream(_LINUX_PROC_STATUS, f"Pid:\t{pid}\nTgid:\t{pid}\n".encode())
    return dump.finish()


def _system(dump: _Dump, context: Context, windows: bool) -> bytes:
    platform = _PLATFORM_WINDOWS if windows else _PLATFORM_LINUX
    name = dump.string("" if windows else "Linux")
    major = 10 if windows else 0
    return _SYSTEM.pack(context.architecture, 0, 0, 1, 0, major, 0, 0, platform, name, 0, 0)


def _exception(fault: Fault, thread: int, windows: bool) -> bytes:
    """Windows says where it happened; Breakpad, which address was the trouble."""
    at_address = fault.address if not windows else None
    address = fault.program_counter if at_address is None else at_address
    count = _PARAMETERS.get(fault.code, 0) if windows else 0
    parameters = (*fault.parameters[:count], *(0,) * _PARAMETERS_AT_MOST)[:_PARAMETERS_AT_MOST]
    flags = 0 if windows else fault.detail & 0xFFFFFFFF
    code = fault.code & 0xFFFFFFFF
    return _EXCEPTION_RECORD.pack(thread, 0, code, flags, 0, address, count, 0, *parameters)


def _modules(dump: _Dump, fault: Fault, cpu: str) -> bytes:
    rows = []
    with ExitStack() as opened:
        budgets = Budgets(Budget(STEPS), Budget(SYMBOLS))
        modules = Modules(fault, CPUS[cpu], opened, budgets)
        for path, start, end in _files(fault.modules):
            file = modules.file(path)
            time_stamp, identity = _identity(file)
            identity_at = dump.add(identity) if identity else 0
            rows.append(
                _MODULE.pack(
                    start,
                    min(end - start, 0xFFFFFFFF),
                    0,
                    time_stamp,
                    dump.string(path),
                    len(identity),
                    identity_at,
                    *(0, 0, 0, 0),
                )
            )
    return _COUNT.pack(len(rows)) + b"".join(rows)


def _identity(file: CodeFile | WindowsFile | None) -> tuple[int, bytes]:
    """By what a symbol server knows a file: its time stamp (PE), and its CV record."""
    try:
        if isinstance(file, CodeFile):
            found = build_id(file.image)
            return 0, _CV_ELF + found if found else b""
        if isinstance(file, WindowsFile):
            image = pe.Image(file.window)
            return image.time_stamp, pe.code_view(image) or b""
    except FerryError:
        pass
    return 0, b""


def _files(modules: Sequence[Module]) -> list[_Loaded]:
    """What is mapped of files, in the order of the maps; ``[stack]`` and the like is none."""
    found: dict[str, _Loaded] = {}
    for module in modules:
        if not module.path or module.path.startswith("[") or module.end <= module.start:
            continue
        before = found.get(module.path, _Loaded(module.path, module.start, module.end))
        start, end = min(before.start, module.start), max(before.end, module.end)
        found[module.path] = _Loaded(module.path, start, end)
    return list(found.values())[:_MODULES_AT_MOST]


def _maps(modules: Sequence[Module]) -> bytes:
    """As ``/proc/PID/maps``, of which a fault keeps whether a mapping can be executed."""
    lines = (
        f"{m.start:x}-{m.end:x} r-{'x' if m.executable else '-'}p {m.offset:08x} 00:00 0 {m.path}\n"
        for m in modules
    )
    return "".join(lines).encode("utf-8", "backslashreplace")
