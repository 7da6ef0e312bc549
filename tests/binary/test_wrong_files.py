"""Files that are no libraries: the error says what they are, the hint what to do."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from libferry.binary import read
from libferry.errors import BadBinary, FerryError, LibraryNotFound


def refused(path: str | Path) -> FerryError:
    with pytest.raises(FerryError) as caught:
        read(path)
    assert caught.value.hint
    assert str(path) in caught.value.tried
    return caught.value


def refused_bytes(directory: Path, content: bytes) -> BadBinary:
    path = directory / "file"
    path.write_bytes(content)
    error = refused(path)
    assert isinstance(error, BadBinary)
    return error


def test_no_such_file(tmp_path: Path) -> None:
    error = refused(tmp_path / "libz.so")
    assert isinstance(error, LibraryNotFound)
    assert error.happened == "no such file or directory"


def test_a_name_that_is_nearly_right_is_named(tmp_path: Path) -> None:
    (tmp_path / "libexample.so.1").touch()
    error = refused(tmp_path / "libexmaple.so.1")
    assert error.hint == f"did you mean {tmp_path}/libexample.so.1?"


def test_a_name_instead_of_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "ldconfig -p" in refused("libz.so.1").hint


def test_a_link_to_nowhere(tmp_path: Path) -> None:
    (tmp_path / "lib.so").symlink_to("lib.so.1")
    error = refused(tmp_path / "lib.so")
    assert isinstance(error, LibraryNotFound)
    assert "symbolic link to lib.so.1, which does not exist" in error.happened


def test_a_path_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert isinstance(refused(tmp_path / "file" / "lib.so"), LibraryNotFound)


def test_a_path_with_a_nul() -> None:
    assert isinstance(refused("lib\0.so"), LibraryNotFound)


def test_a_directory(tmp_path: Path) -> None:
    (tmp_path / "libinside.so").touch()
    error = refused(tmp_path)
    assert isinstance(error, BadBinary)
    assert "directory" in error.happened
    assert "libinside.so" in error.hint


@pytest.mark.ordinary_user
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "lib.so"
    path.write_bytes(b"\x7fELF")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("needs a user whom permissions bind: run the tests without root")
    error = refused(path)
    assert isinstance(error, BadBinary)
    assert "permission denied" in error.happened


def test_an_empty_file(tmp_path: Path) -> None:
    assert "empty" in refused_bytes(tmp_path, b"").happened


def test_a_pipe_does_not_keep_us_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    error = refused(tmp_path / "pipe")
    assert isinstance(error, BadBinary)
    assert "pipe" in error.happened


def test_a_device_without_end() -> None:
    error = refused("/dev/zero")
    assert isinstance(error, BadBinary)
    assert "character device" in error.happened


def test_a_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        error = refused(tmp_path / "socket")
    assert isinstance(error, BadBinary)
    assert "socket" in error.happened


def test_text(tmp_path: Path) -> None:
    error = refused_bytes(tmp_path, "int zlib(void); // größer\n".encode())
    assert "looks like text" in error.happened


def test_a_linker_script_names_the_real_library(tmp_path: Path) -> None:
    script = b"""/* GNU ld script
   Use the shared library, but some functions are only in
   the static library, so try that secondarily.  */
OUTPUT_FORMAT(elf64-x86-64)
GROUP ( /lib/x86_64-linux-gnu/libc.so.6 /usr/lib/x86_64-linux-gnu/libc_nonshared.a )
"""
    error = refused_bytes(tmp_path, script)
    assert "GNU ld script" in error.happened
    assert error.hint == "give the library it names: /lib/x86_64-linux-gnu/libc.so.6"


def test_a_linker_script_without_a_comment(tmp_path: Path) -> None:
    error = refused_bytes(tmp_path, b"INPUT(-lncursesw)\n")
    assert "GNU ld script" in error.happened
    assert error.hint == "give the library it names: libncursesw.so"


def test_the_libc_so_of_this_system() -> None:
    path = Path("/usr/lib/x86_64-linux-gnu/libc.so")
    if not path.exists():
        pytest.skip(f"needs {path}: apt-get install libc6-dev")
    assert refused(path).hint.endswith("/libc.so.6")


def test_a_git_lfs_pointer(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    error = refused_bytes(tmp_path, pointer)
    assert "Git LFS" in error.happened
    assert "git lfs pull" in error.hint


def test_a_web_page_that_was_saved_as_a_library(tmp_path: Path) -> None:
    assert "web page" in refused_bytes(tmp_path, b"\n<!DOCTYPE html><h1>404</h1>").happened


def test_a_static_library(tmp_path: Path) -> None:
    error = refused_bytes(tmp_path, b"!<arch>\n/               0           0     0")
    assert "static library" in error.happened
    assert "--whole-archive" in error.hint


def test_a_wheel(tmp_path: Path) -> None:
    assert "ZIP archive" in refused_bytes(tmp_path, b"PK\x03\x04" + bytes(30)).happened


def test_a_java_class(tmp_path: Path) -> None:
    # JVM specification 4.1: magic, minor version 0, major version 52
    error = refused_bytes(tmp_path, bytes.fromhex("cafebabe 0000 0034") + bytes(40))
    assert "Java class" in error.happened


def test_unknown_bytes_are_shown(tmp_path: Path) -> None:
    error = refused_bytes(tmp_path, bytes.fromhex("00 01 02 fe ff") + bytes(20))
    assert "00 01 02 fe ff" in error.happened


def test_a_real_dos_program(tmp_path: Path) -> None:
    error = refused_bytes(tmp_path, b"MZ" + bytes(200))
    assert "DOS program" in error.happened


def test_a_16_bit_windows_library(tmp_path: Path) -> None:
    raw = (b"MZ" + bytes(58) + (64).to_bytes(4, "little") + b"NE").ljust(200, b"\0")
    assert "16-bit Windows" in refused_bytes(tmp_path, raw).happened


def test_an_elf_class_that_does_not_exist(tmp_path: Path) -> None:
    error = refused_bytes(tmp_path, b"\x7fELF\x03\x01\x01" + bytes(60))
    assert "ELF class is 3" in error.happened


def test_a_file_that_changed_between_reading_and_exports(small_elf: Path, tmp_path: Path) -> None:
    path = tmp_path / "lib.so"
    path.write_bytes(small_elf.read_bytes())
    binary = read(path)
    path.write_bytes(small_elf.read_bytes() + b"\0")
    with pytest.raises(BadBinary, match="has changed") as caught:
        _ = binary.exports
    assert "read() again" in caught.value.hint


def test_nothing_stays_open(small_elf: Path) -> None:
    before = os.listdir("/proc/self/fd")
    binary = read(small_elf)
    assert binary.exports
    assert os.listdir("/proc/self/fd") == before


def test_a_relative_path_still_works_in_another_directory(
    small_elf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(small_elf.parent)
    binary = read(small_elf.name)
    monkeypatch.chdir("/")
    assert binary.path == small_elf
    assert binary.exports
