"""Directions, lengths, owners and errors: what C has no words for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from libferry.build.zig import zig_home
from libferry.contract import ErrorRule, Length, Parameter, Signature, declare, read_header
from libferry.contract.preprocess import OWN_INCLUDES
from libferry.errors import DeclarationError

ABI = "x86_64-sysv"
NEEDS_ZIG = pytest.mark.needs("ziglang", install="pip install 'libferry[headers]'")


def only(text: str) -> Signature:
    (signature,) = declare(text, ABI).functions.values()
    return signature


def first(text: str) -> Parameter:
    return only(text).parameters[0]


@pytest.mark.parametrize(
    ("words", "direction", "length"),
    [
        ("FERRY_IN", "in", None),
        ("FERRY_OUT", "out", None),
        ("FERRY_INOUT", "inout", None),
        ("FERRY_OUT()", "out", None),
        ("FERRY_IN(n)", "in", "n"),
        ("FERRY_OUT(*capacity)", "out", "*capacity"),
        ("FERRY_INOUT(n * 4)", "inout", "n * 4"),
        ("FERRY_OUT(sizeof(int) * n)", "out", "n * 4"),
        ("FERRY_OUT(2 * *capacity * 2)", "out", "*capacity * 4"),
        ("FERRY_OUT(SIZE)", "out", "256"),
        ("FERRY_OUT(SIZE / 2 + 1)", "out", "129"),
    ],
)
def test_a_direction_may_have_a_length(words: str, direction: str, length: str | None) -> None:
    text = f"enum {{ SIZE = 256 }}; int f({words} int *p, int n, size_t *capacity);"
    found = first(text)
    assert (found.direction, found.length) == (direction, length)


def test_a_length_is_read_as_it_is_written() -> None:
    assert Length.read("n") == Length("n")
    assert Length.read("*n * 4") == Length("n", pointed=True, factor=4)
    assert Length.read("16") == Length("", factor=16)
    for text in ("n", "*n", "n * 4", "*n * 4", "16"):
        assert str(Length.read(text)) == text


def test_text_and_memory_that_is_owned() -> None:
    signature = only("FERRY_OWNED(free) FERRY_STRING char *copy(FERRY_STRING const char *text);")
    assert (signature.owned, signature.string) == ("free", True)
    assert signature.parameters[0].string
    out = first("void make(FERRY_OWNED(thing_free) struct thing **made);")
    assert (out.owned, out.direction) == ("thing_free", "out")


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("FERRY_ERROR(< 0) int", ErrorRule("<", 0)),
        ("FERRY_ERROR(!= OK, last_error) int", ErrorRule("!=", 0, "last_error")),
        ("FERRY_ERROR(== -1) long", ErrorRule("==", -1)),
        ("FERRY_ERROR(>= 1 << 3) int", ErrorRule(">=", 8)),
        ("FERRY_ERROR(== NULL) void *", ErrorRule("==", 0)),
        ("FERRY_ERROR(== ((void *)0), why) char *", ErrorRule("==", 0, "why")),
        ("FERRY_ERROR(== (void *)-1) void *", ErrorRule("==", 2**64 - 1)),
    ],
)
def test_an_error_rule_compares_the_result(rule: str, expected: ErrorRule) -> None:
    assert only(f"enum {{ OK }}; {rule} f(void);").error == expected


@pytest.mark.parametrize(
    ("text", "complaint", "hint"),
    [
        ("void f(FERRY_OUT(lne) char *b, int len);", "lne is neither", "its parameters: len"),
        ("void f(FERRY_OUT(n + 1) char *b, int n);", "cannot be followed", "times a constant"),
        ("void f(FERRY_OUT(p) char *b, int *p);", "p of b is no integer", "*p?"),
        ("void f(FERRY_OUT(x) char *b, double x);", "no integer", "is an integer"),
        ("void f(FERRY_OUT const char *b);", "what it points to is const", "contract.md"),
        ("void f(FERRY_IN int b);", "b is no pointer", "contract.md"),
        ("void f(FERRY_IN FERRY_OUT int *b);", "two directions", "contract.md"),
        ("void f(FERRY_STRING double *b);", "b is no text", "char *"),
        ("void f(FERRY_ERROR(< 0) int *b);", "for a function, not for b", "contract.md"),
        ("FERRY_IN int f(void);", "for a parameter", "contract.md"),
        ("FERRY_OWNED(free) int f(void);", "returns no pointer", "contract.md"),
        ("FERRY_OWNED int *f(void);", "name of one function", "FERRY_OWNED(free)"),
        ("FERRY_ERROR(< 0) void f(void);", "returns nothing", "contract.md"),
        ("FERRY_ERROR(0) int f(void);", "needs a comparison", "FERRY_ERROR(< 0)"),
        ("FERRY_ERROR(< WRONG) int f(void);", "'WRONG' is not a known", "FERRY_ERROR"),
        ("FERRY_ERROR(< 0) int *f(void);", "an address is not < anything", "NULL"),
    ],
)
def test_a_meaning_that_has_none_is_refused(text: str, complaint: str, hint: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        declare(text, ABI)
    assert "header:1: " in str(caught.value)
    assert complaint in str(caught.value)
    assert hint in caught.value.hint


def test_a_library_says_that_one_thread_may_call_it() -> None:
    assert declare("int f(void);", ABI).thread_safe
    assert not declare("FERRY_NOT_THREAD_SAFE int f(void);", ABI).thread_safe
    assert not declare("FERRY_NOT_THREAD_SAFE;\nint f(void);", ABI).thread_safe


HEADER = """
#include "ferry.h"
FERRY_ERROR(< 0, last_error)
int latest(FERRY_OUT(len) char *buf, int len, FERRY_INOUT int *count, FERRY_STRING const char *k);
FERRY_OWNED(release) char *copy(FERRY_IN(n) const void *data, int n);
"""


@NEEDS_ZIG
def test_the_words_pass_through_the_preprocessor(tmp_path: Path) -> None:
    (tmp_path / "words.h").write_text("#include <stdio.h>\n" + HEADER)
    through = read_header(tmp_path / "words.h", ABI)
    plain = declare(HEADER, ABI)
    for name in ("latest", "copy"):
        assert through.functions[name] == plain.functions[name]
    assert through.functions["latest"].error == ErrorRule("<", 0, "last_error")


@NEEDS_ZIG
def test_a_header_that_defines_the_words_away_for_others_keeps_them_for_us() -> None:
    away = "#ifndef FERRY_OUT\n#define FERRY_OUT\n#endif\nint f(FERRY_OUT int *p);\n"
    header = read_header(away, ABI, define={"ANY": 1})
    assert header.functions["f"].parameters[0].direction == "out"


COMPILERS = [
    ("cc", "-std=c99", "header.c"),
    ("c++", "-std=c++11", "header.cc"),
    ("c++", "-std=c++20", "header.cc"),
]


@pytest.mark.parametrize(("compiler", "standard", "name"), COMPILERS)
@NEEDS_ZIG
def test_any_compiler_reads_such_a_header(
    compiler: str, standard: str, name: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(HEADER)
    options = [standard, "-Wall", "-Wextra", "-Werror", f"-I{OWN_INCLUDES}", "-c", name]
    for program in ([str(zig_home() / "zig"), compiler], [shutil.which(compiler)]):
        if program[0] is not None:
            command = [*filter(None, program), *options, "-o", "header.o"]
            subprocess.run(command, cwd=tmp_path, check=True)
