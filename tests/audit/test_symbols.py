"""Exports: what a contract does not have, and what two libraries both have."""

from __future__ import annotations

from pathlib import Path

from libferry.audit import Settings
from tests.audit.compiling import GCC, GXX, build, cxx, findings, rules, the

THROWS = "#include <string>\nint f(int x) { if (x) throw std::string(); return 0; }"


@GCC
def test_what_the_contract_does_not_have_is_leaked(tmp_path: Path) -> None:
    code = "int helper(void) { return 1; } int notice(void) { return helper(); }"
    promised = Settings(exports=frozenset({"notice"}))
    leaky = findings(build(tmp_path, "liba.so", code=code), promised)
    assert the("leaked-symbol", leaky).subject == "helper"
    hidden = build(tmp_path, "libb.so", code=f"static {code}")
    assert "leaked-symbol" not in rules(hidden, promised)


@GCC
def test_what_the_contract_has_must_be_exported(tmp_path: Path) -> None:
    promised = Settings(exports=frozenset({"count", "counter", "reset"}))
    found = the("missing-export", findings(build(tmp_path, "liba.so"), promised))
    assert (found.subject, found.severity) == ("reset", "error")


@GCC
def test_without_a_contract_every_export_is_meant(tmp_path: Path) -> None:
    assert "leaked-symbol" not in rules(build(tmp_path, "liba.so"))


@GCC
def test_malloc_for_everybody_is_found(tmp_path: Path) -> None:
    code = "void *malloc(unsigned long n) { (void)n; return 0; }"
    assert "interposed-allocator" in rules(build(tmp_path, "liba.so", code=code))
    mine = build(tmp_path, "libb.so", code=code.replace("malloc", "my_malloc"))
    assert "interposed-allocator" not in rules(mine)


@GXX
def test_a_linked_in_cxx_runtime_is_found_if_it_is_exported(tmp_path: Path) -> None:
    static = ("-static-libstdc++", "-static-libgcc")
    assert "leaked-runtime" in rules(cxx(tmp_path, "liba.so", *static, code=THROWS))
    hidden = cxx(tmp_path, "libb.so", *static, "-Wl,--exclude-libs,ALL", code=THROWS)
    assert "leaked-runtime" not in rules(hidden)
    assert "leaked-runtime" not in rules(cxx(tmp_path, "libc++mine.so", code=THROWS))


def together(folder: Path, one: Path, other: Path) -> list[str]:
    settings = Settings(together=(str(one), str(other)))
    return [
        finding.subject for finding in findings(one, settings) if finding.rule == "symbol-clash"
    ]


@GCC
def test_two_libraries_with_the_same_function_clash(tmp_path: Path) -> None:
    one, other = build(tmp_path, "liba.so"), build(tmp_path, "libb.so")
    assert together(tmp_path, one, other) == ["libb.so"]


@GCC
def test_hidden_functions_do_not_clash(tmp_path: Path) -> None:
    one, other = build(tmp_path, "liba.so"), build(tmp_path, "libb.so", "-fvisibility=hidden")
    assert together(tmp_path, one, other) == []


@GCC
def test_versions_tell_them_apart(tmp_path: Path) -> None:
    made = []
    for version in ("A_1", "B_1"):
        (tmp_path / version).write_text(f"{version} {{ *; }};")
        script = f"-Wl,--version-script,{tmp_path / version}"
        made.append(build(tmp_path, f"lib{version}.so", script))
    assert together(tmp_path, *made) == []


@GXX
def test_cxx_templates_are_meant_to_be_shared(tmp_path: Path) -> None:
    code = "#include <map>\nvoid {}(std::map<int, int> &m) {{ m[1] = 2; }}"
    one = cxx(tmp_path, "liba.so", code=code.format("f"))
    other = cxx(tmp_path, "libb.so", code=code.format("g"))
    assert together(tmp_path, one, other) == []
