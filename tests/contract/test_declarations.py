"""Reading C declarations as people write them."""

from __future__ import annotations

import pytest

from libferry.contract import declare, parse_type
from libferry.errors import DeclarationError, UnsupportedDeclaration


def spelled(text: str, abi: str = "x86_64-sysv") -> list[str]:
    return [str(signature) for signature in declare(text, abi).functions.values()]


def test_typedefs_of_the_header_are_resolved() -> None:
    text = "typedef unsigned long uLong; typedef const char *text; uLong f(uLong a, text b);"
    assert spelled(text) == ["unsigned long f(unsigned long a, const char *b)"]


def test_standard_types_are_known_without_an_include() -> None:
    assert spelled("size_t f(uint8_t a, int64_t *b, bool c);") == [
        "unsigned long f(unsigned char a, long long *b, _Bool c)"
    ]


def test_a_header_may_define_a_known_name_itself() -> None:
    assert spelled("typedef short DWORD; DWORD f(DWORD);") == ["short f(short)"]


def test_windows_types_have_windows_meaning() -> None:
    text = "BOOL WINAPI f(HANDLE h, LPCWSTR name, DWORD *size, LPVOID data);"
    (signature,) = declare(text, "i386-windows").functions.values()
    assert str(signature) == "int f(void *h, const wchar_t *name, unsigned int *size, void *data)"
    assert signature.convention == "stdcall"


def test_long_is_as_long_as_on_the_target() -> None:
    for abi, size in [("x86_64-sysv", 8), ("x86_64-windows", 4), ("i386-sysv", 4)]:
        assert parse_type("long", abi) == parse_type("signed long int", abi)
        assert getattr(parse_type("unsigned long", abi), "size", 0) == size


def test_comments_and_compilers_words_are_passed_over() -> None:
    text = """
    /* the
       sum */
    __attribute__((nonnull(1), visibility("default")))
    extern int __cdecl add(const int *__restrict a, // first
                           int b) __attribute__((pure));
    __declspec(dllexport) void go(void);
    #ifdef __cplusplus
    extern "C" {
    #endif
    """
    assert spelled(text) == ["int add(const int *a, int b)", "void go(void)"]


def test_constness_is_that_of_what_is_pointed_to() -> None:
    assert spelled("void f(char *const a, const char *const *b, const char c[8], int d[2]);") == [
        "void f(char *a, const char *const *b, const char *c, int *d)"
    ]


def test_an_error_names_the_line() -> None:
    with pytest.raises(DeclarationError, match="header:3"):
        declare("int f(int);\n\nint g(int;\n", "x86_64-sysv")


def test_a_parameter_of_unknown_type_says_so() -> None:
    with pytest.raises(DeclarationError) as caught:
        declare("int f(unknown_t x);", "x86_64-sysv")
    assert "typedef" in caught.value.hint


@pytest.mark.parametrize("text", ["int f(int) { return 1; }", "int f(_Float16);"])
def test_unsupported_declarations_say_why(text: str) -> None:
    with pytest.raises((UnsupportedDeclaration, DeclarationError)):
        declare(text, "x86_64-sysv")


@pytest.mark.parametrize("text", ["int f(int a)); DROP", "", "int", "sqlite3 *", "a b c", "int;"])
def test_a_type_that_is_none_is_refused(text: str) -> None:
    if text == "int":
        assert parse_type(text, "x86_64-sysv")
        return
    with pytest.raises(DeclarationError):
        parse_type(text, "x86_64-sysv")


def test_an_unknown_type_is_named_with_what_to_add() -> None:
    for text in ("int f(int a, sockaddr_t *b);", "FILE *f(void);", "int f(mystery);"):
        with pytest.raises(DeclarationError, match="is not a known type") as caught:
            declare(text, "x86_64-sysv")
        assert "typedef" in caught.value.hint


def test_an_open_comment_is_named() -> None:
    with pytest.raises(DeclarationError, match="comment is not closed"):
        declare("int f(int); /* and", "x86_64-sysv")


def test_deep_nesting_is_an_error_and_not_a_crash() -> None:
    with pytest.raises(DeclarationError):
        declare("int f(int " + "(" * 5000 + "x" + ")" * 5000 + ");", "x86_64-sysv")
