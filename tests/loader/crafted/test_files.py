"""What the loader makes of a file that has the right name and is not what it should be."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable

import pytest

from .workshop import Workshop

pytestmark = pytest.mark.needs("gcc", install="apt-get install gcc libc6-dev")

RUNPATH = "-Wl,--enable-new-dtags,-rpath,"
FIRST_THEN_SECOND = RUNPATH + "$ORIGIN/first:$ORIGIN/second"

# gABI, "ELF Header": where the fields are, for both classes up to e_version
EI_CLASS, EI_DATA, EI_VERSION, EI_OSABI, EI_ABIVERSION, EI_PAD = 4, 5, 6, 7, 8, 9
E_TYPE, E_MACHINE, E_VERSION, E_PHOFF, E_PHENTSIZE, E_PHNUM = 16, 18, 20, 32, 54, 56


def replaced(at: int, content: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + content + data[at + len(content) :]


@pytest.fixture
def two(shop: Workshop) -> Workshop:
    """A program with two folders to search, and a good library in the second."""
    shop.library("first/libone.so")
    shop.library("second/libone.so")
    shop.program("tool", ["second/libone.so"], FIRST_THEN_SECOND)
    return shop


def test_the_first_good_file_is_taken(two: Workshop) -> None:
    assert two.judge("tool").loaded[0] == "first/libone.so"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(replaced(EI_CLASS, b"\1"), id="class"),
        pytest.param(replaced(E_MACHINE, struct.pack("<H", 183)), id="machine"),
        pytest.param(replaced(E_MACHINE, b"\0\0"), id="no machine"),
        pytest.param(replaced(EI_CLASS, b"\7"), id="unknown class"),
    ],
)
def test_a_file_of_another_cpu_is_passed_over(
    two: Workshop, change: Callable[[bytes], bytes]
) -> None:
    file = two.folder / "first/libone.so"
    file.write_bytes(change(file.read_bytes()))
    assert two.judge("tool").loaded[0] == "second/libone.so"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda _: b"", "file too short", id="empty"),
        pytest.param(lambda data: data[:40], "file too short", id="40 bytes"),
        pytest.param(lambda data: data[:70], "cannot read file data", id="70 bytes"),
        pytest.param(
            lambda _: b"/* GNU ld script */ GROUP ( libc.so.6 )" + 60 * b" ",
            "invalid ELF header",
            id="linker script",
        ),
        pytest.param(
            replaced(EI_DATA, b"\2"), "ELF file data encoding not little-endian", id="endianness"
        ),
        pytest.param(
            replaced(EI_VERSION, b"\2"),
            "ELF file version ident does not match current one",
            id="version ident",
        ),
        pytest.param(replaced(EI_OSABI, b"\x09"), "ELF file OS ABI invalid", id="FreeBSD"),
        pytest.param(replaced(EI_ABIVERSION, b"\1"), "ELF file ABI version invalid", id="ABI 1"),
        pytest.param(
            replaced(EI_OSABI, b"\3\x20"), "ELF file ABI version invalid", id="GNU ABI 32"
        ),
        pytest.param(replaced(EI_PAD, b"\1"), "nonzero padding in e_ident", id="padding"),
        pytest.param(
            replaced(E_VERSION, b"\2"), "ELF file version does not match current one", id="version"
        ),
        pytest.param(
            replaced(E_TYPE, b"\1\0"), "only ET_DYN and ET_EXEC can be loaded", id="object"
        ),
        pytest.param(
            replaced(E_TYPE, b"\4\0"), "only ET_DYN and ET_EXEC can be loaded", id="core file"
        ),
        pytest.param(
            replaced(E_PHENTSIZE, b"\x20\0"),
            "ELF file's phentsize not the expected size",
            id="size of program headers",
        ),
        pytest.param(
            replaced(E_PHOFF, struct.pack("<Q", 1 << 40)), "cannot read file data", id="no headers"
        ),
        pytest.param(
            replaced(E_PHNUM, b"\0\0"), "object file has no loadable segments", id="no segments"
        ),
        pytest.param(replaced(E_TYPE, b"\2\0"), "cannot dynamically load executable", id="program"),
    ],
)
def test_a_damaged_file_ends_the_search(
    two: Workshop, change: Callable[[bytes], bytes], words: str
) -> None:
    file = two.folder / "first/libone.so"
    file.write_bytes(change(file.read_bytes()))
    assert words in two.judge("tool").error


def test_a_folder_of_that_name_ends_the_search(two: Workshop) -> None:
    os.remove(two.folder / "first/libone.so")
    os.mkdir(two.folder / "first/libone.so")
    # at a start, the loader has no words for an errno, and prints its number
    two.library("libuser.so", "", ["second/libone.so"], FIRST_THEN_SECOND)
    two.program("host")
    words = "cannot read file data: Is a directory"
    assert words in two.judge_dlopen("libuser.so", "host").error


def test_a_dangling_link_is_passed_over(two: Workshop) -> None:
    os.remove(two.folder / "first/libone.so")
    os.symlink("nowhere", two.folder / "first/libone.so")
    assert two.judge("tool").loaded[0] == "second/libone.so"


def test_a_search_folder_that_is_a_file_is_passed_over(two: Workshop) -> None:
    shutil.rmtree(two.folder / "first")
    (two.folder / "first").write_text("no folder")
    assert two.judge("tool").loaded[0] == "second/libone.so"


@pytest.mark.ordinary_user
def test_a_file_that_may_not_be_read_is_passed_over(two: Workshop) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read every file")
    os.chmod(two.folder / "first/libone.so", 0)
    assert two.judge("tool").loaded[0] == "second/libone.so"


def test_if_only_the_other_class_is_found_the_error_says_so(two: Workshop) -> None:
    for folder in ("first", "second"):
        file = two.folder / folder / "libone.so"
        file.write_bytes(replaced(EI_CLASS, b"\1")(file.read_bytes()))
    assert "wrong ELF class: ELFCLASS32" in two.judge("tool").error


def test_if_only_another_machine_is_found_it_is_simply_not_there(two: Workshop) -> None:
    for folder in ("first", "second"):
        file = two.folder / folder / "libone.so"
        file.write_bytes(replaced(E_MACHINE, struct.pack("<H", 183))(file.read_bytes()))
    outcome = two.judge("tool")
    assert "No such file or directory" in outcome.error
    assert outcome.resolution is not None
    assert outcome.resolution.problems[0].id == "wrong-machine"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(replaced(EI_CLASS, b"\1"), "wrong ELF class: ELFCLASS32", id="class"),
        pytest.param(replaced(E_MACHINE, b"\xb7\0"), "No such file or directory", id="machine"),
    ],
)
def test_a_path_is_not_looked_for_elsewhere(
    shop: Workshop, change: Callable[[bytes], bytes], words: str
) -> None:
    shop.library("libone.so")
    shop.program("tool")
    file = shop.folder / "libone.so"
    file.write_bytes(change(file.read_bytes()))
    assert words in shop.start("tool", f"now:{file}")[1]
    _, resolution = shop.predict_file(file, "tool")
    assert shop.start("tool", f"now:{file}")[1].endswith(resolution.problems[0].message)


def test_a_missing_program_of_dlopen(shop: Workshop) -> None:
    shop.program("other")
    shop.program("tool")
    outcome = shop.judge_dlopen("other", "tool")
    assert "cannot dynamically load position-independent executable" in outcome.error


def test_a_program_at_a_fixed_address_is_no_library(shop: Workshop) -> None:
    shop.program("other", [], "-no-pie")
    shop.program("tool")
    assert "cannot dynamically load executable" in shop.judge_dlopen("other", "tool").error


def test_a_library_that_forbids_dlopen(shop: Workshop) -> None:
    shop.library("libone.so", "", [], "-Wl,-z,nodlopen")
    shop.program("tool")
    assert "shared object cannot be dlopen()ed" in shop.judge_dlopen("libone.so", "tool").error


def test_a_library_that_forbids_dlopen_can_be_needed(shop: Workshop) -> None:
    shop.library("libone.so", "", [], "-Wl,-z,nodlopen")
    shop.program("tool", ["libone.so"], RUNPATH + "$ORIGIN")
    assert shop.judge("tool").loaded[0] == "libone.so"


def test_a_library_without_a_dynamic_section(shop: Workshop) -> None:
    shop.library("libone.so")
    shop.program("tool")
    file = shop.folder / "libone.so"
    data = bytearray(file.read_bytes())
    start, count = struct.unpack_from("<Q", data, E_PHOFF)[0], data[E_PHNUM]
    for index in range(count):
        at = start + 56 * index
        if struct.unpack_from("<I", data, at)[0] == 2:  # PT_DYNAMIC
            struct.pack_into("<I", data, at, 0)  # PT_NULL
    file.write_bytes(data)
    assert "object file has no dynamic section" in shop.judge_dlopen("libone.so", "tool").error


def test_a_segment_that_is_not_on_a_page(shop: Workshop) -> None:
    shop.library("libone.so")
    shop.program("tool")
    file = shop.folder / "libone.so"
    data = bytearray(file.read_bytes())
    start = struct.unpack_from("<Q", data, E_PHOFF)[0]
    offset = struct.unpack_from("<Q", data, start + 8)[0]
    struct.pack_into("<Q", data, start + 8, offset + 8)  # the first PT_LOAD's p_offset
    file.write_bytes(data)
    words = "ELF load command address/offset not page-aligned"
    assert words in shop.judge_dlopen("libone.so", "tool").error
