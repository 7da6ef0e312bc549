"""Whatever a text is: a header, or a DeclarationError; never another exception, or a hang."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libferry.abi import ABIS
from libferry.contract import declare, parse_type, read_contract
from libferry.contract.header import Header
from libferry.contract.reader import Reader
from libferry.contract.tokens import tokenize
from libferry.errors import DeclarationError
from tests.contract import test_compilers_agree as forms

ABI = "i386-windows"
TEXTS = [forms.PACKING, forms.RECORDS, forms.ENUMS, forms.FUNCTIONS, forms.EXTENSIONS]
WORDS = [
    *sorted({word for text in TEXTS for word in tokenize(text).words}),
    *("#define X(a, ...) a ## __VA_ARGS__\n", "#define Y Y Y\n", "X", "Y", "#pragma pack(1)\n"),
    *("#if 0\n", "#endif\n", "#else\n", "/*", "*/", '"', "'", "\\\n", "\n", "1e999999", "9" * 5000),
    *("FERRY_OUT", "FERRY_ERROR", "FERRY_OWNED", "WINAPI", "_In_", "_Pragma", '"pack(2)"', "..."),
]


@contextmanager
def a_reason() -> Iterator[None]:
    """What is within may raise a DeclarationError that says what to do, and nothing else."""
    try:
        yield
    except DeclarationError as error:
        if not error.hint:
            raise AssertionError("no hint") from error


def everything(header: Header) -> None:
    """Ask for all there is; a reason why there is none is an answer, too."""
    for names in (header.functions, header.types, header.constants, header.variables):
        for name in names:
            with a_reason():
                str(names[name])


def read(text: str) -> None:
    with a_reason():
        everything(declare(text, ABI))
    with a_reason():
        everything(Reader(ABIS[ABI], tokenize(text), strict=False).lazily())


@given(st.text())
def test_any_characters(text: str) -> None:
    read(text)
    with a_reason():
        parse_type(text, ABI)


@given(st.binary())
def test_any_bytes(data: bytes) -> None:
    read(data.decode("utf-8", "surrogateescape"))


@given(st.lists(st.sampled_from(WORDS), max_size=40))
@settings(max_examples=400)
def test_words_of_c_in_any_order(words: list[str]) -> None:
    read(" ".join(words))
    with a_reason():
        parse_type(" ".join(words), ABI)


@given(st.sampled_from(TEXTS), st.integers(0, 400), st.integers(0, 3), st.sampled_from(WORDS))
@settings(max_examples=400)
def test_headers_with_a_mistake(text: str, at: int, removed: int, word: str) -> None:
    words = tokenize(text).words
    at %= len(words)
    read(" ".join([*words[:at], word, *words[at + removed :]]))


@pytest.mark.parametrize(
    "text",
    [
        "int f(int " + "(" * 5000 + "x" + ")" * 5000 + ");",
        "int " + "*" * 50_000 + "f(void);",
        "enum { A = " + "-" * 50_000 + "1 };",
        "enum { A = " + "1 ? " * 50_000 + "1" + " : 1" * 50_000 + " };",
        "enum { A = 1" + " + 1" * 5_000 + " };",
        "enum { A = 1 << 100000000000000 };",
        "enum { A = " + "9" * 100_000 + " };",
        "int a[1 / 0];",
        "int a[-1];",
        "struct s { struct s x; };",
        "typedef a a; a f(void);",
        "typedef b a; typedef a b; a f(void);",
        "typedef struct s { int a[sizeof(struct s)]; } s;",
        "enum e { A = sizeof(enum e), B = C, C };",
        "#define A A1 A1\n#define A1 A2 A2\n#define A2 A3 A3\n#define A3 A4 A4\n"
        + "".join(f"#define A{n} A{n + 1} A{n + 1}\n" for n in range(4, 40))
        + "int f(int A);",
        "struct s { int a : 3 : 4; };",
        "int a" + "[2]" * 5000 + ";",
        "int f" + "(int)" * 5000 + ";",
        "typedef int *a0;" + "".join(f"typedef a{n} *a{n + 1};" for n in range(300)),
        "struct a0 { int x; };"
        + "".join(f"struct a{n + 1} {{ struct a{n} x; }};" for n in range(300)),
        "".join(f"#define A{n} A{n + 1}\n" for n in range(300)) + "int f(A0);",
        "typedef int v __attribute__((vector_size(1 << 62)));",
        "struct s { char c __attribute__((aligned(3))); };",
        "struct __attribute__((aligned(-8))) s { char c; };",
        "struct s { char c[0x7fffffffffffffff][0x7fffffffffffffff]; };",
    ],
)
def test_texts_made_to_be_too_much(text: str) -> None:
    read(text)


@given(st.text())
def test_any_contract(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = Path(tmp_path_factory.mktemp("contract")) / "any.toml"
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    with a_reason():
        read_contract(file).header(ABI)
