"""Reading C declarations as people write them."""

from __future__ import annotations

import pytest

from libferry.abi import FunctionType, Opaque, Pointer, Record
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


@pytest.mark.parametrize(
    "text",
    [
        "struct s { int a; }; struct s __stdcall f(int v);",
        "struct s { int a; } __stdcall f(int v);",
        "enum e { A }; enum e __stdcall f(int v);",
        "struct s { int a; }; struct s *__stdcall f(int v);",
    ],
)
def test_a_convention_may_stand_behind_a_tag(text: str) -> None:
    (signature,) = declare(text, "i386-windows").functions.values()
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


def test_a_type_may_be_written_without_a_name() -> None:
    header = declare("struct point { int x, y; }; enum { SIZE = 4 };", "x86_64-sysv")
    for text, size in [("struct point[3]", 24), ("int[SIZE]", 16), ("struct point *", 8)]:
        assert getattr(parse_type(text, "x86_64-sysv", header), "size", 0) == size
    compare = parse_type("int (*)(const void *, const void *)", "x86_64-sysv")
    assert compare.name == "int (*)(const void *, const void *)"


def test_a_pointer_names_its_record_and_a_value_is_one() -> None:
    header = declare("typedef struct { int x; } point; point f(point *p);", "x86_64-sysv")
    function = header.functions["f"]
    assert function.result == header.types["point"]
    assert function.parameters[0].type == Pointer(Opaque("point"), 8)


def test_what_was_declared_before_is_known() -> None:
    first = declare("typedef struct s { int a; } s; enum { N = 2 };", "x86_64-sysv")
    (signature,) = declare("s f(s a[N], struct s b);", "x86_64-sysv", first).functions.values()
    assert signature.result == first.types["struct s"]
    assert signature.parameters[1].type == first.types["s"]


def test_a_record_that_takes_itself_is_known_by_name_there() -> None:
    text = "struct node { int (*visit)(struct node); struct node *next; };"
    record = declare(text, "x86_64-sysv").types["struct node"]
    assert isinstance(record, Record)
    visit = record.fields[0].type
    assert isinstance(visit, Pointer)
    assert isinstance(visit.to, FunctionType)
    assert visit.to.parameters == (Opaque("struct node"),)


def test_variables_are_those_that_others_can_see() -> None:
    text = """
    extern int counter;
    extern const char *const names[];
    double ratio = 0.5, table[2] = { 1, 2 };
    static int hidden;
    typedef int handler(int); extern handler run; extern handler *current;
    """
    header = declare(text, "x86_64-sysv")
    assert set(header.variables) == {"counter", "names", "ratio", "table", "current"}
    assert set(header.functions) == {"run"}
    with pytest.raises(UnsupportedDeclaration, match="each thread has its own"):
        declare("extern __thread int mine;", "x86_64-sysv")


def test_an_asm_label_is_the_symbols_name() -> None:
    text = 'int f(int) __asm__("f" "64"); int g(int) __asm__("_g$new"); int h(int);'
    for abi, symbols in [
        ("x86_64-sysv", ["f64", "_g$new", "h"]),
        ("aarch64-apple", ["f64", "g$new", "h"]),  # C's names begin with _ there
    ]:
        found = declare(text, abi).functions
        assert [signature.symbol for signature in found.values()] == symbols


def test_a_later_declaration_adds_to_an_earlier_one() -> None:
    text = "int __stdcall f(); int f(int); int g(int); int g(FERRY_OUT int *p); int g(int *);"
    functions = declare(text, "i386-windows").functions
    assert (functions["f"].convention, len(functions["f"].parameters)) == ("stdcall", 1)
    assert functions["g"].parameters[0].direction == "out"


def test_inline_functions_have_no_symbol_and_are_left_out() -> None:
    text = "static inline int a(int x) { return x; } inline int b(void) { return 1; } int c(void);"
    assert set(declare(text, "x86_64-sysv").functions) == {"c"}


def test_constants_are_enumerators_and_macros() -> None:
    header = declare("#define A 6\n#define B (A << 1)\nenum { C = B + 1 };", "x86_64-sysv")
    assert dict(header.constants) == {"A": 6, "B": 12, "C": 13}


def test_a_union_may_be_passed_as_its_first_member() -> None:
    text = """
    typedef union { int *i; float *f; } either __attribute__((transparent_union));
    union other { long l; char c; } __attribute__((__transparent_union__));
    void f(either a, union other b);
    """
    assert spelled(text) == ["void f(int *a, long b)"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("struct s f(void);", "struct s, which is not defined"),
        ("void f(struct s);", "parameter 1 is struct s, which is not defined"),
        ("struct s { struct t x; };", "member 'x': struct t is not defined"),
        ("struct s { void x; };", "void has no size"),
        ("struct s { int f(void); };", "has no size"),
        ("struct s { int a : 40; };", "40 bits"),
        ("int a[n];", "an array's length is not a constant: 'n' is not a known constant"),
        ("enum { A = 1 / 0 };", "the value of A is not a constant: it divides by zero"),
        ("__int128 f(void);", ""),
        ("_Float16 f(void);", "_Float16"),
        ("int __vectorcall f(int);", "__vectorcall functions cannot be called"),
        ("__attribute__((regparm(3))) int f(int);", "regparm"),
        ("struct __attribute__((ms_struct)) s { int a; };", "ms_struct"),
        ("long long double f(void);", "is not a type"),
        ("API int f(void);", "if it is a macro"),
        ("int f(void) g;", "'g' is not expected here"),
        ("int 3;", "'3' is not expected here"),
    ],
)
def test_what_is_wrong_is_named(text: str, reason: str) -> None:
    if not reason:
        assert declare(text, "x86_64-sysv")
        reason = "i386-sysv has no __int128"
        abi = "i386-sysv"
    else:
        abi = "x86_64-sysv"
    with pytest.raises(DeclarationError) as caught:
        declare(text, abi)
    assert reason in f"{caught.value} {caught.value.hint}"


def test_an_enum_may_be_a_bit_field_without_a_name() -> None:
    """``enum e : 3`` is C23's underlying type only where a type follows."""
    text = "enum e { A, B }; struct s { enum e : 3; unsigned m : 8; };"
    (field,) = declare(text, "x86_64-sysv").types["struct s"].fields  # type: ignore[union-attr]
    assert (field.name, field.bit, field.bits) == ("m", 3, 8)
