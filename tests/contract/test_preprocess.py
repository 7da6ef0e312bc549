"""Headers as they are: includes, conditionals, macros; and when zig is not needed for them."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from libferry.abi import ABIS, Pointer, Void
from libferry.build import BuildError
from libferry.build.zig import TARGETS as BUILD_TARGETS
from libferry.contract import AddressConstant, preprocess, read_header
from libferry.errors import DeclarationError, UnsupportedDeclaration

ABI = "x86_64-sysv"
NEEDS_ZIG = pytest.mark.needs("ziglang", install="pip install 'libferry[headers]'")


@pytest.fixture
def no_zig(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Path:
        raise BuildError("find a compiler", "the package ziglang is not installed", hint="install")

    monkeypatch.setattr(preprocess, "zig_home", missing)


def test_every_abi_has_a_target() -> None:
    assert preprocess.TARGETS.keys() == ABIS.keys()
    for abi, target in BUILD_TARGETS.items():
        assert target.name.startswith(preprocess.TARGETS[abi])


# ---- without zig ----


@pytest.mark.usefixtures("no_zig")
def test_declarations_need_no_compiler(tmp_path: Path) -> None:
    path = tmp_path / "plain.h"
    path.write_text(
        "#ifndef PLAIN_H\n#define PLAIN_H\n#include <stdint.h>\n#include <stdbool.h>\n"
        '#ifdef __cplusplus\nextern "C" {\n#endif\n'
        '#define RATE (44100 * 2)\n#define NAME "x" "y"\n#define API extern\n'
        "API bool f(uint8_t samples[RATE]);\n"
        "#ifdef __cplusplus\n}\n#endif\n#endif\n"
    )
    header = read_header(path, ABI)
    assert str(header.functions["f"]) == "_Bool f(unsigned char *samples)"
    assert dict(header.constants) == {"RATE": 88200, "NAME": "xy"}


@pytest.mark.usefixtures("no_zig")
def test_an_include_is_done_without_if_that_is_enough() -> None:
    header = read_header("#include <stdio.h>\nint f(size_t);\n", ABI)
    assert str(header.functions["f"]) == "int f(unsigned long)"


@pytest.mark.usefixtures("no_zig")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("#include <stdio.h>\nint f(FILE *);\n", "'FILE' is not a known type"),
        ("#if X > 2\nint f(int);\n#endif\n", "#if needs a preprocessor"),
        ("#ifdef X\nint f(int);\n#endif\n", "#ifdef needs a preprocessor"),
    ],
)
def test_without_zig_the_hint_is_how_to_install_it(text: str, reason: str) -> None:
    with pytest.raises(DeclarationError, match="not installed") as caught:
        read_header(text, ABI)
    assert reason in str(caught.value)
    assert "pip install 'libferry[headers]'" in caught.value.hint


# ---- with zig ----


@NEEDS_ZIG
def test_what_is_included_counts_too(tmp_path: Path) -> None:
    (tmp_path / "inner.h").write_text("#define N 3\nstruct inner { int a[N]; };\nint g(void);\n")
    (tmp_path / "outer.h").write_text('#include "inner.h"\nvoid f(struct inner);\n')
    header = read_header(tmp_path / "outer.h", ABI)
    assert {"f", "g"} <= set(header.functions)
    assert header.functions["f"].parameters[0].type == header.types["struct inner"]
    assert header.constants["N"] == 3
    assert list(header.records) == []


@NEEDS_ZIG
def test_conditionals_follow_the_target_and_the_macros_given() -> None:
    text = "#if defined(_WIN64)\nint win(void);\n#elif __SIZEOF_POINTER__ == 8\nint lp64(void);\n"
    text += "#else\nint small(void);\n#endif\n#ifdef EXTRA\nint extra[EXTRA];\n#endif\n"
    for abi, name in [("x86_64-windows", "win"), ("riscv64-lp64d", "lp64"), ("i386-sysv", "small")]:
        assert set(read_header(text, abi).functions) == {name}
    assert set(read_header(text, ABI, define={"EXTRA": 2}).variables) == {"extra"}
    assert set(read_header(text, ABI, define={"EXTRA": "(1 + 1)"}).variables) == {"extra"}


@NEEDS_ZIG
def test_the_machines_own_c_library_is_not_the_targets(tmp_path: Path) -> None:
    """A folder such as /usr/include is only for what zig's C library has not."""
    (tmp_path / "stdio.h").write_text("#error not this one\n")
    (tmp_path / "mine.h").write_text("int mine(void);\n")
    header = read_header("#include <stdio.h>\n#include <mine.h>\n", ABI, include=[tmp_path])
    assert {"mine", "printf"} <= set(header.functions)


@NEEDS_ZIG
def test_one_odd_function_does_not_stop_the_others() -> None:
    text = "#include <stddef.h>\n#if 1\n#endif\n#ifdef X\n#endif\n"
    text += "int good(int);\nint odd(_Float16);\nint unfinished(struct nowhere);\n"
    header = read_header(text, ABI)
    assert header.functions["good"]
    with pytest.raises(UnsupportedDeclaration, match=r"header:7: _Float16"):
        header.functions["odd"]
    with pytest.raises(UnsupportedDeclaration, match="struct nowhere, which is not defined"):
        header.functions["unfinished"]


@NEEDS_ZIG
def test_inline_functions_are_left_out() -> None:
    text = "#include <stdio.h>\nstatic inline int twice(int x) { return 2 * x; }\nint f(void);\n"
    header = read_header(text, ABI)
    assert "twice" not in header.functions
    assert "f" in header.functions


@NEEDS_ZIG
def test_a_macro_is_a_constant_if_it_has_a_value() -> None:
    text = """
    #include <stddef.h>
    #ifdef NOTHING
    #endif
    enum { BASE = 5 };
    #define SUM (BASE + (1 << 4))
    #define OF(x) (SUM * (x))
    #define TWELVE OF(2) - 30
    #define TEXT "a" "b\\n"
    #define JOINED(a, b) a ## b
    #define LATER JOINED(SU, M)
    #define NAMED(x) #x
    #define SPELLED NAMED(a + b)
    #define WIDE L"wide"
    #define HALF .5
    #define NONE ((void *)-1)
    #define UNSIGNED ~0u
    #define LETTER 'a'
    #define SIZE sizeof(struct { char c; double d; })
    #define MEMBER offsetof(struct s, b)
    #define NEGATIVE -1L
    #define FUNCTION(x) x
    #define STATEMENT do { } while (0)
    #define EMPTY
    #define ITSELF ITSELF
    #define UNKNOWN nothing_known
    struct s { int a; double b; };
    """
    constants = read_header(text, ABI).constants
    expected = {
        "BASE": 5, "SUM": 21, "TWELVE": 12, "TEXT": "ab\n", "LATER": 21, "SPELLED": "a + b",
        "WIDE": "wide", "HALF": 0.5, "NONE": AddressConstant(Pointer(Void(), 8), 2**64 - 1),
        "UNSIGNED": 2**32 - 1, "LETTER": 97, "MEMBER": 8, "NEGATIVE": -1,
    }  # fmt: skip
    for name, value in expected.items():
        assert constants[name] == value, name
    for name in ("FUNCTION", "STATEMENT", "EMPTY", "ITSELF", "UNKNOWN", "absent"):
        assert name not in constants
        assert constants.get(name) is None


@NEEDS_ZIG
@pytest.mark.parametrize(
    ("text", "complaint", "hint"),
    [
        ("#include <none.h>\n", r"header:1: 'none.h' file not found", "include=['folder']"),
        ("int a;\n#ifdef X\n#endif\n#if 1 +\n#endif\n", r"header:4: ", "define="),
        ("int a;\n#ifdef X\n#endif\n#error no\n", r"header:4: no", "define="),
    ],
)
def test_an_error_names_the_file_and_the_line(text: str, complaint: str, hint: str) -> None:
    with pytest.raises(DeclarationError, match=re.escape(complaint)) as caught:
        read_header(text, ABI)
    assert hint in caught.value.hint


@NEEDS_ZIG
def test_an_error_in_an_included_file_names_that_one(tmp_path: Path) -> None:
    (tmp_path / "inner.h").write_text("\n\nvoid bad(none_t);\n")
    (tmp_path / "outer.h").write_text('#include "inner.h"\nint f(void);\n')
    header = read_header(tmp_path / "outer.h", ABI)
    with pytest.raises(DeclarationError, match=r"inner\.h:3: 'none_t' is not a known type"):
        header.functions["bad"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"include": ["/no/such/folder"]}, "is no folder"),
        ({"define": {"A B": 1}}, "'A B' is not a macro's name"),
        ({"define": {"A": "1\n#error"}}, "A is not one line"),
    ],
)
@NEEDS_ZIG
def test_folders_and_macros_are_checked(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(DeclarationError, match=re.escape(complaint)):
        read_header("int f(int);", ABI, **options)  # type: ignore[arg-type]


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(DeclarationError, match=r"read the header /no/such\.h: No such file"):
        read_header("/no/such.h", ABI)


@NEEDS_ZIG
def test_many_threads_may_ask_a_header_at_once() -> None:
    """A name that one thread is about to find must not be missing to another."""
    header = read_header("#include <stdio.h>\n#include <stdlib.h>\n#include <time.h>\n", ABI)
    names = [*header.functions]
    start = threading.Barrier(8)

    def ask(_: int) -> list[str]:
        start.wait()
        return [str(header.functions[name]) for name in names]

    with ThreadPoolExecutor(8) as pool:
        first, *others = pool.map(ask, range(8))
    assert all(other == first for other in others)
