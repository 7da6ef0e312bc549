"""``libferry layout``: where the members of a structure lie, and where two ABIs disagree.

The offsets are Clang's: zig cc -target T -c -Xclang -fdump-record-layouts.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import NEEDS_ZIG, ferry

MIXED = "struct mixed { char tag; double value; long count; unsigned on : 1, kind : 3; };"


def test_members_and_holes_are_shown_in_order() -> None:
    assert ferry("layout", MIXED, "--abi", "x86_64-sysv").out.splitlines() == [
        "struct mixed: 32 bytes, aligned to 8 (x86_64-sysv)",
        "offset  size    type          name",
        "0       1       char          tag",
        "1       7       (padding)",
        "8       8       double        value",
        "16      8       long          count",
        "24:0    1 bit   unsigned int  on",
        "24:1    3 bits  unsigned int  kind",
        "24:4    4 bits  (padding)",
        "25      7       (padding)",
    ]


def test_another_abi_lays_it_out_otherwise() -> None:
    out = ferry("layout", MIXED, "--abi", "i386-sysv").out.splitlines()
    assert out[0] == "struct mixed: 20 bytes, aligned to 4 (i386-sysv)"
    assert out[4].split() == ["4", "8", "double", "value"]


def test_a_difference_is_shown_member_by_member_and_is_exit_code_1() -> None:
    ran = ferry("layout", MIXED, "--diff", "x86_64-sysv", "x86_64-windows")
    assert ran.code == 1
    assert ran.out.splitlines() == [
        "struct mixed",
        "member  x86_64-sysv      x86_64-windows",
        "size    32               24               differs",
        "count   at 16, 8 bytes   at 16, 4 bytes   differs",
        "on      at 24:0, 1 bit   at 20:0, 1 bit   differs",
        "kind    at 24:1, 3 bits  at 20:1, 3 bits  differs",
    ]


def test_the_encoding_of_a_number_is_a_difference_too() -> None:
    """long double: 16 bytes on both, one x87 and the other IEEE binary128."""
    ran = ferry("layout", "struct s { long double x; };", "--diff", "x86_64-sysv", "riscv64-lp64d")
    assert ran.code == 1
    assert "at 0, 16 bytes, x87" in ran.out
    assert "at 0, 16 bytes, binary128" in ran.out


def test_what_agrees_is_said_and_is_exit_code_0() -> None:
    ran = ferry("layout", "struct s { int a; };", "--diff", "x86_64-sysv", "i386-windows")
    assert (ran.code, ran.out) == (0, "x86_64-sysv and i386-windows agree on all 1\n")
    shown = ferry("layout", "struct s { int a; };", "--diff", "x86_64-sysv", "i386-sysv", "--all")
    assert "a          at 0, 4 bytes  at 0, 4 bytes" in shown.out


def test_a_record_is_chosen_by_tag_or_typedef() -> None:
    text = "struct a { int x; }; typedef struct { short y; } b; typedef struct a c;"
    for name, first in [("struct a", "struct a"), ("a", "struct a"), ("b", "b"), ("c", "struct a")]:
        assert ferry("layout", text, "--record", name).out.startswith(f"{first}: ")


def test_members_of_what_has_no_name_are_shown_with_it() -> None:
    text = "struct s { int kind; union { int i; float f; } u; struct { char a, b; }; };"
    out = ferry("layout", text, "--abi", "x86_64-sysv").out
    assert [line.split() for line in out.splitlines()[2:]] == [
        ["0", "4", "int", "kind"],
        ["4", "4", "union", "u"],
        ["4", "4", "int", "u.i"],
        ["4", "4", "float", "u.f"],
        ["8", "2", "struct"],
        ["8", "1", "char", "a"],
        ["9", "1", "char", "b"],
        ["10", "2", "(padding)"],
    ]


def test_json_has_the_same_as_numbers() -> None:
    answer = ferry("layout", MIXED, "--abi", "arm-hardfloat", "--json").json
    (record,) = answer["records"]
    assert (record["name"], record["size"], record["alignment"]) == ("struct mixed", 24, 8)
    assert record["rows"][1] == {"offset": 1, "size": 7, "padding": True}
    kind = {"offset": 20, "size": 4, "bit": 1, "bits": 3, "type": "unsigned int", "name": "kind"}
    assert kind in record["rows"]
    differing = ferry("layout", MIXED, "--diff", "x86_64-sysv", "i386-sysv", "--json")
    assert differing.code == 1
    assert differing.json["differ"] == ["struct mixed"]


@NEEDS_ZIG
def test_a_header_shows_its_own_records_and_any_other_by_name(tmp_path: Path) -> None:
    (tmp_path / "inner.h").write_text("struct inner { int a; };\n")
    (tmp_path / "outer.h").write_text('#include "inner.h"\nstruct outer { struct inner i; };\n')
    path = str(tmp_path / "outer.h")
    assert ferry("layout", path).out.startswith("struct outer: 4 bytes")
    assert ferry("layout", path, "--record", "inner").out.startswith("struct inner: 4 bytes")
    text = "#include <time.h>\n"
    tm = ferry("layout", text, "--record", "struct tm", "--abi", "aarch64-apple").out
    assert tm.startswith("struct tm: 56 bytes, aligned to 8 (aarch64-apple)")


@NEEDS_ZIG
def test_macros_and_folders_are_handed_to_the_preprocessor(tmp_path: Path) -> None:
    (tmp_path / "size.h").write_text("#ifdef BIG\n#define N 9\n#else\n#define N 1\n#endif\n")
    text = '#include "size.h"\nstruct s { char c[N]; };'
    assert "1 byte," in ferry("layout", text, "-I", str(tmp_path)).out
    assert "9 bytes," in ferry("layout", text, "-I", str(tmp_path), "-D", "BIG").out


@pytest.mark.parametrize(
    ("words", "code", "error", "hint"),
    [
        ([MIXED, "--abi", "x86_64-windos"], 2, "no such ABI: x86_64-windos", "x86_64-windows"),
        ([MIXED, "--record", "mixd"], 2, "no struct or union", "near matches: mixed"),
        (["int f(void);"], 2, "it defines none itself", "--record"),
        (["/no/such.h"], 2, "No such file", "path"),
        (["struct s { struct t x; };"], 2, "struct t is not defined", "define struct t"),
        ([MIXED, "--abi", "i386-sysv", "--diff", "i386-sysv", "i386-sysv"], 2, "exclude", "one"),
        (["struct s { int x : 33; };"], 2, "33 bits", "as C allows"),
    ],
)
def test_what_cannot_be_laid_out(words: list[str], code: int, error: str, hint: str) -> None:
    ran = ferry("layout", *words)
    assert (ran.code, ran.out) == (code, "")
    first, second = ran.err.splitlines()
    assert error in first
    assert hint in second
