"""Mach-O files made to cost much or to mislead: read at once, or refused with a reason."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libferry.binary import read
from libferry.binary.macho.view import MachOView
from libferry.errors import BadBinary, FerryError

from ..loader.dyld.machowriter import Macho, Need, Signed, Want, universal

HEADER = struct.pack("<8I", 0xFEEDFACF, 0x0100000C, 0, 6, 1, 48, 0, 0)
LATE = [
    name for name in dir(MachOView) if not name.startswith("_") and name not in ("open", "path")
]


def read_all(path: Path) -> FerryError | None:
    """Everything that every slice says; the error, if that is how it ends."""
    error = None
    try:
        view = read(path).view
        slices = [one.view for one in view.all_slices]  # type: ignore[attr-defined]
    except FerryError as refused:
        return refused
    for each in slices:
        for name in LATE:
            try:
                getattr(each, name)
            except FerryError as refused:
                error = refused
    return error


@pytest.fixture(autouse=True)
def at_once() -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 30


def opcodes(program: bytes) -> bytes:
    """A library that has nothing but a program of bind opcodes."""
    places = (0, 0, 80, len(program), 0, 0, 0, 0, 0, 0)
    return HEADER + struct.pack("<12I", 0x80000022, 48, *places) + program


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (b"\x40never ends", "the name of a symbol has no end"),
        (b"\x20" + b"\xff" * 20, "more than 64 bits"),
        (b"\x20\x80", "end within a number"),
        (b"\xe0", "bind opcode 0xe0 is unknown"),
    ],
)
def test_opcodes_that_make_no_sense(tmp_path: Path, program: bytes, reason: str) -> None:
    path = tmp_path / "lib.dylib"
    path.write_bytes(opcodes(program))
    with pytest.raises(BadBinary, match=reason):
        _ = read(path).imports


def test_one_opcode_that_binds_four_thousand_million_times(tmp_path: Path) -> None:
    path = tmp_path / "lib.dylib"
    times = b"\xff\xff\xff\xff\x0f"
    path.write_bytes(opcodes(b"\x3e\x40_x\0\x72\0\xc0" + times + b"\0"))
    assert [one.name for one in read(path).imports] == ["x"]


def chained(count: int, table: bytes, names: bytes) -> bytes:
    """A library that has nothing but chained fixups."""
    header = struct.pack("<7I", 0, 28, 32, 32 + len(table), count, 1, 0) + bytes(4)
    data = header + table + names
    command = struct.pack("<4I", 0x80000034, 16, 48, len(data))
    start = struct.pack("<8I", 0xFEEDFACF, 0x0100000C, 0, 6, 1, 16, 0, 0)
    return start + command + data


def test_four_thousand_million_imports(tmp_path: Path) -> None:
    path = tmp_path / "lib.dylib"
    path.write_bytes(chained(0xFFFFFFFF, b"", b"\0"))
    with pytest.raises(BadBinary, match="the table of imports"):
        _ = read(path).imports


def test_imports_that_all_share_one_long_name(tmp_path: Path) -> None:
    count = 20_000
    table = struct.pack("<I", 0xFE) * count  # a flat lookup of the name at 0
    path = tmp_path / "lib.dylib"
    path.write_bytes(chained(count, table, b"_" + b"a" * 100_000 + b"\0"))
    with pytest.raises(BadBinary, match="names overlap"):
        _ = read(path).imports


def test_a_signature_of_more_parts_than_there_are_kinds(tmp_path: Path) -> None:
    raw = bytearray(Macho("/l").raw())
    at = raw.rindex(struct.pack(">I", 0xFADE0CC0))
    raw[at + 8 : at + 12] = b"\x7f\xff\xff\xff"
    path = tmp_path / "lib.dylib"
    path.write_bytes(raw)
    with pytest.raises(BadBinary, match="parts, more than there are kinds"):
        _ = read(path).signature


FULL = universal(
    Macho(
        "@rpath/a.dylib",
        needs=["/usr/lib/libz.1.dylib", Need("/b", "reexport")],
        rpaths=["@loader_path"],
        exports=["_one", "_two"],
        reexports={"_three": (2, "_four")},
        wants=[Want("_inflate", 1), Want("_any", -2)],
        signed=Signed("TEAM", 0, "<plist/>"),
        environment=["DYLD_LIBRARY_PATH=/x"],
    ),
    Macho("@rpath/a.dylib", cpu="x86_64", lazy=True, wants=[Want("_puts", 1)], restricted=True),
)
PLACES = [at for at in range(len(FULL)) if FULL[at]]
NUMBERS = st.one_of(
    st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]),
    st.integers(0, 0xFFFFFFFF),
)


def test_the_file_that_is_damaged_next_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "sound.dylib"
    path.write_bytes(FULL)
    assert read_all(path) is None


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_file_with_changed_bytes_says_something_or_why_not(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    raw = bytearray(FULL)
    for _ in range(data.draw(st.integers(1, 5), "changes")):
        at, width = data.draw(st.sampled_from(PLACES), "at"), data.draw(st.sampled_from([1, 2, 4]))
        number = data.draw(NUMBERS, "number") % (1 << 8 * width)
        raw[at : at + width] = number.to_bytes(width, data.draw(st.sampled_from(["little", "big"])))
    path = tmp_path_factory.getbasetemp() / "changed.dylib"
    path.write_bytes(raw)
    read_all(path)
