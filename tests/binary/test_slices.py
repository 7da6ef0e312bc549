"""One file for several CPUs: which of them is read."""

from __future__ import annotations

from pathlib import Path

import lief
import pytest

from libferry.binary import read
from libferry.errors import BadBinary

from .conftest import SOURCE, Build


@pytest.fixture(scope="module")
def universal(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    thin = [build(f"{cpu}-macos", SOURCE, name="libsample.dylib") for cpu in ("x86_64", "aarch64")]
    both = tmp_path_factory.mktemp("fat") / "libsample.dylib"
    parts = [path.read_bytes() for path in thin]
    offsets = [1 << 14, (1 << 14) + (len(parts[0]) + 0x3FFF & ~0x3FFF)]
    cpus = [(0x01000007, 3), (0x0100000C, 0)]
    header = (0xCAFEBABE).to_bytes(4, "big") + (2).to_bytes(4, "big")
    for (kind, subtype), offset, part in zip(cpus, offsets, parts, strict=True):
        header += b"".join(n.to_bytes(4, "big") for n in (kind, subtype, offset, len(part), 14))
    both.write_bytes(header.ljust(offsets[0], b"\0") + parts[0])
    with both.open("ab") as file:
        file.write(bytes(offsets[1] - both.stat().st_size) + parts[1])
    return both


def test_the_first_slice_is_read_unless_one_is_asked_for(universal: Path) -> None:
    theirs = lief.MachO.parse(universal)
    assert theirs is not None
    assert [one.header.cpu_type.name for one in theirs] == ["X86_64", "ARM64"]
    assert read(universal).cpu == "x86_64"
    assert read(universal, "aarch64").cpu == "aarch64"
    assert read(universal, "arm64").exports == read(universal, "aarch64").exports


def test_a_cpu_that_a_universal_file_has_not_is_refused(universal: Path) -> None:
    with pytest.raises(BadBinary, match="nothing for riscv64"):
        read(universal, "riscv64")


def test_a_file_for_one_cpu_is_refused_for_another(small_elf: Path) -> None:
    assert read(small_elf, "x86_64").cpu == "x86_64"
    with pytest.raises(BadBinary, match="for x86_64, and was asked for aarch64"):
        read(small_elf, "aarch64")
