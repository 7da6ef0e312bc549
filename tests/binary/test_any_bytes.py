"""Whatever the bytes are: a Binary or a FerryError, and never anything else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st

from libferry.binary import read
from libferry.binary.describe import as_dict
from libferry.errors import BadBinary, FerryError

from .everything import read_everything

DENSE = 4096
STRIDE = 61


@pytest.fixture(params=["small_elf", "small_pe", "small_macho"])
def sample(request: pytest.FixtureRequest) -> Path:
    path = request.getfixturevalue(request.param)
    assert isinstance(path, Path)
    return path


def read_all(path: Path) -> FerryError | None:
    """Read everything there is to read; give the error, if that is how it ends."""
    read_everything(path)
    try:
        as_dict(read(path))
    except FerryError as error:
        return error
    return None


def test_a_file_cut_anywhere_is_a_binary_or_an_error(sample: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    shutil.copyfile(sample, cut)
    size = cut.stat().st_size
    assert read_all(cut) is None
    for length in sorted({*range(min(size, DENSE)), *range(0, size, STRIDE)}, reverse=True):
        os.truncate(cut, length)
        error = read_all(cut)
        if length < DENSE // 8:  # none of the three has its headers complete by then
            assert isinstance(error, BadBinary)
            assert error.hint


def test_an_elf_file_cut_within_its_segments_is_refused(small_elf: Path, tmp_path: Path) -> None:
    with small_elf.open("rb") as file:
        loads = [s for s in ELFFile(file).iter_segments() if s["p_type"] == "PT_LOAD"]
        end = max(s["p_offset"] + s["p_filesz"] for s in loads)
    cut = tmp_path / "cut.so"
    shutil.copyfile(small_elf, cut)
    os.truncate(cut, end)
    assert read(cut).exports  # all that is gone is of no use to a loader
    os.truncate(cut, end - 1)
    with pytest.raises(BadBinary, match=r"cut short.*SIGBUS"):
        read(cut)


def test_a_dll_cut_within_its_sections_is_refused(small_pe: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.dll"
    cut.write_bytes(small_pe.read_bytes()[:-1])
    with pytest.raises(BadBinary, match=r"section [0-9]+ ends at .* cut short"):
        read(cut)


def test_a_dylib_cut_within_its_segments_is_refused(small_macho: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.dylib"
    cut.write_bytes(small_macho.read_bytes()[:-1])
    with pytest.raises(BadBinary, match=r"a segment would be .* but the file ends"):
        read(cut)


# Numbers that are wrong in interesting ways, and any others
NUMBERS = st.one_of(
    st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]),
    st.integers(0, 0xFFFFFFFF),
)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", ["small_elf", "small_pe", "small_macho"])
def test_a_file_with_changed_bytes_is_a_binary_or_an_error(
    data: st.DataObject, name: str, request: pytest.FixtureRequest
) -> None:
    original: Path = request.getfixturevalue(name)
    raw = bytearray(original.read_bytes())
    where = st.one_of(st.integers(0, 1023), st.integers(0, len(raw) - 1))
    for _ in range(data.draw(st.integers(1, 6), "changes")):
        at, width = data.draw(where, "at"), data.draw(st.sampled_from([1, 2, 4]), "width")
        number = data.draw(NUMBERS, "number") % (1 << 8 * width)
        raw[at : at + width] = number.to_bytes(width, "little")
    changed = original.with_suffix(".changed")
    changed.write_bytes(raw)
    read_all(changed)


@settings(max_examples=200, deadline=None)
@given(
    magic=st.sampled_from(
        [b"", b"\x7fELF\x02\x01\x01", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"]
    ),
    rest=st.binary(max_size=400),
)
def test_noise_is_an_error(
    magic: bytes, rest: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "noise"
    path.write_bytes(magic + rest)
    read_all(path)
