"""What we read from Mach-O files is what LIEF reads."""

from __future__ import annotations

import struct
from pathlib import Path

import lief
import pytest

from libferry.binary import read

from .conftest import SOURCE, Build

CPUS = {
    lief.MachO.Header.CPU_TYPE.ARM64: "aarch64",
    lief.MachO.Header.CPU_TYPE.X86_64: "x86_64",
}


@pytest.fixture(params=["aarch64-macos", "x86_64-macos"])
def library(build: Build, request: pytest.FixtureRequest) -> Path:
    flags = ["-install_name", "@rpath/libsample.dylib", "-Wl,-rpath,@loader_path/../lib"]
    return build(request.param, SOURCE, *flags, name="libsample.dylib")


# LIEF frees a file's slices together with the file, even if they are still in use.
KEPT: list[lief.MachO.FatBinary] = []


def lief_reads(path: Path) -> lief.MachO.Binary:
    universal = lief.MachO.parse(path)
    assert universal is not None
    KEPT.append(universal)
    first = universal.at(0)
    assert first is not None
    return first


def test_header_agrees(library: Path) -> None:
    binary, theirs = read(library), lief_reads(library)
    assert binary.cpu == CPUS[theirs.header.cpu_type]
    assert binary.bits == (64 if theirs.header.is_64bit else 32)
    assert (binary.format, binary.os, binary.kind) == ("macho", "macos", "library")
    assert (binary.endian, binary.slices) == ("little", ())


def test_names_and_paths_agree(library: Path) -> None:
    binary, theirs = read(library), lief_reads(library)
    own = theirs.get(lief.MachO.LoadCommand.TYPE.ID_DYLIB)
    assert isinstance(own, lief.MachO.DylibCommand)
    assert binary.soname == own.name == "@rpath/libsample.dylib"
    assert [binary.soname, *binary.needed] == [library.name for library in theirs.libraries]
    assert list(binary.rpath) == [rpath.path for rpath in theirs.rpaths]


def test_exports_agree(library: Path) -> None:
    theirs = lief_reads(library)
    information = theirs.dyld_exports_trie or theirs.dyld_info
    assert information is not None
    expected = {
        (export.symbol.name, export.address) for export in information.exports if export.symbol
    }
    # dlsym() adds the underscore, so ours are without it.
    assert {("_" + e.name, e.address) for e in read(library).exports} == expected


def test_kinds_are_those_of_the_source(library: Path) -> None:
    kinds = {export.name: export.kind for export in read(library).exports}
    assert {name: kinds[name] for name in ("answer", "maybe", "counter", "limit", "mine")} == {
        "answer": "function",
        "maybe": "function",
        "counter": "data",
        "limit": "data",
        "mine": "tls",
    }
    assert not {"secret", "own"} & kinds.keys()


def test_an_object_has_its_exports_in_the_symbol_table(build: Build) -> None:
    path = build("aarch64-macos", SOURCE, "-c", name="sample.o")
    binary = read(path)
    assert binary.kind == "object"
    public = {
        symbol.name
        for symbol in lief_reads(path).symbols
        if symbol.raw_type & 0x01 and not symbol.raw_type & 0x10 and symbol.raw_type & 0x0E
    }
    assert {"_" + export.name for export in binary.exports} == public >= {"_answer", "_counter"}


def test_a_universal_file_is_described_by_its_first_slice_and_names_all(
    build: Build, tmp_path: Path
) -> None:
    parts = [
        build(target, SOURCE, name="libsample.dylib").read_bytes()
        for target in ("x86_64-macos", "aarch64-macos")
    ]
    # mach-o/fat.h: magic, count; for each slice cputype, cpusubtype, offset, size, align
    places = [0x4000, 0x4000 + -(-len(parts[0]) // 0x4000) * 0x4000]
    raw = struct.pack(">II", 0xCAFEBABE, 2)
    raw += struct.pack(">5I", 0x01000007, 3, places[0], len(parts[0]), 14)
    raw += struct.pack(">5I", 0x0100000C, 0, places[1], len(parts[1]), 14)
    for place, part in zip(places, parts, strict=True):
        raw = raw.ljust(place, b"\0") + part
    path = tmp_path / "universal.dylib"
    path.write_bytes(raw)

    universal = lief.MachO.parse(path)
    assert universal is not None
    assert [CPUS[slice_.header.cpu_type] for slice_ in universal] == ["x86_64", "aarch64"]
    binary = read(path)
    assert (binary.cpu, binary.slices) == ("x86_64", ("x86_64", "aarch64"))
    assert "answer" in {export.name for export in binary.exports}
