"""Names, identity and leftovers of a build."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.audit.compiling import GCC, ZIG, build, cross, findings, rules, the


@GCC
def test_a_library_without_a_soname_is_found_and_a_plug_in_is_not(tmp_path: Path) -> None:
    assert "no-soname" in rules(build(tmp_path, "liba.so"))
    assert "no-soname" not in rules(build(tmp_path, "libb.so", "-Wl,-soname,libb.so.1"))
    assert "no-soname" not in rules(build(tmp_path, "_plugin.so"))


@GCC
def test_a_renamed_library_is_not_found_by_its_name(tmp_path: Path) -> None:
    made = build(tmp_path, "liba.so.1.0", "-Wl,-soname,liba.so.1")
    assert "other-soname" not in rules(made)
    renamed = tmp_path / "libnew.so"
    shutil.copy(made, renamed)
    assert the("other-soname", findings(renamed)).subject == "liba.so.1"
    (tmp_path / "liba.so.1").symlink_to(renamed)
    assert "other-soname" not in rules(renamed)


@GCC
def test_a_file_without_identity_is_found(tmp_path: Path) -> None:
    assert "no-build-id" in rules(build(tmp_path, "liba.so", "-Wl,--build-id=none"))
    assert "no-build-id" not in rules(build(tmp_path, "libb.so", "-Wl,--build-id=sha1"))


@ZIG
def test_a_mach_o_file_has_a_uuid(tmp_path: Path) -> None:
    assert "no-build-id" not in rules(cross(tmp_path, "liba.dylib", "aarch64-macos"))


@GCC
@pytest.mark.needs("strip", install="apt-get install binutils")
def test_symbols_to_strip_and_symbols_that_nobody_can_find_again(tmp_path: Path) -> None:
    made = build(tmp_path, "liba.so", "-g", "-Wl,--build-id=none")
    assert rules(made) & {"stripped", "unstripped"} == {"unstripped"}
    subprocess.run(["strip", made], check=True)
    assert rules(made) & {"stripped", "unstripped"} == {"stripped"}
    named = build(tmp_path, "libb.so", "-s", "-Wl,--build-id=sha1")
    assert not rules(named) & {"stripped", "unstripped"}


@GCC
def test_the_builders_paths_are_found_until_they_are_mapped_away(tmp_path: Path) -> None:
    code = 'const char *where(void) { return "/home/me/project/a.c"; }'
    found = the("build-path", findings(build(tmp_path, "liba.so", code=code)))
    assert found.subject == "/home/me/project/a.c"
    assert "build-path" not in rules(build(tmp_path, "libb.so", code=code.replace("/home/me/", "")))


@GCC
def test_the_compilers_own_option_takes_them_away(tmp_path: Path) -> None:
    code = "const char *where(void) { return __FILE__; }"
    home = f"-ffile-prefix-map={tmp_path}=/home/me/project"  # wherever the tests run
    assert "build-path" in rules(build(tmp_path, "liba.so", home, "-s", code=code))
    mapped = f"-ffile-prefix-map={tmp_path}=."
    assert "build-path" not in rules(build(tmp_path, "libb.so", mapped, "-s", code=code))
