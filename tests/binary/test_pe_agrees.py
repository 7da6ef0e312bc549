"""What we read from PE files is what pefile reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pefile  # type: ignore[import-untyped]
import pytest

from libferry.binary import read

ZLIB = [
    "/usr/i686-w64-mingw32/lib/zlib1.dll",
    "/usr/x86_64-w64-mingw32/lib/zlib1.dll",
]
WINE = Path("/usr/lib/x86_64-linux-gnu/wine")
# Among them: forwards, exports without a name, data, delay-loaded imports, programs
WINE_FILES = [
    f"{cpu}-windows/{name}"
    for cpu in ("i386", "x86_64")
    for name in (
        "advapi32.dll",
        "comctl32.dll",
        "kernel32.dll",
        "msvcrt.dll",
        "notepad.exe",
        "ole32.dll",
        "shlwapi.dll",
        "ucrtbase.dll",
        "winhttp.dll",
        "ws2_32.dll",
    )
]

CPUS = {"IMAGE_FILE_MACHINE_I386": "i386", "IMAGE_FILE_MACHINE_AMD64": "x86_64"}


def files() -> list[Any]:
    wanted = [(Path(path), "libz-mingw-w64") for path in ZLIB]
    wanted += [(WINE / name, "libwine libwine:i386") for name in WINE_FILES]
    return [
        path
        if path.exists()
        else pytest.param(
            path, marks=pytest.mark.skip(reason=f"needs {path}: apt-get install {package}")
        )
        for path, package in wanted
    ]


@pytest.fixture(params=files(), ids=str)
def library(request: pytest.FixtureRequest) -> Path:
    assert isinstance(request.param, Path)
    return request.param


@pytest.fixture
def theirs(library: Path) -> Any:
    with pefile.PE(str(library)) as pe:
        yield pe


def test_header_agrees(library: Path, theirs: Any) -> None:
    binary = read(library)
    assert binary.cpu == CPUS[pefile.MACHINE_TYPE[theirs.FILE_HEADER.Machine]]
    assert binary.bits == (64 if theirs.PE_TYPE == pefile.OPTIONAL_HEADER_MAGIC_PE_PLUS else 32)
    assert binary.kind == ("library" if theirs.is_dll() else "executable")
    assert (binary.format, binary.os, binary.endian) == ("pe", "windows", "little")


def test_imports_agree_and_those_loaded_late_follow(library: Path, theirs: Any) -> None:
    entries = [
        *getattr(theirs, "DIRECTORY_ENTRY_IMPORT", []),
        *getattr(theirs, "DIRECTORY_ENTRY_DELAY_IMPORT", []),
    ]
    names = [entry.dll.decode() for entry in entries]
    assert read(library).needed == tuple(dict.fromkeys(names))


def test_the_libraries_own_name_agrees(library: Path, theirs: Any) -> None:
    directory = getattr(theirs, "DIRECTORY_ENTRY_EXPORT", None)
    assert read(library).soname == (directory.name.decode() if directory else None)


def test_exports_agree(library: Path, theirs: Any) -> None:
    directory = getattr(theirs, "DIRECTORY_ENTRY_EXPORT", None)
    expected = [
        (
            symbol.name.decode() if symbol.name else f"#{symbol.ordinal}",
            symbol.ordinal,
            0 if symbol.forwarder else symbol.address,
            symbol.forwarder.decode() if symbol.forwarder else None,
        )
        for symbol in (directory.symbols if directory else [])
        if symbol.address
    ]
    ours = [(e.name, e.ordinal, e.address, e.forward) for e in read(library).exports]
    assert sorted(ours, key=str) == sorted(expected, key=str)


def test_functions_are_told_from_data_by_the_section(library: Path, theirs: Any) -> None:
    for export in read(library).exports:
        if export.kind != "forward":
            section = theirs.get_section_by_rva(export.address)
            assert (export.kind == "function") == bool(section.IMAGE_SCN_MEM_EXECUTE), export


def test_a_library_built_here_has_its_function_and_its_data(small_pe: Path) -> None:
    kinds = {export.name: export.kind for export in read(small_pe).exports}
    assert kinds == {"answer": "function", "counter": "data", "limit": "data"}
