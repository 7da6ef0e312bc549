"""What a backtrace shows, and from what it is made where tables are missing."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pefile  # type: ignore[import-untyped]
import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from libferry.build import compile_library
from libferry.runtime import wine
from libferry.runtime.fault import Fault, Module
from libferry.unwind import Frame, backtrace
from libferry.unwind.frame_tables import PT_GNU_EH_FRAME
from tests.unwind.crashes import built, crashed, on

# deep.c, from the function that crashes outwards
CHAIN = (
    *("leaf", "write_nowhere", "never_returns", "ends_with_a_call", "many_registers"),
    *("with_alloca", "variadic", "large_frame", "floating", "deep", "middle", "main"),
)
X86_64 = on("x86_64-sysv")
NO_TABLES = ("-O2", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables")
FRAME_POINTERS = (*NO_TABLES, "-g0", "-fno-omit-frame-pointer", "-mno-omit-leaf-frame-pointer")


def functions(fault: Fault) -> tuple[str | None, ...]:
    return tuple(frame.symbol for frame in backtrace(fault))


def elsewhere(fault: Fault, file: Path, instead: str) -> Fault:
    """The fault, with a mapped file under another path."""
    modules = tuple(
        module._replace(path=instead) if module.path == str(file) else module
        for module in fault.modules
    )
    assert modules != fault.modules
    return replace(fault, modules=modules)


def test_a_frame_is_written_as_module_offset_and_function() -> None:
    frame = Frame(0x7F1234, "/opt/a/libfoo.so", 0x1234, "name", 0x10)
    assert str(frame) == "libfoo.so+0x1234 (name+0x10)"
    assert str(replace(frame, symbol=None)) == "libfoo.so+0x1234"
    assert str(replace(frame, module=None)) == "0x7f1234"
    assert str(replace(frame, module="C:\\windows\\foo.dll")) == "foo.dll+0x1234 (name+0x10)"


def test_names_out_of_a_file_do_not_command_the_terminal() -> None:
    frame = Frame(1, "/tmp/\x1b[2Jlib.so", 1, "a\nb\x9b" + "c" * 10_000, 0)
    assert "\x1b" not in str(frame)
    assert "\n" not in str(frame)
    assert len(str(frame)) < 1200


@pytest.mark.parametrize("abi", on())
def test_code_with_debug_frame_only_is_unwound_by_that(abi: str) -> None:
    options = (*NO_TABLES, "-fomit-frame-pointer", "-DRETURNS")
    assert functions(crashed(abi, "nowhere", *options).fault)[:12] == CHAIN


@pytest.mark.parametrize("abi", on())
def test_code_without_tables_is_unwound_by_its_frame_pointers(abi: str) -> None:
    assert functions(crashed(abi, "nowhere", *FRAME_POINTERS).fault)[:12] == CHAIN


@pytest.mark.parametrize("abi", on("arm-hardfloat"))
def test_thumb_code_keeps_its_frame_pointer_in_another_register(abi: str) -> None:
    options = (*FRAME_POINTERS, "-mthumb")
    assert functions(crashed(abi, "nowhere", *options).fault)[:12] == CHAIN


@pytest.mark.parametrize("abi", on("x86_64-sysv", "aarch64-aapcs64"))
def test_without_an_index_the_tables_are_read_from_front_to_back(abi: str, tmp_path: Path) -> None:
    library = built(abi, "-O2").parent / "libdeep.so"
    with open(library, "rb") as file:
        elf = ELFFile(file)
        number, _ = next(
            (number, segment)
            for number, segment in enumerate(elf.iter_segments())
            if segment.header.p_type == "PT_GNU_EH_FRAME"
        )
        at = elf["e_phoff"] + number * elf["e_phentsize"]
    raw = bytearray(library.read_bytes())
    assert raw[at : at + 4] == PT_GNU_EH_FRAME.to_bytes(4, "little")
    raw[at : at + 4] = bytes(4)  # PT_NULL
    (tmp_path / "libdeep.so").write_bytes(raw)
    fault = elsewhere(crashed(abi, "nowhere", "-O2").fault, library, f"{tmp_path}/libdeep.so")
    assert functions(fault)[:12] == CHAIN


@pytest.mark.parametrize("abi", on())
def test_a_call_through_a_null_pointer_has_a_caller(abi: str) -> None:
    frames = backtrace(crashed(abi, "null", "-O2").fault)
    assert frames[0] == Frame(0, None, 0, None, 0)
    assert tuple(f.symbol for f in frames)[1:12] == ("call_nothing", *CHAIN[2:])


@pytest.mark.parametrize("abi", on())
def test_what_a_signal_interrupted_is_shown_behind_its_handler(abi: str) -> None:
    names = functions(crashed(abi, "signal", "-O2").fault)
    assert names[:3] == ("leaf", "write_nowhere", "handler")
    at = names.index("kill")
    assert names[at : at + 13] == ("kill", "from_a_signal", "handle_it", *CHAIN[2:])


@pytest.mark.parametrize("abi", on())
def test_a_crash_in_a_leaf_function_of_the_c_library_leads_to_its_caller(abi: str) -> None:
    names = functions(crashed(abi, "strlen", "-O2").fault)
    assert names[1:12] == ("in_strlen", *CHAIN[2:])


@pytest.mark.parametrize("abi", X86_64)
def test_a_call_at_a_functions_end_belongs_to_that_function(abi: str) -> None:
    fault = crashed(abi, "nowhere", "-O2").fault
    (frame,) = (f for f in backtrace(fault) if f.symbol == "ends_with_a_call")
    with open(frame.module or "", "rb") as file:
        symbols = ELFFile(file).get_section_by_name(".symtab")
        assert isinstance(symbols, SymbolTableSection)
        symbol = (symbols.get_symbol_by_name("ends_with_a_call") or [])[0]
    assert frame.symbol_offset == symbol["st_size"]
    assert frame.offset == symbol["st_value"] + symbol["st_size"]


@pytest.mark.parametrize("abi", X86_64)
def test_no_more_frames_than_asked_for(abi: str) -> None:
    fault = crashed(abi, "nowhere", "-O2").fault
    assert backtrace(fault, 5) == backtrace(fault)[:5]


@pytest.mark.parametrize("abi", X86_64)
def test_frames_of_a_file_that_is_gone_have_its_name_and_their_offset(
    abi: str, tmp_path: Path
) -> None:
    fault = crashed(abi, "nowhere", *FRAME_POINTERS).fault
    library = built(abi, *FRAME_POINTERS).parent / "libdeep.so"
    with_file, without = (
        backtrace(fault),
        backtrace(elsewhere(fault, library, f"{tmp_path}/libdeep.so (deleted)")),
    )
    assert [f.address for f in without] == [f.address for f in with_file]
    first = next(m for m in fault.modules if m.path == str(library))
    assert str(without[0]) == f"libdeep.so+{without[0].address - first.start:#x}"


@pytest.mark.parametrize("abi", X86_64)
def test_a_file_that_is_no_longer_a_library_costs_its_names_only(abi: str, tmp_path: Path) -> None:
    fault = crashed(abi, "nowhere", *FRAME_POINTERS).fault
    library = built(abi, *FRAME_POINTERS).parent / "libdeep.so"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("not a library")
    (tmp_path / "cut").write_bytes(library.read_bytes()[:100])
    for name in ("pipe", "text", "cut", "", "text/x", "\0"):
        frames = backtrace(elsewhere(fault, library, f"{tmp_path}/{name}"))
        assert frames[0].symbol is None
        assert frames[11].symbol == "main"


@pytest.mark.parametrize("abi", X86_64)
def test_the_workers_own_frames_are_left_out(abi: str, tmp_path: Path) -> None:
    fault = crashed(abi, "nowhere", "-O2").fault
    program = built(abi, "-O2")
    worker = tmp_path / "worker-x86_64-sysv"
    shutil.copyfile(program, worker)
    fault = elsewhere(fault, program, str(worker))
    assert tuple(f.symbol for f in backtrace(fault)) == CHAIN[:10]
    assert tuple(f.symbol for f in backtrace(fault, worker=True))[:12] == CHAIN


@pytest.mark.parametrize("abi", X86_64)
def test_a_crash_in_the_worker_itself_shows_the_worker(abi: str, tmp_path: Path) -> None:
    fault = crashed(abi, "nowhere", "-O2").fault
    library = built(abi, "-O2").parent / "libdeep.so"
    worker = tmp_path / "worker-x86_64-sysv"
    shutil.copyfile(library, worker)
    assert functions(elsewhere(fault, library, str(worker)))[:12] == CHAIN


def windows_fault(path: str, *addresses: int) -> Fault:
    """A fault in a DLL at 0x180000000; the first address is where it happened."""
    return Fault(
        abi="x86_64-windows",
        code=0xC0000005,
        address=0,
        program_counter=addresses[0],
        registers={},
        stack_base=0,
        stack=b"",
        modules=(Module(0x180000000, 0x180010000, 0, path, True),),
        frames=addresses[1:],
    )


def test_frames_of_windows_are_those_that_the_worker_found() -> None:
    at = 0x180001010
    fault = windows_fault("Z:\\no\\lib.dll", at, at, 0x180002020, 0x42)
    assert [str(f) for f in backtrace(fault)] == ["lib.dll+0x1010", "lib.dll+0x2020", "0x42"]


DLL = """
#define FRAME __attribute__((noinline))
#define EXPORT __declspec(dllexport) FRAME
EXPORT int one(int x) { return x + 1; }
EXPORT int two(int x) { return x * one(x); }
FRAME static int own(int x) { return two(x) ^ two(x + 1); }
EXPORT int zoo(int x) { return own(x) + own(x + 2); }
"""


@pytest.mark.needs("ziglang", install="pip install ziglang")
def test_functions_of_a_dll_are_those_that_it_exports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = compile_library(DLL, "x86_64-windows", tmp_path, "lib")
    with pefile.PE(str(library)) as pe:
        at = {e.name.decode(): e.address for e in pe.DIRECTORY_ENTRY_EXPORT.symbols}
    # Wine's drives are links in its prefix
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    drives = wine.prefix() / "dosdevices"
    drives.mkdir(parents=True)
    (drives / "z:").symlink_to("/")
    path = "Z:" + str(library).replace("/", "\\")
    pc, back = 0x180000000 + at["one"] + 1, 0x180000000 + at["two"] + 5
    first, second = backtrace(windows_fault(path, pc, back))
    assert str(first) == f"lib.dll+{at['one'] + 1:#x} (one+0x1)"
    assert str(second) == f"lib.dll+{at['two'] + 5:#x} (two+0x5)"


@pytest.mark.needs("ziglang", install="pip install ziglang")
def test_a_static_function_of_a_dll_does_not_pass_for_the_one_before(tmp_path: Path) -> None:
    library = compile_library(DLL, "x86_64-windows", tmp_path, "lib")
    with pefile.PE(str(library)) as pe:
        exported = {e.address for e in pe.DIRECTORY_ENTRY_EXPORT.symbols}
        begins = {f.struct.BeginAddress for f in pe.DIRECTORY_ENTRY_EXCEPTION} - exported
    assert begins
    for begin in begins:
        (frame,) = backtrace(windows_fault(str(library), 0x180000000 + begin + 1))
        assert frame.symbol is None


@pytest.mark.parametrize("abi", on("x86_64-sysv", "arm-hardfloat"))
def test_without_section_headers_the_exported_functions_have_names(
    abi: str, tmp_path: Path
) -> None:
    library = built(abi, "-O2", "-s").parent / "libdeep.so"
    raw = bytearray(library.read_bytes())
    bits = 64 if raw[4] == 2 else 32
    at, size = (0x28, 8) if bits == 64 else (0x20, 4)  # e_shoff
    raw[at : at + size] = (len(raw) + 1).to_bytes(size, "little")
    (tmp_path / "libdeep.so").write_bytes(raw)
    fault = elsewhere(crashed(abi, "nowhere", "-O2", "-s").fault, library, f"{tmp_path}/libdeep.so")
    names = functions(fault)
    assert names[:4] == (None, None, None, "ends_with_a_call")  # the first three are static
    assert names[4:10] == CHAIN[4:10]


@pytest.mark.parametrize("abi", on("x86_64-sysv", "aarch64-aapcs64"))
def test_twenty_frames_take_milliseconds(abi: str) -> None:
    fault = crashed(abi, "qsort", "-O2").fault
    begin = time.perf_counter()
    for _ in range(10):
        assert len(backtrace(fault)) > 20
    assert time.perf_counter() - begin < 10 * 0.5  # 10 * 0.006 on a laptop
