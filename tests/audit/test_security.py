"""Hardening: what a compiler's flag switches off is found, and what it switches on is not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pefile  # type: ignore[import-untyped]
import pytest

from tests.audit.compiling import GCC, ZIG, build, cross, findings, program, rules, the

# without the C library's start files, which Debian compiles without CET
HARD = ("-Wl,-z,relro,-z,now,-z,noexecstack", "-fcf-protection=full", "-nostdlib")


@GCC
@pytest.mark.parametrize(
    ("rule", "bad"),
    [
        ("executable-stack", ["-Wl,-z,execstack"]),
        ("no-relro", ["-Wl,-z,norelro"]),
        ("no-cet", ["-fcf-protection=none"]),
        ("relative-search-path", ["-Wl,-rpath,lib"]),
        ("relative-search-path", ["-Wl,-rpath,$ORIGIN:"]),
        ("writable-search-path", ["-Wl,-rpath,/tmp/build/lib"]),
        ("writable-code", ["-Wl,--omagic"]),
    ],
)
def test_a_linkers_flag_is_found(rule: str, bad: list[str], tmp_path: Path) -> None:
    assert rule not in rules(build(tmp_path, "libgood.so", *HARD))
    assert rule in rules(build(tmp_path, "libbad.so", *HARD, *bad))


@GCC
def test_functions_that_are_bound_late_are_found(tmp_path: Path) -> None:
    code = "int puts(const char *); int f(void) { return puts(0); }"
    assert "lazy-binding" in rules(build(tmp_path, "liba.so", "-Wl,-z,relro,-z,lazy", code=code))
    assert "lazy-binding" not in rules(build(tmp_path, "libb.so", "-Wl,-z,now", code=code))


@GCC
def test_nothing_can_be_bound_late_where_nothing_is_called(tmp_path: Path) -> None:
    bare = build(tmp_path, "liba.so", "-nostdlib", "-Wl,-z,relro,-z,lazy")
    assert "lazy-binding" not in rules(bare)


@GCC
def test_assembly_without_a_note_makes_the_stack_executable(tmp_path: Path) -> None:
    """The linker leaves PT_GNU_STACK out, or sets its flag: both end the same."""
    (tmp_path / "f.s").write_text(".globl f\nf: ret\n")
    made = build(tmp_path, "liba.so", str(tmp_path / "f.s"), "-Wl,--no-warn-execstack")
    assert "executable-stack" in rules(made)
    (tmp_path / "f.s").write_text('.globl f\nf: ret\n.section .note.GNU-stack,"",%progbits\n')
    assert "executable-stack" not in rules(build(tmp_path, "libb.so", str(tmp_path / "f.s")))


@GCC
@pytest.mark.needs("readelf", install="apt-get install binutils")
def test_text_relocations_are_found_where_readelf_sees_them(tmp_path: Path) -> None:
    (tmp_path / "f.s").write_text(".globl f\nf: movabs $counter, %rax\n.section .note.GNU-stack\n")
    made = build(tmp_path, "liba.so", str(tmp_path / "f.s"), "-Wl,-z,notext")
    assert "TEXTREL" in subprocess.check_output(["readelf", "-d", made], text=True)
    assert "text-relocation" in rules(made)
    assert "text-relocation" not in rules(build(tmp_path, "libb.so"))


@GCC
def test_a_program_at_a_fixed_address_is_found(tmp_path: Path) -> None:
    assert "no-pie" in rules(program(tmp_path, "fixed", "-no-pie"))
    assert "no-pie" not in rules(program(tmp_path, "random", "-pie", "-fPIE"))


@ZIG
def test_arms_branch_protection_is_looked_for(tmp_path: Path) -> None:
    arm, guarded = ("aarch64-linux-gnu", "-nostdlib"), "-mbranch-protection=standard"
    assert "no-bti" in rules(cross(tmp_path, "liba.so", *arm))
    assert "no-bti" not in rules(cross(tmp_path, "libb.so", *arm, guarded))


@ZIG
def test_a_dll_without_address_randomisation_is_found(tmp_path: Path) -> None:
    made = cross(tmp_path, "good.dll", "x86_64-windows-gnu")
    assert not {"no-aslr", "no-nx"} & rules(made)
    with pefile.PE(str(made)) as pe:
        pe.OPTIONAL_HEADER.DllCharacteristics &= ~0x0140  # DYNAMIC_BASE, NX_COMPAT
        pe.write(str(tmp_path / "bad.dll"))
    assert {"no-aslr", "no-nx"} <= rules(tmp_path / "bad.dll")


@GCC
def test_the_message_names_the_folder(tmp_path: Path) -> None:
    made = build(tmp_path, "liba.so", "-Wl,-rpath,/var/tmp/x")
    found = the("writable-search-path", findings(made))
    assert found.subject == "/var/tmp/x"
    assert found.message == "RUNPATH has /var/tmp/x, where everybody may put a library"
