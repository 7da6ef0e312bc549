"""What the other tables of PE files say is what LIEF reads in them.

The files are Wine's, built by mingw's GCC, and those of some wheels for Windows, built by
three Microsoft compilers, by GCC and by LLVM, for four CPUs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lief
import pytest

from libferry.binary import Binary, read
from libferry.binary.pe.headers import DLL_CHARACTERISTICS
from libferry.binary.pe.view import PeView

from ..wheels import libraries_of, needs_wheels

PLATFORMS = ("windows-x64", "windows-x86", "windows-arm64")
WINE = Path("/usr/lib/x86_64-linux-gnu/wine")
EVERY = 12  # of Wine's thousand files

pytestmark = [
    *map(needs_wheels, PLATFORMS),
    pytest.mark.needs(
        f"{WINE}/i386-windows/ntdll.dll", install="tools/setup-debian, which brings Wine's files"
    ),
]


Pair = tuple[Binary, Any]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    files = sorted(WINE.glob("*-windows/*"))[::EVERY]
    for platform in PLATFORMS:
        files += libraries_of(platform, tmp_path_factory.mktemp(platform))
    found = [(read(path), lief.PE.parse(str(path))) for path in files]
    assert {binary.cpu for binary, _ in found} == {"x86_64", "i386", "aarch64"}
    assert len(found) > 100
    return found


def view(binary: Binary) -> PeView:
    assert isinstance(binary.view, PeView)
    return binary.view


def test_every_imported_name_and_ordinal_in_order(pairs: list[Pair]) -> None:
    late = by_number = 0
    for binary, theirs in pairs:
        expected = [
            (library.name, entry.ordinal if entry.is_ordinal else entry.name, delay)
            for delay, libraries in ((False, theirs.imports), (True, theirs.delay_imports))
            for library in libraries
            for entry in library.entries
        ]
        ours = [
            (i.library, i.name if i.ordinal is None else i.ordinal, i.delay) for i in binary.imports
        ]
        assert ours == expected, binary.path
        late += sum(i.delay for i in binary.imports)
        by_number += sum(i.ordinal is not None for i in binary.imports)
    assert late
    assert by_number


def test_dependencies_are_the_needed_ones_and_say_which_come_late(pairs: list[Pair]) -> None:
    for binary, theirs in pairs:
        assert tuple(d.name for d in binary.dependencies) == binary.needed
        at_once = {library.name for library in theirs.imports}
        assert {d.name for d in binary.dependencies if d.kind == "needed"} == at_once


def test_sections_are_segments(pairs: list[Pair]) -> None:
    for binary, theirs in pairs:
        ours = [(s.address, s.offset, s.file_size, s.writable) for s in binary.segments]
        expected = [
            (
                s.virtual_address,
                s.pointerto_raw_data,
                s.sizeof_raw_data,
                s.has_characteristic(lief.PE.Section.CHARACTERISTICS.MEM_WRITE),
            )
            for s in theirs.sections
        ]
        assert ours == expected, binary.path


def test_thread_local_storage_with_its_callbacks(pairs: list[Pair]) -> None:
    seen = 0
    for binary, theirs in pairs:
        assert (binary.tls is not None) == theirs.has_tls, binary.path
        if binary.tls is None:
            continue
        start, end = theirs.tls.addressof_raw_data
        assert binary.tls.size == end - start + theirs.tls.sizeof_zero_fill
        callbacks = [address - theirs.imagebase for address in theirs.tls.callbacks]
        assert list(view(binary).tls_callbacks) == callbacks
        seen += bool(callbacks)
    assert seen


def test_the_pdb_and_its_identity(pairs: list[Pair]) -> None:
    seen = 0
    for binary, theirs in pairs:
        pdb = next((d for d in theirs.debug if isinstance(d, lief.PE.CodeViewPDB)), None)
        assert binary.debug.link == (pdb.filename or None if pdb else None), binary.path
        if pdb:
            assert binary.debug.build_id == f"{pdb.guid.replace('-', '').lower()}{pdb.age:x}"
            seen += 1
        repro = any(isinstance(d, lief.PE.Repro) for d in theirs.debug)
        assert view(binary).reproducible == repro
    assert seen


def test_whether_it_is_signed(pairs: list[Pair]) -> None:
    for binary, theirs in pairs:
        assert (binary.signature is not None) == theirs.has_signatures, binary.path
    assert any(binary.signature for binary, _ in pairs)


def test_the_load_configuration(pairs: list[Pair]) -> None:
    seen = 0
    for binary, theirs in pairs:
        config = view(binary).load_config
        if config is None:
            assert not theirs.has_configuration
            continue
        expected = theirs.load_configuration
        assert config.security_cookie == (expected.security_cookie or 0)
        assert config.guard_flags == (expected.guard_flags or 0)
        assert config.dependent_load_flags == (expected.dependent_load_flags or 0)
        assert config.seh_count == (expected.se_handler_count or 0)
        seen += config.guard_cf
    assert seen


def test_the_headers_bits(pairs: list[Pair]) -> None:
    for binary, theirs in pairs:
        header = theirs.optional_header
        bits = sum(
            bit for bit, n in DLL_CHARACTERISTICS.items() if n in view(binary).characteristics
        )
        assert bits == header.dll_characteristics & ~0x1F, binary.path
        version = f"{header.major_subsystem_version}.{header.minor_subsystem_version}"
        assert binary.minimum_os == version
        assert view(binary).subsystem == int(header.subsystem)
        linker = f"linker {header.major_linker_version}.{header.minor_linker_version}"
        assert binary.compilers[0] == linker


def test_microsofts_tools_are_those_of_the_rich_header(pairs: list[Pair]) -> None:
    seen = 0
    for binary, theirs in pairs:
        expected = theirs.rich_header.entries if theirs.has_rich_header else []
        ours = view(binary).rich_header
        assert set(ours) == {(e.id, e.build_id, e.count) for e in expected}, binary.path
        seen += bool(ours)
    assert seen


def test_what_is_needed_of_a_manifest(pairs: list[Pair]) -> None:
    """LIEF gives the first of several, and ours is only the one that the loader looks at."""
    seen = 0
    for binary, theirs in pairs:
        manifest = view(binary).manifest
        if manifest is None:
            continue
        text = theirs.resources_manager.manifest
        for assembly in manifest.dependencies:
            assert assembly.name in text
            seen += 1
        assert manifest.execution_level in text
        assert ("requestedExecutionLevel" in text) == bool(manifest.execution_level)
    assert seen


def test_dotnet_and_code_of_two_cpus(pairs: list[Pair]) -> None:
    for binary, theirs in pairs:
        directory = theirs.data_directory(lief.PE.DataDirectory.TYPES.CLR_RUNTIME_HEADER)
        assert (view(binary).clr is not None) == bool(directory.rva)
        assert (view(binary).hybrid == "arm64ec") == theirs.is_arm64ec
        assert (view(binary).hybrid == "arm64x") == theirs.is_arm64x
