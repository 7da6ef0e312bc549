"""Whatever is in the tables of a PE file: a value, or an error of ours."""

from __future__ import annotations

import os
import struct
import zipfile
from functools import cache
from pathlib import Path

import pefile  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libferry.binary import read
from libferry.binary.pe.manifest import Assembly, parse_manifest
from libferry.binary.pe.view import PeView
from libferry.errors import BadBinary, FerryError

from ..wheels import needs_wheels, wheels_of

CASES = int(os.environ.get("FERRY_CASES", "300"))
TABLES = [name for name in vars(PeView) if not name.startswith("_")]

# small, and with most of the tables: of Microsoft's linkers
SAMPLES = [
    pytest.param(platform, name, marks=needs_wheels(platform), id=name)
    for platform, name in (
        ("windows-arm64", "_cmsgpack.cp312-win_arm64.pyd"),
        ("windows-x86", "win32evtlog.pyd"),
    )
]
NUMBERS = st.one_of(
    st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]),
    st.integers(0, 0xFFFFFFFF),
)


def read_all(path: Path) -> None:
    """Read every table; each may be bad by itself."""
    try:
        view = read(path).view
    except FerryError:
        return
    for table in TABLES:
        try:
            getattr(view, table)
        except FerryError:
            continue


@settings(max_examples=CASES, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize(("platform", "name"), SAMPLES)
def test_changed_bytes_are_read_or_refused(
    data: st.DataObject, platform: str, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    raw = bytearray(file_of(platform, name))
    tables = interesting(bytes(raw))
    where = st.one_of(st.integers(0, 1023), st.sampled_from(tables), st.integers(0, len(raw) - 1))
    for _ in range(data.draw(st.integers(1, 6), "changes")):
        at, width = data.draw(where, "at"), data.draw(st.sampled_from([1, 2, 4]), "width")
        number = data.draw(NUMBERS, "number") % (1 << 8 * width)
        raw[at : at + width] = number.to_bytes(width, "little")
    changed = tmp_path_factory.getbasetemp() / "changed.dll"
    changed.write_bytes(raw)
    read_all(changed)


@cache
def file_of(platform: str, name: str) -> bytes:
    for wheel in wheels_of(platform):
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                if member.endswith(f"/{name}"):
                    return archive.read(member)
    raise AssertionError(f"no wheel for {platform} has {name}")


@cache
def interesting(raw: bytes) -> list[int]:
    """Places in the tables that the data directories point to."""

    with pefile.PE(data=bytes(raw), fast_load=True) as pe:
        places = [
            pe.get_offset_from_rva(directory.VirtualAddress)
            for directory in pe.OPTIONAL_HEADER.DATA_DIRECTORY[:14]
            if directory.VirtualAddress and directory.name != "IMAGE_DIRECTORY_ENTRY_SECURITY"
        ]
    return [at + step for at in places for step in range(0, 160, 2) if at + step < len(raw)]


def test_a_manifest_that_declares_entities_is_refused() -> None:
    """Ten entities of ten of the one before would be ten thousand million letters."""
    laughs = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "ha"}">' for n in range(10))
    with pytest.raises(BadBinary, match="declares entities"):
        parse_manifest(f"<!DOCTYPE a [{laughs}]><a>&e9;</a>".encode(), "read x.dll")


@pytest.mark.parametrize("encoding", ["nothing", "base64", "utf-7", "idna"])
def test_a_manifest_in_an_encoding_that_is_none_is_refused(encoding: str) -> None:
    with pytest.raises(BadBinary, match="no manifest"):
        parse_manifest(f'<?xml version="1.0" encoding="{encoding}"?><a/>'.encode(), "read x.dll")


def test_a_manifest_says_which_assemblies_and_files() -> None:
    text = b"""<assembly xmlns="urn:schemas-microsoft-com:asm.v1" manifestVersion="1.0">
      <assemblyIdentity type="win32" name="mine" version="1.0.0.0"/>
      <file name="One.DLL"/><file name="two.dll" loadFrom="C:\\two\\"/>
      <dependency optional="yes"><dependentAssembly><assemblyIdentity name="theirs"
        version="2.0.0.0" processorArchitecture="AMD64" publicKeyToken="AB12"/>
      </dependentAssembly></dependency></assembly>"""
    manifest = parse_manifest(text, "read mine.manifest")
    assert manifest.identity == Assembly("mine", "1.0.0.0")
    assert manifest.dependencies == (Assembly("theirs", "2.0.0.0", "amd64", "ab12"),)
    assert manifest.optional == set(manifest.dependencies)
    assert manifest.files == {"one.dll": "", "two.dll": "C:\\two\\"}


@needs_wheels("windows-x86")
def test_a_delay_load_table_of_visual_c_6_has_addresses(tmp_path: Path) -> None:
    """The same file, every RVA of its delay-load table made an address, and the bit cleared."""
    raw = bytearray(file_of("windows-x86", "win32evtlog.pyd"))
    original = tmp_path / "original.dll"
    original.write_bytes(raw)
    with pefile.PE(data=bytes(raw)) as pe:
        base = pe.OPTIONAL_HEADER.ImageBase
        for late in pe.DIRECTORY_ENTRY_DELAY_IMPORT:
            at = late.struct.get_file_offset()
            row = list(struct.unpack_from("<8I", raw, at))
            for entry in late.imports:
                thunk = entry.struct_table.get_file_offset()
                (number,) = struct.unpack_from("<I", raw, thunk)
                if not number >> 31:
                    struct.pack_into("<I", raw, thunk, number + base)
            struct.pack_into("<8I", raw, at, 0, *(field and field + base for field in row[1:7]), 0)
    old = tmp_path / "old.dll"
    old.write_bytes(raw)
    assert read(old).dependencies == read(original).dependencies
    assert any(found.delay for found in read(old).imports)
    assert read(old).imports == read(original).imports
