"""Where a file runs: what cross builds and build trees leave in it, and version floors."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.audit.compiling import GCC, ZIG, build, cross, findings, rules, the

THREADS = "#include <pthread.h>\nint go(pthread_t *t) { return pthread_create(t, 0, 0, 0); }"


@GCC
@pytest.mark.parametrize(
    "name", ["crypto.dll", "C:\\work\\lib", "..\\lib", "d:/build"], ids=lambda name: name
)
def test_names_of_windows_in_an_elf_file_are_found(name: str, tmp_path: Path) -> None:
    flag = "-soname" if name.endswith(".dll") else "-rpath"
    made = build(tmp_path, "liba.so", f"-Wl,{flag},{name}")
    assert name in {one.subject for one in findings(made) if one.rule == "windows-name"}
    assert "windows-name" not in rules(build(tmp_path, "libb.so", "-Wl,-soname,libdll.so.1"))


@GCC
@pytest.mark.parametrize("folder", ["/home/me/project/build", "/builds/group/project"])
def test_a_builders_folder_in_the_search_path_is_found(folder: str, tmp_path: Path) -> None:
    made = build(tmp_path, "liba.so", f"-Wl,-rpath,{folder}:$ORIGIN")
    assert the("build-folder", findings(made)).subject == folder


@GCC
def test_a_systems_folder_in_the_search_path_is_nobodys_build(tmp_path: Path) -> None:
    assert "build-folder" not in rules(build(tmp_path, "liba.so", "-Wl,-rpath,/usr/lib/pulseaudio"))


@GCC
def test_a_library_that_is_asked_for_by_its_path_is_found(tmp_path: Path) -> None:
    """The linker notes the path that it was given for a library without a soname."""
    build(tmp_path, "liba.so")
    path = str(tmp_path / "liba.so")
    code = "int count(void); int twice(void) { return 2 * count(); }"
    made = build(tmp_path, "libb.so", "-Wl,--no-as-needed", path, code=code)
    assert the("build-folder", findings(made)).subject == path


@GCC
@pytest.mark.needs("objdump", install="apt-get install binutils")
def test_the_glibc_floor_is_the_newest_version_that_objdump_lists(tmp_path: Path) -> None:
    made = build(tmp_path, "liba.so", "-Wl,--no-as-needed", code=THREADS)
    listed = subprocess.check_output(["objdump", "-T", made], text=True)
    wanted = {tuple(map(int, one.split("."))) for one in re.findall(r"GLIBC_([\d.]+)", listed)}
    newest = "GLIBC_" + ".".join(map(str, max(wanted)))
    found = the("glibc-floor", findings(made))
    assert found.subject == newest
    assert found.evidence["symbols"] == ["pthread_create"]


@ZIG
def test_a_library_for_an_old_glibc_has_an_old_floor(tmp_path: Path) -> None:
    made = cross(tmp_path, "liba.so", "x86_64-linux-gnu.2.17", code=THREADS)
    newest = the("glibc-floor", findings(made)).subject.removeprefix("GLIBC_")
    assert tuple(map(int, newest.split("."))) <= (2, 17)


@ZIG
def test_segments_for_small_pages_are_found_where_large_ones_are_in_use(tmp_path: Path) -> None:
    def with_pages(size: int, cpu: str) -> set[str]:
        flags = f"-Wl,-z,max-page-size={size}"
        return rules(cross(tmp_path, f"lib{cpu}{size}.so", f"{cpu}-linux-gnu", "-nostdlib", flags))

    assert "small-page-alignment" in with_pages(4096, "aarch64")
    assert "small-page-alignment" not in with_pages(65536, "aarch64")
    assert "small-page-alignment" not in with_pages(4096, "x86_64")


@ZIG
def test_a_new_world_file_is_not_for_an_old_world_target(tmp_path: Path) -> None:
    target = "kylin-v10-server-loong64-old-world"
    made = cross(tmp_path, "liba.so", "loongarch64-linux-gnu.2.36", code=THREADS)
    found = the("loongarch-world", findings(made, target=target))
    assert found.severity == "error"
    assert "loongarch-world" not in rules(made, target="openeuler-24.03-loong64")
