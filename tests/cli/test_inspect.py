"""``libferry inspect``: what a file is, and whether it can be called here."""

from __future__ import annotations

import pytest

from tests.cli.conftest import DLL32, LIBZ, NEEDS_DLL32, NEEDS_LIBZ, ferry


@NEEDS_LIBZ
def test_the_answer_comes_first() -> None:
    lines = ferry("inspect", LIBZ, "--no-exports").out.splitlines()
    assert lines == [
        "ELF 64-bit x86_64 shared library for linux",
        f"file      {LIBZ}",
        "soname    libz.so.1",
        "needed    libc.so.6",
        "callable  yes, in this process, or in a worker, through this kernel (x86_64-sysv)",
    ]


@NEEDS_LIBZ
def test_exports_are_counted_and_listed() -> None:
    lines = ferry("inspect", LIBZ).out.splitlines()
    count = next(line for line in lines if line.startswith("exports"))
    assert "functions" in count
    assert "  zlibVersion" in lines
    assert "  inflateMark@@ZLIB_1.2.3.4" in lines


@NEEDS_DLL32
def test_a_dll_is_read_without_anything_that_could_run_it() -> None:
    ran = ferry("inspect", DLL32, "--json", environment={"PATH": "/nonexistent"})
    assert ran.code == 0
    answer = ran.json
    assert (answer["format"], answer["bits"], answer["cpu"]) == ("pe", 32, "i386")
    assert "crc32" in {export["name"] for export in answer["exports"]}
    assert answer["host"].keys() in (
        {"abi", "through", "isolation"},
        {"error", "tried", "happened", "hint"},
    )


@NEEDS_LIBZ
def test_what_cannot_be_hosted_has_a_hint() -> None:
    ran = ferry("inspect", LIBZ, "--no-exports", "--sysroot", "/no/such/folder")
    assert "callable  no: the sysroot /no/such/folder has no /lib64/ld-linux" in ran.out
    assert ran.out.splitlines()[-1].startswith("hint")


@pytest.mark.needs("/bin/ls", install="apt-get install coreutils")
def test_an_executable_is_not_a_library() -> None:
    answer = ferry("inspect", "/bin/ls", "--json", "--no-exports").json
    assert answer["kind"] == "executable"
    assert answer["host"]["error"] == "NoRunner"
    assert "exports" not in answer


def test_a_bare_name_is_an_installed_library() -> None:
    assert ferry("inspect", "libc.so.6", "--json").json["soname"] == "libc.so.6"
