"""What goes wrong: an error, a hint, an exit code, and never a traceback.

1 is "the answer is no", 2 is "could not find out"; ``libferry.cli.failure`` has the
table.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from libferry.cli.failure import EXIT_CODES
from libferry.errors import FerryError
from tests.cli.conftest import ferry

LIBC = "libc.so.6"
ABS = "int abs(int)"
STRLEN = "size_t strlen(const char *)"


@pytest.mark.parametrize(
    ("words", "code", "error", "hint"),
    [
        # the answer is no
        (["call", LIBC, STRLEN, "null"], 1, "SIGSEGV", "load the library again"),
        (["call", LIBC, "int abz(int)", "1"], 1, "does not export", "near matches: abs"),
        (["call", LIBC, ABS], 1, "0 arguments given, 1 declared", "declared: int abs(int)"),
        (["call", LIBC, ABS, "five"], 1, "argument 1: 'five' is not an integer", "0x2a"),
        (["call", LIBC, ABS, "99999999999"], 1, "does not fit in int", "declared: int abs(int)"),
        (["call", LIBC, "void free(const void *)", "hex:0"], 1, "not hexadecimal", "hex:00ff"),
        (["call", LIBC, "void free(void *)", "out"], 1, "how much memory", "out:SIZE"),
        (["call", LIBC, "void free(struct s *)", "text"], 1, "as struct s *", "out:SIZE"),
        (["call", LIBC, "void free(unsigned *)", "out=-1"], 1, "does not fit", "check the value"),
        (["call", LIBC, "void pause(void)", "--timeout", "0.1"], 1, "timeout", "longer"),
        # could not find out
        (["inspect", "/etc/passwd"], 2, "looks like text", ".so"),
        (["call", "/etc/passwd", ABS, "1"], 2, "looks like text", ".so"),
        (["inspect", "/no/such.so"], 2, "no such file", "check the path"),
        (["call", "libnosuch.so.1", ABS, "1"], 2, "it is in none of", "give its path"),
        (["call", LIBC, "int abs(", "1"], 2, "read the declarations", "plain C"),
        (["call", LIBC, "void free(void *)", "@/no/such"], 2, "No such file", "text:@"),
        (["call", LIBC, ABS, "1", "--timeout", "inf"], 2, "--timeout", "--help"),
        (["call", LIBC, ABS, "1", "--encoding", "hex"], 2, "is not an encoding", "utf-8"),
        (["call", LIBC, ABS, "--jsn"], 2, "no such option: --jsn", "put -- before"),
        (["inspect", "--jsn", "x"], 2, "--jsn", "libferry inspect --help"),
        (["call"], 2, "Missing argument", "libferry call --help"),
        (["carry"], 2, "No such command 'carry'", "libferry --help"),
    ],
)
def test_it_says_what_is_wrong_and_what_to_do(
    words: list[str], code: int, error: str, hint: str
) -> None:
    ran = ferry(*words)
    assert (ran.code, ran.out) == (code, "")
    first, *backtrace, last = ran.err.splitlines()
    assert first.startswith("error: ")
    assert error in first
    assert bool(backtrace) == ("SIGSEGV" in first)
    assert last.startswith("hint: ")
    assert hint in last


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["call", LIBC, STRLEN, "null"], 1, "LibraryCrashed"),
        (["call", LIBC, "int abz(int)", "1"], 1, "SymbolNotFound"),
        (["inspect", "/etc/passwd"], 2, "BadBinary"),
        (["call", LIBC], 2, "UsageError"),
    ],
)
def test_with_json_the_error_is_data_and_nothing_else(
    words: list[str], code: int, error: str
) -> None:
    ran = ferry(*words, "--json")
    assert (ran.code, ran.err) == (code, "")
    assert ran.json["error"] == error
    assert set(ran.json) >= {"error", "tried", "happened", "hint"}


def test_a_crash_is_told_with_its_place_and_backtrace() -> None:
    ran = ferry("call", LIBC, STRLEN, "null")
    error, innermost, *_ = ran.err.splitlines()
    assert "SIGSEGV (not mapped) at address 0x0, in libc.so.6+0x" in error
    assert innermost.startswith("#0: libc.so.6+0x")


def test_with_json_a_crash_has_registers_and_the_call() -> None:
    crash = ferry("call", LIBC, STRLEN, "null", "--json").json
    assert (crash["signal"], crash["address"]) == (11, "0x0")
    assert (crash["function"], crash["arguments"]) == ("strlen", ["None"])
    assert crash["registers"]["rip"] == crash["program_counter"]
    assert crash["backtrace"][0].startswith("libc.so.6+0x")


def test_json_behind_two_dashes_is_an_argument() -> None:
    ran = ferry("call", LIBC, ABS, "--", "--json")
    assert ran.err.startswith("error: call abs, argument 1: '--json' is not an integer")


def test_markup_in_what_the_user_wrote_is_not_interpreted(tmp_path: Path) -> None:
    ran = ferry("inspect", str(tmp_path / "[red]x[/red].so"))
    assert "[red]x[/red].so: no such file" in ran.err


def test_every_error_has_an_exit_code() -> None:
    def all_below(kind: type[FerryError]) -> Iterator[type[FerryError]]:
        for below in kind.__subclasses__():
            yield below
            yield from all_below(below)

    ours = {kind for kind in all_below(FerryError) if kind.__module__.startswith("libferry.")}
    assert ours == set(EXIT_CODES)
