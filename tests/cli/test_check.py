"""``libferry check``: the answer first, its reason beside it, the fix below."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.audit.compiling import GCC, ZIG, build, cross
from tests.cli.conftest import DLL32, LIBZ, NEEDS_DLL32, NEEDS_LIBZ, ferry


@NEEDS_LIBZ
def test_yes_is_one_word_and_exit_code_0() -> None:
    ran = ferry("check", LIBZ)
    assert (ran.code, ran.out.splitlines()[0]) == (0, "yes: libz.so.1 loads here")


@GCC
def test_no_has_its_reason_on_the_line_and_the_fix_below(tmp_path: Path) -> None:
    build(tmp_path, "libgone.so", "-Wl,-soname,libgone.so")
    made = build(tmp_path, "libb.so", "-Wl,--no-as-needed", f"-L{tmp_path}", "-lgone")
    ran = ferry("check", str(made))
    answer, fix, first_place = ran.out.splitlines()[:3]
    assert ran.code == 1
    assert answer == "no: libb.so does not load here: needs libgone.so, which is not there"
    assert fix.startswith("  fix: install the library there, or carry it along")
    assert first_place.startswith("  tried ")


def test_what_cannot_be_read_could_not_be_found_out(tmp_path: Path) -> None:
    ran = ferry("check", str(tmp_path / "libgone.so"))
    assert ran.code == 2


@ZIG
def test_a_file_for_another_cpu_wants_to_know_where(tmp_path: Path) -> None:
    made = cross(tmp_path, "liba.so", "riscv64-linux-gnu.2.36", "-nostdlib")
    ran = ferry("check", str(made))
    if ran.code == 0:  # this machine has a loader for it
        return
    assert ran.code == 2
    assert "say where it shall run: --target debian-13-riscv64" in ran.out + ran.err


@NEEDS_DLL32
def test_a_dll_is_for_a_plain_windows() -> None:
    assert " on windows-10-x86" in ferry("check", DLL32).out.splitlines()[0]


@GCC
def test_an_ignored_rule_is_not_asked(tmp_path: Path) -> None:
    made = str(build(tmp_path, "liba.so", "-Wl,-z,norelro"))
    assert "warning no-relro" in ferry("check", made).out
    assert "no-relro" not in ferry("check", made, "--ignore", "no-relro").out
    assert "no-relro" not in ferry("check", made, "--select", "load").out


@GCC
def test_a_warning_is_a_no_if_one_is_strict(tmp_path: Path) -> None:
    made = str(build(tmp_path, "liba.so", "-Wl,-z,norelro"))
    assert ferry("check", made).code == 0
    assert ferry("check", made, "--strict").code == 1


@GCC
def test_a_baseline_is_written_and_then_kept_to(tmp_path: Path) -> None:
    made, known = str(build(tmp_path, "liba.so", "-Wl,-z,norelro")), str(tmp_path / "known.json")
    assert ferry("check", made, "--write-baseline", known).code == 0
    ran = ferry("check", made, "--strict", "--baseline", known)
    assert ran.code == 0
    assert "left out: the baseline has them" in ran.out


@NEEDS_LIBZ
def test_the_tree_has_a_line_for_each_library() -> None:
    out = ferry("check", LIBZ, "--tree").out
    assert "libc.so.6" in out


def test_a_rule_is_explained() -> None:
    out = ferry("check", "--explain", "missing-version").out
    assert out.startswith("missing-version (error, load): A needed library is there, and too old")
    assert "fix:" in out


def test_all_rules_are_listed() -> None:
    lines = ferry("check", "--rules").out.splitlines()
    assert len(lines) > 60
    assert lines[1].startswith("missing-library")


@pytest.mark.parametrize(
    "words", [("--explain", "missing-versoin"), ("--select", "secuirty", LIBZ)]
)
def test_a_misspelled_rule_has_near_matches(words: tuple[str, ...]) -> None:
    ran = ferry("check", *words)
    assert ran.code == 2
    assert "near matches: " in ran.err


def test_no_file_is_a_question_not_asked() -> None:
    ran = ferry("check")
    assert ran.code == 2
    assert "no file was given" in ran.err


@NEEDS_LIBZ
def test_a_bare_name_is_an_installed_library_as_it_is_for_inspect() -> None:
    ran = ferry("check", "libz.so.1")
    assert (ran.code, ran.out.splitlines()[0]) == (0, "yes: libz.so.1 loads here")
    assert ferry("inspect", "libz.so.1").code == 0


@GCC
def test_the_tree_has_every_place_below_what_is_not_found(tmp_path: Path) -> None:
    build(tmp_path, "libgone.so", "-Wl,-soname,libgone.so")
    made = build(tmp_path, "libb.so", "-Wl,--no-as-needed", f"-L{tmp_path}", "-lgone")
    lines = ferry("check", str(made), "--tree").out.splitlines()
    at = next(n for n, line in enumerate(lines) if line.endswith("libgone.so => not found"))
    assert lines[at].startswith("  ├── ")
    assert any("ld.so.cache" in line for line in lines[at + 1 :])
    assert not any(line.startswith("  tried ") for line in lines), "each place once"


@GCC
def test_the_version_of_glibc_is_of_no_interest_to_musl(tmp_path: Path) -> None:
    code = "#include <dlfcn.h>\nvoid *f(void) { return dlopen(0, 1); }"
    made = str(build(tmp_path, "liba.so", code=code))
    assert "  needs GLIBC_" in ferry("check", made, "--target", "debian-13-amd64").out
    assert "  needs GLIBC_" not in ferry("check", made, "--target", "alpine-3.22-amd64").out
