"""A minidump, read back by another implementation of the format."""

from __future__ import annotations

import importlib.util
import logging
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pefile  # type: ignore[import-untyped]
import pytest
from elftools.elf.elffile import ELFFile
from minidump.minidumpfile import MinidumpFile

from libferry.errors import NoDump
from libferry.runtime.fault import Fault, Module
from libferry.unwind import minidump
from libferry.unwind.cpus import CPUS
from tests.unwind.crashes import built, crashed, on

PID, THREAD = 4711, 4712
MODULE_LIST = 4
LINUX_MAPS = 0x47670009
WRITTEN = ("x86_64-sysv", "i386-sysv", "aarch64-aapcs64", "arm-hardfloat")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The reader looks for a Windows PEB and reports with a traceback that there is none."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


def dumped(fault: Fault, folder: Path) -> Any:
    path = minidump.write(folder / "it.dmp", replace(fault, thread=THREAD), pid=PID)
    return MinidumpFile.parse(str(path))


def stream(path: Path, wanted: int) -> bytes:
    """A stream's bytes, by minidumpapiset.h: MINIDUMP_HEADER and MINIDUMP_DIRECTORY."""
    raw = path.read_bytes()
    count, at = struct.unpack_from("<II", raw, 8)
    for number in range(count):
        kind, size, where = struct.unpack_from("<III", raw, at + 12 * number)
        if kind == wanted:
            return raw[where : where + size]
    raise AssertionError(f"no stream {wanted:#x}")


def identities(path: Path) -> list[bytes]:
    """The CV records of the modules, by MINIDUMP_MODULE."""
    raw = path.read_bytes()
    modules = stream(path, MODULE_LIST)
    found = []
    for number in range(struct.unpack_from("<I", modules)[0]):
        size, where = struct.unpack_from("<II", modules, 4 + 108 * number + 76)
        found.append(raw[where : where + size])
    return found


@pytest.mark.parametrize("abi", on(*WRITTEN))
def test_thread_exception_and_stack_are_those_of_the_fault(abi: str, tmp_path: Path) -> None:
    fault = crashed(abi, "nowhere", "-O2").fault
    dump = dumped(fault, tmp_path)
    cpus = {"x86_64": "AMD64", "i386": "INTEL", "aarch64": "AARCH64", "arm": "ARM"}
    assert dump.sysinfo.ProcessorArchitecture.name == cpus[abi.split("-")[0]]
    assert dump.sysinfo.PlatformId.name == "VER_PLATFORM_CRASHPAD_LINUX"
    assert dump.misc_info.ProcessId == PID
    (thread,) = dump.threads.threads
    assert thread.ThreadId == THREAD
    (exception,) = dump.exception.exception_records
    assert exception.ThreadId == THREAD
    assert exception.ExceptionRecord.ExceptionCode_raw == fault.code
    reader = dump.get_reader()
    assert reader.read(fault.stack_base, len(fault.stack)) == fault.stack


@pytest.mark.parametrize("abi", on("x86_64-sysv", "i386-sysv"))
def test_registers_are_those_of_the_fault(abi: str, tmp_path: Path) -> None:
    fault = crashed(abi, "nowhere", "-O2").fault
    (thread,) = dumped(fault, tmp_path).threads.threads
    names = CPUS[abi.split("-")[0]].names
    for number, value in fault.registers.items():
        assert getattr(thread.ContextObject, names[number].capitalize()) == value
    pc = "Rip" if abi.startswith("x86_64") else "Eip"
    assert getattr(thread.ContextObject, pc) == fault.program_counter


@pytest.mark.parametrize("abi", on(*WRITTEN))
def test_modules_are_the_files_that_were_mapped(abi: str, tmp_path: Path) -> None:
    fault = crashed(abi, "nowhere", "-O2").fault
    modules = dumped(fault, tmp_path).modules.modules
    library = built(abi, "-O2").parent / "libdeep.so"
    (ours,) = (module for module in modules if module.name == str(library))
    mapped = [module for module in fault.modules if module.path == str(library)]
    assert ours.baseaddress == mapped[0].start
    assert ours.endaddress == mapped[-1].end
    assert all(module.name.startswith("/") for module in modules)


@pytest.mark.parametrize("abi", on(*WRITTEN))
def test_a_module_has_its_build_id_as_breakpad_writes_it(abi: str, tmp_path: Path) -> None:
    fault = crashed(abi, "nowhere", "-O2").fault
    dump = dumped(fault, tmp_path)
    expected = []
    for module in dump.modules.modules:
        with open(module.name, "rb") as file:
            section = ELFFile(file).get_section_by_name(".note.gnu.build-id")
            expected.append(b"LEpB" + section.data()[16:] if section is not None else b"")
    assert any(expected)
    assert identities(tmp_path / "it.dmp") == expected


@pytest.mark.parametrize("abi", on("x86_64-sysv"))
def test_the_maps_of_linux_are_there(abi: str, tmp_path: Path) -> None:
    fault = crashed(abi, "nowhere", "-O2").fault
    dumped(fault, tmp_path)
    lines = stream(tmp_path / "it.dmp", LINUX_MAPS).decode().splitlines()
    assert len(lines) == len(fault.modules)
    first = fault.modules[0]
    assert lines[0].startswith(f"{first.start:x}-{first.end:x} r")
    assert lines[0].endswith(first.path)


def windows_fault(path: str) -> Fault:
    return Fault(
        abi="x86_64-windows",
        code=0xC0000005,
        address=0x10,
        program_counter=0x180001010,
        registers={7: 0x5000},
        stack_base=0x5000,
        stack=bytes(64),
        modules=(Module(0x180000000, 0x180010000, 0, path, True),),
        kind="exception",
        parameters=(1, 0x10, 0, 0, 0, 0, 0, 0),
    )


@pytest.mark.needs("pip", install="python -m ensurepip")
def test_a_dll_has_the_name_of_its_pdb(tmp_path: Path) -> None:
    # what pip brings for Windows, compiled by Microsoft's compiler
    pip = importlib.util.find_spec("pip")
    assert pip is not None
    program = Path(str(pip.origin)).parent / "_vendor" / "distlib" / "t64.exe"
    dump = dumped(windows_fault(str(program)), tmp_path)
    (module,) = dump.modules.modules
    (identity,) = identities(tmp_path / "it.dmp")
    with pefile.PE(str(program)) as theirs:
        (entry,) = (d.entry for d in theirs.DIRECTORY_ENTRY_DEBUG if d.struct.Type == 2)
        assert identity[:4] == b"RSDS"
        assert identity[24:].rstrip(b"\0") == entry.PdbFileName.rstrip(b"\0")
        assert module.timestamp == theirs.FILE_HEADER.TimeDateStamp
    (exception,) = dump.exception.exception_records
    assert exception.ExceptionRecord.ExceptionCode.name == "EXCEPTION_ACCESS_VIOLATION"
    assert exception.ExceptionRecord.ExceptionAddress == 0x180001010
    assert exception.ExceptionRecord.ExceptionInformation == [1, 0x10]  # wrote to 0x10
    assert dump.sysinfo.PlatformId.name == "VER_PLATFORM_WIN32_NT"


@pytest.mark.parametrize("abi", ["riscv64-lp64d", "loongarch64-lp64d", "unheard-of"])
def test_a_cpu_that_the_format_has_no_registers_of_is_an_error(abi: str, tmp_path: Path) -> None:
    fault = Fault(abi, 11, None, 0, {}, 0, b"", ())
    with pytest.raises(NoDump, match=r"no registers of that CPU") as caught:
        minidump.write(tmp_path / "it.dmp", fault, pid=PID)
    assert "x86_64" in caught.value.hint


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    fault = Fault("x86_64-sysv", 11, None, 0, {}, 0, b"", ())
    with pytest.raises(NoDump, match=r"No such file or directory"):
        minidump.write(tmp_path / "missing" / "it.dmp", fault, pid=PID)
