"""ctypes' test cases of numbers: each type in each place, as argument and as result.

After CPython's test_cfuncs.py, test_functions.py, test_numbers.py and test_parameters.py,
with their values; see sides.py. Where ctypes cuts a number that does not fit, libferry
refuses it, which is tested here, too.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest

import libferry
from libferry.errors import ArgumentTypeError, ArgumentValueError

from .sides import IN_PROCESS, SIDES, WINDOWS_SIDES, opened


class Third(NamedTuple):
    """A C type, a number of it, and the third of that as C divides."""

    name: str
    ctype: str
    value: float
    third: float
    ctypes: Any


THIRDS = [
    Third("schar", "signed char", -126, -42, ctypes.c_byte),
    Third("uchar", "unsigned char", 255, 85, ctypes.c_ubyte),
    Third("short", "short", -32766, -10922, ctypes.c_short),
    Third("ushort", "unsigned short", 65535, 21845, ctypes.c_ushort),
    Third("int", "int", -2147483646, -715827882, ctypes.c_int),
    Third("uint", "unsigned int", 4294967295, 1431655765, ctypes.c_uint),
    Third("long", "long", -2147483646, -715827882, ctypes.c_long),
    Third("ulong", "unsigned long", 4294967295, 1431655765, ctypes.c_ulong),
    Third("llong", "long long", -9223372036854775806, -3074457345618258602, ctypes.c_longlong),
    Third(
        "ullong",
        "unsigned long long",
        18446744073709551615,
        6148914691236517205,
        ctypes.c_ulonglong,
    ),
    Third("float", "float", -42.0, -14.0, ctypes.c_float),
    Third("double", "double", 42.0, 14.0, ctypes.c_double),
    Third("ldouble", "long double", 42.0, 14.0, ctypes.c_longdouble),
]
UNSIGNED = ("uchar", "ushort", "uint", "ulong", "ullong")


def declare(convention: str = "", prefix: str = "") -> str:
    """Give the declarations of the functions that divide."""
    return "".join(
        f"{ctype} {convention} {prefix}third_{name}({ctype} v);"
        f"{ctype} {convention} {prefix}third_second_{name}(signed char x, {ctype} v);\n"
        for name, ctype, *_ in THIRDS
    )


HEADER = """
    extern long long last_signed;
    extern unsigned long long last_unsigned;
    void keep(int v);
    int sum_int(signed char b, short h, int i, long l, float f, double d);
    float sum_float(signed char b, short h, int i, long l, float f, double d);
    double sum_double(signed char b, short h, int i, long l, float f, double d);
    long double sum_ldouble(signed char b, short h, int i, long l, float f, long double d);
    long long sum_llong(signed char b, short h, int i, long l, float f, double d);
    long long sum_seven(signed char b, short h, int i, long l, float f, double d, long long q);
    long double product(long double a, long double b);
    long double product_of_doubles(double a, double b);
    long double difference(long double a, long double b);
    bool opposite(bool b);
    double _Complex turned(double _Complex z);
    float _Complex turned_float(float _Complex z);
    double square_root(double v);
    short short_of(long l);
    """ + declare()

STDCALL = declare("__stdcall", "std_")


def define(convention: str = "", prefix: str = "") -> str:
    """Give the definitions of the functions that divide."""
    return "".join(
        f"API {ctype} {convention} {prefix}third_{name}({ctype} v) {{ {kept} return v / 3; }}\n"
        f"API {ctype} {convention} {prefix}third_second_{name}(signed char x, {ctype} v)"
        f"{{ (void)x; {kept} return v / 3; }}\n"
        for name, ctype, *_ in THIRDS
        for kept in [f"last_{'un' * (name in UNSIGNED)}signed = v;"]
    )


SOURCE = """
    API long long last_signed = 0;
    API unsigned long long last_unsigned = 0;
    API void keep(int v) { last_signed = v; }
    API int sum_int(signed char b, short h, int i, long l, float f, double d)
    { return (int)(b + h + i + l + f + d); }
    API float sum_float(signed char b, short h, int i, long l, float f, double d)
    { return (float)(b + h + i + l + f + d); }
    API double sum_double(signed char b, short h, int i, long l, float f, double d)
    { return b + h + i + l + f + d; }
    API long double sum_ldouble(signed char b, short h, int i, long l, float f, long double d)
    { return b + h + i + l + f + d; }
    API long long sum_llong(signed char b, short h, int i, long l, float f, double d)
    { return (long long)(b + h + i + l + f + d); }
    API long long sum_seven(signed char b, short h, int i, long l, float f, double d, long long q)
    { return (long long)(b + h + i + l + f + d) + q; }
    API long double product(long double a, long double b) { return a * b; }
    API long double product_of_doubles(double a, double b) { return (long double)a * b; }
    API long double difference(long double a, long double b) { return a - b; }
    API bool opposite(bool b) { return !b; }
    API double _Complex turned(double _Complex z) { return z * 1.0i; }
    API float _Complex turned_float(float _Complex z) { return z * 1.0if; }
    API double square_root(double v) { return __builtin_sqrt(v); }
    API short short_of(long l) { return (short)l; }
    """ + define()


@pytest.fixture(scope="module", params=SIDES)
def lib(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[libferry.Library]:
    with opened(request.param, HEADER, SOURCE, tmp_path_factory) as library:
        yield library


@pytest.fixture(scope="module", params=WINDOWS_SIDES)
def stdcall(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[libferry.Library]:
    variables = "extern long long last_signed; extern unsigned long long last_unsigned;"
    definitions = "API long long last_signed = 0; API unsigned long long last_unsigned = 0;"
    header, source = variables + STDCALL, definitions + define("__stdcall", "std_")
    with opened(request.param, header, source, tmp_path_factory) as library:
        yield library


def received(lib: libferry.Library, case: Third) -> int:
    """Give what the C function said that it received, and forget it."""
    if case.name in UNSIGNED:
        got, lib.last_unsigned = lib.last_unsigned, 1
    else:
        got, lib.last_signed = lib.last_signed, 1
    assert isinstance(got, int)
    return got


@pytest.mark.parametrize("case", THIRDS, ids=lambda case: case.name)
def test_a_number_of_every_type(lib: libferry.Library, case: Third) -> None:
    result = lib[f"third_{case.name}"](case.value)
    assert (result, type(result)) == (case.third, type(case.value))
    assert received(lib, case) == case.value


@pytest.mark.parametrize("case", THIRDS, ids=lambda case: case.name)
def test_a_number_of_every_type_after_a_byte(lib: libferry.Library, case: Third) -> None:
    assert lib[f"third_second_{case.name}"](-1, case.value) == case.third
    assert received(lib, case) == case.value


@pytest.mark.parametrize("case", THIRDS, ids=lambda case: case.name)
def test_a_number_of_every_type_by_stdcall(stdcall: libferry.Library, case: Third) -> None:
    for _ in range(3):  # a stack that is popped twice, or never, shows later
        assert stdcall[f"std_third_{case.name}"](case.value) == case.third
        assert received(stdcall, case) == case.value
        assert stdcall[f"std_third_second_{case.name}"](-1, case.value) == case.third
        assert received(stdcall, case) == case.value


@pytest.mark.parametrize(
    ("function", "value"),
    [
        ("third_schar", 128),
        ("third_schar", -129),
        ("third_uchar", 256),
        ("third_uchar", -1),
        ("third_ushort", 65536),
        ("third_int", 2**31),
        ("third_uint", -1),
        ("third_llong", 2**63),
        ("third_ullong", 2**64),
    ],
)
def test_a_number_that_does_not_fit_is_refused(
    lib: libferry.Library, function: str, value: int
) -> None:
    with pytest.raises(ArgumentValueError, match=rf"argument 1 \(v\): {value} does not fit"):
        lib[function](value)


def test_a_void_function_gives_none(lib: libferry.Library) -> None:
    assert lib.keep(42) is None
    assert lib.last_signed == 42
    assert lib.keep(-42) is None
    assert lib.last_signed == -42


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        ("sum_int", int),
        ("sum_float", float),
        ("sum_double", float),
        ("sum_ldouble", float),
        ("sum_llong", int),
    ],
)
def test_six_types_together(lib: libferry.Library, function: str, kind: type) -> None:
    for sign in (1, -1):
        result = lib[function](sign, 2 * sign, 3 * sign, 4 * sign, 5.0 * sign, 6.0 * sign)
        assert (result, type(result)) == (21 * sign, kind)


def test_seven_types_together(lib: libferry.Library) -> None:
    assert lib.sum_seven(1, 2, 3, 4, 5.0, 6.0, 21) == 42
    assert lib.sum_seven(1, 2, 3, 4, 5.0, 6.0, 2**62) == 2**62 + 21


def test_a_character_is_passed_as_the_number_it_is(lib: libferry.Library) -> None:
    assert lib.sum_int(1, ord("x"), 3, 4, 5.0, 6.0) == 139


def test_only_the_low_part_of_a_short_result_counts(lib: libferry.Library) -> None:
    assert lib.short_of(0x10004) == 4
    assert lib.short_of(0x8000) == -(2**15)


def test_products_in_long_double(lib: libferry.Library) -> None:
    assert lib.product(1.5, -2.5) == -3.75
    assert lib.product_of_doubles(3.0, 0.25) == 0.75


# Significant bits of long double: binary128 has 113, the x87 64, a double 53. The psABI of
# each names its format; Microsoft's compiler and the 32-bit Arm ABI have a double.
LONG_DOUBLE_BITS = {
    "x86_64-sysv": 64,
    "i386-sysv": 64,
    "aarch64-aapcs64": 113,
    "arm-hardfloat": 53,
    "riscv64-lp64d": 113,
    "loongarch64-lp64d": 113,
    "x86_64-windows": 53,
    "i386-windows": 53,
}


@pytest.mark.parametrize("exponent", [52, 53, 63, 64, 112, 113])
def test_a_long_double_argument_has_all_its_bits(lib: libferry.Library, exponent: int) -> None:
    more = 1 if exponent < LONG_DOUBLE_BITS[lib.abi] else 0
    assert lib.difference(2**exponent + 1, 2**exponent) == more
    assert lib.difference(Fraction(2**exponent + 1, 2**200), 2.0 ** (exponent - 200)) == (
        more / 2**200
    )


def test_a_bool_is_a_bool(lib: libferry.Library) -> None:
    assert lib.opposite(True) is False
    assert lib.opposite(False) is True


def test_complex_numbers_turn(lib: libferry.Library) -> None:
    assert lib.turned(3 + 4j) == -4 + 3j
    assert lib.turned_float(-1.5 + 0.25j) == -0.25 - 1.5j


def test_square_roots(lib: libferry.Library) -> None:
    assert lib.square_root(4.0) == 2.0
    assert lib.square_root(2.0) == math.sqrt(2.0)


class Index:
    def __index__(self) -> int:
        return -42


class Floating:
    def __float__(self) -> float:
        return 42.0


def test_objects_that_say_what_number_they_are(lib: libferry.Library) -> None:
    assert lib.third_int(Index()) == -14
    assert lib.third_int(True) == 0
    assert lib.third_short(np.int64(-42)) == -14
    assert lib.third_double(Floating()) == 14.0
    assert lib.third_double(np.float32(42)) == 14.0
    assert lib.third_double(42) == 14.0


@pytest.mark.parametrize("value", [None, "42", b"*", [42], 42.0, object()])
def test_what_is_no_integer_is_refused(lib: libferry.Library, value: object) -> None:
    with pytest.raises(ArgumentTypeError, match="third_int, argument 1"):
        lib.third_int(value)


@pytest.mark.parametrize("value", [None, "42", b"*", [42.0], 42j, object()])
def test_what_is_no_float_is_refused(lib: libferry.Library, value: object) -> None:
    with pytest.raises(ArgumentTypeError, match="third_double, argument 1"):
        lib.third_double(value)


@pytest.mark.parametrize("values", [(), (1, 2)])
def test_too_few_and_too_many_are_refused(lib: libferry.Library, values: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentTypeError, match="third_int"):
        lib.third_int(*values)


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Iterator[libferry.Library]:
    with opened(IN_PROCESS, HEADER, SOURCE, tmp_path_factory) as library:
        yield library


@pytest.mark.parametrize("case", THIRDS, ids=lambda case: case.name)
def test_ctypes_says_the_same(native: libferry.Library, case: Third) -> None:
    function = ctypes.CDLL(str(native.binary.path))[f"third_second_{case.name}"]
    function.restype, function.argtypes = case.ctypes, (ctypes.c_byte, case.ctypes)
    for value in (case.value, 0, 7, 126):
        assert native[f"third_second_{case.name}"](0, value) == function(0, value)
