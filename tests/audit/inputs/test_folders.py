"""Of a folder, the native files, whatever their names."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest

from libferry.audit.inputs import is_one_file, opened
from libferry.audit.inputs.native import is_native
from libferry.errors import LibraryNotFound


def names(folder: Path) -> list[str]:
    with opened(folder) as tree:
        return [item.shown.removeprefix(f"{folder}/") for item in tree.items]


def test_by_its_contents_and_not_its_name(tmp_path: Path, native: bytes) -> None:
    (tmp_path / "program").write_bytes(native)
    (tmp_path / "plug-in.node").write_bytes(native)
    (tmp_path / "libtext.so").write_text("INPUT(-lm)" * 100)
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "deep/er/x.so").write_bytes(native)
    assert names(tmp_path) == ["deep/er/x.so", "plug-in.node", "program"]


def test_links_are_not_followed_and_hard_links_are_one_file(tmp_path: Path, native: bytes) -> None:
    (tmp_path / "x.so.1").write_bytes(native)
    (tmp_path / "x.so").symlink_to("x.so.1")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.link(tmp_path / "x.so.1", tmp_path / "other-name")
    assert len(names(tmp_path)) == 1


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.so")
    assert names(tmp_path) == []


@pytest.mark.needs("cc", install="apt-get install gcc")
def test_what_a_compiler_makes(tmp_path: Path) -> None:
    (tmp_path / "x.c").write_text("int f(void) { return 1; }\nint main(void) { return 0; }")
    for options in (["-c", "-o", "x.o"], ["-shared", "-o", "x.so"], ["-o", "x"]):
        subprocess.run(["cc", "x.c", *options], cwd=tmp_path, check=True)
    os.rename(tmp_path / "x.o", tmp_path / "object")
    assert names(tmp_path) == ["x", "x.so"]


def pe(at: int) -> bytes:
    return b"MZ" + bytes(0x3A) + struct.pack("<I", at) + bytes(at - 0x40) + b"PE\0\0" + bytes(64)


@pytest.mark.parametrize(
    ("head", "native"),
    [
        pytest.param(pe(0x80), True, id="windows"),
        pytest.param(b"MZ" + bytes(100), False, id="dos"),
        pytest.param(struct.pack(">IHH", 0xCAFEBABE, 0, 65) + bytes(60), False, id="java 21"),
        pytest.param(struct.pack(">II", 0xCAFEBABE, 2) + bytes(60), True, id="universal"),
        pytest.param(struct.pack("<4I", 0xFEEDFACF, 0x100000C, 0, 6), True, id="dylib"),
        pytest.param(struct.pack("<4I", 0xFEEDFACF, 0x100000C, 0, 1), False, id="macos object"),
        pytest.param(struct.pack("<4I", 0xFEEDFACF, 0x100000C, 0, 10), False, id="dsym"),
        pytest.param(b"\x7fELF", False, id="four bytes"),
        pytest.param(b"", False, id="empty"),
    ],
)
def test_first_bytes(head: bytes, native: bool) -> None:
    assert is_native(head) == native


def test_a_root_file_system_is_known_by_its_files(tmp_path: Path, native: bytes) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    with opened(tmp_path) as tree:
        assert not tree.whole
    (tmp_path / "etc/os-release").write_text("ID=debian\n")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/x.so").write_bytes(native)
    with opened(tmp_path) as tree:
        assert tree.whole
        assert not tree.items


def test_one_file_is_itself(tmp_path: Path, native: bytes) -> None:
    (tmp_path / "x.so").write_bytes(native)
    assert is_one_file(tmp_path / "x.so")
    with opened(tmp_path / "x.so") as tree:
        assert tree.items[0].file == tmp_path / "x.so"


def test_nothing_is_there(tmp_path: Path) -> None:
    with opened(tmp_path / "nothing") as tree:
        assert [item.file for item in tree.items] == [tmp_path / "nothing"]


@pytest.mark.ordinary_user
def test_what_may_not_be_read(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (tmp_path / "x.so").write_bytes(b"x")
    (tmp_path / "x.so").chmod(0)
    with pytest.raises(LibraryNotFound), opened(tmp_path / "x.so"):
        pass
