"""Symbols that are missing, and where those come from that are not."""

from __future__ import annotations

import pytest

from .workshop import Workshop

pytestmark = pytest.mark.needs("gcc", install="apt-get install gcc libc6-dev")

RUNPATH = "-Wl,--enable-new-dtags,-rpath,$ORIGIN"
CALL = "int answer(void); int use(void) { return answer(); }"
POINTER = "extern int answer; int *use = &answer;"
NOW = {"LD_BIND_NOW": "1"}


def test_missing_data_fails_at_once(shop: Workshop) -> None:
    shop.library("libone.so", POINTER)
    shop.program("tool", ["libone.so"], RUNPATH)
    assert "undefined symbol: answer" in shop.judge("tool").error


def test_a_missing_function_fails_when_it_is_called(shop: Workshop) -> None:
    shop.library("libone.so", CALL)
    shop.program("tool", ["libone.so"], RUNPATH)
    outcome = shop.judge("tool")
    assert outcome.loaded[0] == "libone.so"
    assert outcome.resolution is not None
    later = outcome.resolution.problems[0]
    assert (later.id, later.when) == ("missing-symbol-later", "call")
    assert outcome.resolution.loads
    assert shop.start("tool", "call:use")[1].endswith(later.message)


@pytest.mark.parametrize("flag", ["-Wl,-z,now", "environment"])
def test_a_missing_function_fails_at_once_if_all_are_bound(shop: Workshop, flag: str) -> None:
    from_environment = flag == "environment"
    shop.library("libone.so", CALL, [], *([] if from_environment else [flag]))
    shop.program("tool", ["libone.so"], RUNPATH)
    outcome = shop.judge("tool", environment=NOW if from_environment else {})
    assert "undefined symbol: answer" in outcome.error


@pytest.mark.parametrize(("mode", "fails"), [("now", True), ("lazy", False)])
def test_dlopen_says_when(shop: Workshop, mode: str, fails: bool) -> None:
    shop.library("libone.so", CALL)
    shop.program("tool")
    outcome = shop.judge_dlopen("libone.so", "tool", mode=mode)
    assert bool(outcome.error) is fails


@pytest.mark.parametrize(
    "code", [f"#pragma weak answer\n{CALL}", f"#pragma weak answer\n{POINTER}"]
)
def test_a_weak_reference_is_never_missed(shop: Workshop, code: str) -> None:
    shop.library("libone.so", code)
    shop.program("tool", ["libone.so"], RUNPATH)
    assert shop.judge("tool", environment=NOW).loaded[0] == "libone.so"


def test_a_declaration_that_nothing_uses_is_never_looked_up(shop: Workshop) -> None:
    shop.library("libone.so", "", [], "-Wl,-u,answer")
    shop.program("tool", ["libone.so"], RUNPATH)
    assert shop.judge("tool", environment=NOW).loaded[0] == "libone.so"


def test_the_host_program_may_have_it(shop: Workshop) -> None:
    shop.library("libone.so", CALL)
    shop.library("libanswer.so", "int answer(void) { return 42; }")
    shop.program("with", ["libanswer.so"], RUNPATH)
    shop.program("without")
    assert shop.judge_dlopen("libone.so", "with").loaded
    assert "undefined symbol: answer" in shop.judge_dlopen("libone.so", "without").error


def test_the_host_programs_own_export_counts(shop: Workshop) -> None:
    shop.library("libone.so", "int main(void); int use(void) { return main(); }")
    shop.program("tool")
    assert "libone.so" in shop.judge_dlopen("libone.so", "tool").loaded


def test_what_the_host_does_not_export_does_not_count(shop: Workshop) -> None:
    shop.library("libone.so", "int main(void); int use(void) { return main(); }")
    shop.program("tool", [], "-Wl,--no-export-dynamic")
    assert "undefined symbol: main" in shop.judge_dlopen("libone.so", "tool").error


def test_a_hidden_symbol_is_none(shop: Workshop) -> None:
    hidden = '__attribute__((visibility("hidden"))) int answer(void) { return 42; }'
    shop.library("libanswer.so", hidden)
    shop.library("libone.so", CALL, ["libanswer.so"], RUNPATH)
    shop.program("tool", ["libone.so"], RUNPATH)
    assert "undefined symbol: answer" in shop.judge("tool", environment=NOW).error


def test_a_symbol_of_a_sibling_counts(shop: Workshop) -> None:
    shop.library("libone.so", POINTER)
    shop.library("libtwo.so", "int answer = 42;")
    shop.program("tool", ["libone.so", "libtwo.so"], RUNPATH)
    assert shop.judge("tool").loaded[:2] == ("libone.so", "libtwo.so")


def test_dt_symbolic_looks_in_itself_first(shop: Workshop) -> None:
    shop.library("libone.so", "int answer = 42; int *use = &answer;", [], "-Wl,-Bsymbolic")
    shop.program("tool", ["libone.so"], RUNPATH)
    assert shop.judge("tool").loaded[0] == "libone.so"


def test_the_programs_copy_of_a_librarys_variable(shop: Workshop) -> None:
    shop.library("libone.so", "int answer = 42; int *use(void) { return &answer; }")
    mine = "extern int answer; int *mine(void) { return &answer; }"
    shop.program("tool", ["libone.so"], "-no-pie", "-fno-pic", RUNPATH, code=mine)
    assert shop.judge("tool", environment=NOW).loaded[0] == "libone.so"


def test_a_version_that_only_the_caller_knows(shop: Workshop) -> None:
    script = shop.folder / "script"
    versions = f"-Wl,--version-script,{script}"
    script.write_text("V1 { global: answer; local: *; };")
    answer = "int answer(void) { return 42; }"
    shop.library("libnew.so", answer, [], versions, soname="libone.so")
    shop.library("libuser.so", CALL, ["libnew.so"], RUNPATH)
    script.write_text("V1 { global: other; local: *; };")
    shop.library("libone.so", "int other(void) { return 1; }", [], versions)
    shop.program("tool", ["libuser.so"], RUNPATH)
    assert "undefined symbol: answer, version V1" in shop.judge("tool", environment=NOW).error


def test_an_unversioned_reference_takes_the_oldest_hidden_version(shop: Workshop) -> None:
    script = shop.folder / "script"
    script.write_text("V1 { global: answer; local: *; }; V2 { global: answer; } V1;")
    plain = "int answer(void) { return 1; }"
    shop.library("libone.so", plain)
    shop.library("libuser.so", CALL, ["libone.so"], RUNPATH)
    shop.program("tool", ["libuser.so"], RUNPATH)
    both = """
        __asm__(".symver old, answer@V1\\n.symver new, answer@V2");
        int old(void) { return 1; } int new(void) { return 2; }"""
    shop.library("libone.so", both, [], f"-Wl,--version-script,{script}")
    assert "libone.so" in shop.judge("tool", environment=NOW).loaded


def test_an_unversioned_reference_does_not_take_a_later_hidden_version(shop: Workshop) -> None:
    script = shop.folder / "script"
    script.write_text("V1 { global: first; local: *; }; V2 { global: answer; } V1;")
    shop.library("libone.so", "int answer(void) { return 1; }")
    shop.library("libuser.so", CALL, ["libone.so"], RUNPATH)
    shop.program("tool", ["libuser.so"], RUNPATH)
    later = """
        __asm__(".symver new, answer@V2");
        int new(void) { return 2; } int first(void) { return 1; }"""
    shop.library("libone.so", later, [], f"-Wl,--version-script,{script}")
    assert "undefined symbol: answer" in shop.judge("tool", environment=NOW).error
