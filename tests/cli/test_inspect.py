"""``libferry inspect``: what a file is, and whether it can be called here."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pefile  # type: ignore[import-untyped]
import pytest

from tests.cli.conftest import DLL32, LIBZ, NEEDS_DLL32, NEEDS_LIBZ, ferry

LIBC = "/usr/lib/x86_64-linux-gnu/libc.so.6"
LIBSTDCXX = "/usr/lib/x86_64-linux-gnu/libstdc++.so.6"


@NEEDS_LIBZ
def test_the_answer_comes_first() -> None:
    lines = ferry("inspect", LIBZ, "--no-exports").out.splitlines()
    assert lines[0] == "ELF 64-bit x86_64 shared library for linux"
    assert [" ".join(line.split()) for line in lines[1:4]] == [
        f"file {LIBZ}",
        "soname libz.so.1",
        "needed libc.so.6",
    ]
    yes = "yes, in this process, or in a worker, through this kernel (x86_64-sysv)"
    assert lines[-1].split(maxsplit=1) == ["callable", yes]


def rows(path: str) -> dict[str, str]:
    lines = ferry("inspect", path, "--no-exports").out.splitlines()
    width = len(lines[1]) - len(path)
    return {line[:width].strip(): line[width:] for line in lines[1:]}


@pytest.mark.needs("readelf", install="apt-get install binutils")
def test_what_a_loader_needs_to_know_is_shown() -> None:
    """As readelf has it, of the C library."""
    command = ["readelf", "-Wlnd", LIBC]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    shown = rows(LIBC)
    assert f"Build ID: {shown['build ID']}" in said
    assert f"OS: {shown['minimum'].replace(' ', ', ABI: ')}" in said
    tls = next(line.split() for line in said.splitlines() if line.startswith("  TLS "))
    size, alignment = int(tls[5], 16), int(tls[-1], 16)
    assert shown["TLS"] == f"{size} bytes, aligned to {alignment}, initial-exec"
    assert shown["hardening"].startswith("full RELRO" if "NOW" in said else "partial RELRO")
    assert "STATIC_TLS" in shown["flags"]


@pytest.mark.needs("cc", install="apt-get install gcc")
@pytest.mark.needs("readelf", install="apt-get install binutils")
def test_the_newest_version_that_is_needed_comes_first(tmp_path: Path) -> None:
    made = tmp_path / "program"
    source = 'int puts(const char *); int main(void) { return puts("hello"); }'
    command = ["cc", "-x", "c", "-", "-o", str(made)]
    subprocess.run(command, input=source, text=True, check=True)
    listed = subprocess.run(
        ["readelf", "-WV", str(made)], capture_output=True, text=True, check=True
    ).stdout
    needed = re.findall(r"Name: GLIBC_([0-9.]+) ", listed)
    newest = max(needed, key=lambda version: [int(part) for part in version.split(".")])
    assert len(needed) > 1
    assert rows(str(made))["versions"].startswith(f"libc.so.6: GLIBC_{newest},")


@NEEDS_LIBZ
def test_exports_are_counted_and_listed() -> None:
    lines = ferry("inspect", LIBZ).out.splitlines()
    count = next(line for line in lines if line.startswith("exports"))
    assert "functions" in count
    assert "  zlibVersion" in lines
    assert "  inflateMark@@ZLIB_1.2.3.4" in lines


@NEEDS_LIBZ
@pytest.mark.needs("nm", install="apt-get install binutils")
def test_versions_are_no_exports_of_their_own() -> None:
    """nm shows the symbol that GNU's linker makes of each version as absolute: A."""
    shown = subprocess.run(["nm", "-D", LIBZ], capture_output=True, text=True, check=True).stdout
    versions = {line.split()[2] for line in shown.splitlines() if " A " in line}
    assert "ZLIB_1.2.0" in versions
    listed = {line.split()[0].split("@")[0] for line in ferry("inspect", LIBZ).out.splitlines()}
    assert not versions & listed


@NEEDS_DLL32
def test_the_exports_of_a_dll_have_their_ordinals() -> None:
    with pefile.PE(DLL32) as pe:
        crc32 = next(s for s in pe.DIRECTORY_ENTRY_EXPORT.symbols if s.name == b"crc32")
    assert f"  crc32 (#{crc32.ordinal})" in ferry("inspect", DLL32).out.splitlines()


@pytest.mark.needs("pydemumble", install="pip install 'libferry[demangle]'")
@pytest.mark.needs(LIBSTDCXX, install="apt-get install libstdc++6")
def test_cxx_names_are_shown_as_they_were_written() -> None:
    name, meaning = "_ZNKSt9exception4whatEv", "std::exception::what() const"
    listed = f"  {name}@@GLIBCXX_3.4  {meaning}"
    assert listed in ferry("inspect", LIBSTDCXX).out.splitlines()
    exports = ferry("inspect", LIBSTDCXX, "--json").json["exports"]
    assert {e["name"]: e["demangled"] for e in exports}[name] == meaning


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
    said = " ".join(ran.out.split())
    assert "callable no: the sysroot /no/such/folder has no /lib64/ld-linux" in said
    assert ran.out.splitlines()[-1].startswith("hint")


@pytest.mark.needs("/bin/ls", install="apt-get install coreutils")
def test_an_executable_is_not_a_library() -> None:
    answer = ferry("inspect", "/bin/ls", "--json", "--no-exports").json
    assert answer["kind"] == "executable"
    assert answer["host"]["error"] == "NoRunner"
    assert "exports" not in answer


def test_a_bare_name_is_an_installed_library() -> None:
    assert ferry("inspect", "libc.so.6", "--json").json["soname"] == "libc.so.6"
