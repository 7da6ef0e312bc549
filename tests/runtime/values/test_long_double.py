"""Floating-point numbers of every width, against compilers, numpy and soft-float.

``long double`` is an x87 number on x86, binary128 on most 64-bit targets, a double on
Windows and Apple's systems.
"""

from __future__ import annotations

import ctypes
import math
import random
import struct
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libferry.abi import ABIS, Real
from libferry.contract import parse_type
from libferry.errors import ArgumentTypeError, ArgumentValueError
from libferry.runtime.values import decode, encode

from .compiled import data_of

X87 = Real("long double", 16, "x87")
QUAD = Real("long double", 16, "binary128")
SINGLE = Real("float", 4, "binary32")
HERE = "x86_64-sysv"
x87_host = pytest.mark.skipif(np.finfo(np.longdouble).nmant != 63, reason="needs an x87")

# beside random ones: ties at each form's last place, the borders of the normal numbers
EDGES = [
    "0x1.00000000000008p0",
    "0x1.00000000000018p0",
    "0x1.0000000000000001p0",
    "0x1.0000000000000003p0",
    "0x1.00000000000000018p0",
    "0x1.00000000000000000000000000008p0",
    "0x1.00000000000000000000000000018p0",
    "0x1.ffffffffffffffffp0",
    "0x1p-1074",
    "0x1.8p-1074",
    "0x1.fffffffffffffp-1023",
    "0x1.fffffffffffff7p1023",
]
EXTENDED_EDGES = [
    "0x1p-16382",
    "0x1.fffffffffffffffep-16383",
    "0x1p-16445",
    "0x1.8p-16445",
    "0x1.8p-16494",
    "0x1.fffffffffffffffep16383",
    "1e4932",
    "3.3621031431120935063e-4932",
    "1.18973149535723176502e4932",
]


def literals(wide: bool) -> list[str]:
    chance = random.Random(3)
    texts = [*EDGES, *(EXTENDED_EDGES if wide else [])]
    lowest, highest = (-4960, 4931) if wide else (-330, 307)
    for _ in range(150):
        digits = "".join(chance.choices("0123456789", k=chance.randint(1, 45)))
        texts.append(f"{chance.randint(1, 9)}.{digits}e{chance.randint(lowest, highest)}")
    return texts


def number(text: str) -> Fraction:
    """Exactly what a C constant says."""
    if not text.startswith("0x"):
        return Fraction(Decimal(text))
    mantissa, _, power = text[2:].partition("p")
    whole, _, rest = mantissa.partition(".")
    return Fraction(int(whole + rest, 16)) * Fraction(2) ** (int(power) - 4 * len(rest))


@pytest.mark.needs("ziglang", install="pip install ziglang")
@pytest.mark.parametrize("abi", sorted(ABIS))
def test_constants_are_rounded_as_the_compiler_does(abi: str, tmp_path: Path) -> None:
    ctype = parse_type("long double", abi)
    assert isinstance(ctype, Real)
    texts = literals(wide=ctype.form != "binary64")
    values = [("long double", f"{text}L") for text in texts]
    values += [("double", f"(double){text}L") for text in texts]
    images = data_of(abi, "", values, tmp_path)
    for text, image, as_double in zip(texts, images, images[len(texts) :], strict=False):
        assert encode(abi, ctype, number(text)) == image, f"{text} on {abi}"
        double = decode(abi, ctype, image)
        assert struct.pack("<d", double) == as_double, f"(double){text} on {abi}"


@x87_host
@given(st.integers(-(2**63), 2**63 - 1), st.integers(1, 2**63 - 1), st.integers(-16000, 16000))
def test_a_quotient_is_what_the_x87_divides(top: int, bottom: int, power: int) -> None:
    """Both integers are x87 numbers, so the x87's quotient is rounded once."""
    quotient = np.longdouble(top) / np.longdouble(bottom)
    scaled = np.ldexp(quotient, power)
    if abs(power) > 15_900:  # scaling may round again
        scaled, power = quotient, 0
    exact = Fraction(top, bottom) * Fraction(2) ** power
    data = encode(HERE, X87, exact)
    assert data[:10] == scaled.tobytes()[:10]
    assert encode(HERE, X87, scaled) == data
    with np.errstate(over="ignore", under="ignore"):
        assert decode(HERE, X87, data) == float(scaled)


@x87_host
@given(st.binary(min_size=8, max_size=8), st.integers(0, 2**16 - 1))
def test_any_x87_bytes_are_what_the_processor_takes_them_for(low: bytes, top: int) -> None:
    integer_bit = 0 if top & 0x7FFF == 0 else 0x80  # without it the number is none
    data = low[:7] + bytes([low[7] & 0x7F | integer_bit]) + struct.pack("<H", top) + bytes(6)
    with np.errstate(all="ignore"):
        host = np.frombuffer(data, np.longdouble)[0]
        as_double = float(host)
    ours = decode(HERE, X87, data)
    assert isinstance(ours, float)
    if math.isnan(as_double):
        assert math.isnan(ours)
        assert math.copysign(1, ours) == (-1 if top & 0x8000 else 1)
    else:
        assert struct.pack("<d", ours) == struct.pack("<d", as_double)


@pytest.fixture(scope="module")
def soft_float(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """Arithmetic of binary128, from the compiler's own library."""
    folder = tmp_path_factory.mktemp("quad")
    (folder / "quad.c").write_text(
        """
        void divide(const long long *a, const long long *b, __float128 *to)
        { *to = (__float128)*a / (__float128)*b; }
        void times(__float128 *to, double by) { *to *= (__float128)by; }
        double narrow(const __float128 *from) { return (double)*from; }
        void widen(double from, __float128 *to) { *to = (__float128)from; }
        """
    )
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-gnu", "-O1"]
    command += ["-shared", "-fPIC", "-o", "quad.so", "quad.c"]
    subprocess.run(command, cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "quad.so"))
    library.times.argtypes = (ctypes.c_void_p, ctypes.c_double)
    library.narrow.restype = ctypes.c_double
    library.widen.argtypes = (ctypes.c_double, ctypes.c_void_p)
    return library


@pytest.mark.needs("ziglang", install="pip install ziglang")
@given(st.integers(-(2**63), 2**63 - 1), st.integers(1, 2**63 - 1), st.floats(1e-300, 1e300))
def test_binary128_agrees_with_soft_float(
    soft_float: ctypes.CDLL, top: int, bottom: int, factor: float
) -> None:
    memory = ctypes.create_string_buffer(32)
    place = ctypes.addressof(memory) + -ctypes.addressof(memory) % 16
    soft_float.divide(
        ctypes.byref(ctypes.c_longlong(top)),
        ctypes.byref(ctypes.c_longlong(bottom)),
        ctypes.c_void_p(place),
    )
    quotient = ctypes.string_at(place, 16)
    assert encode(HERE, QUAD, Fraction(top, bottom)) == quotient
    assert decode(HERE, QUAD, quotient) == soft_float.narrow(ctypes.c_void_p(place))
    soft_float.widen(factor, ctypes.c_void_p(place))
    assert encode(HERE, QUAD, factor) == ctypes.string_at(place, 16)


@given(st.floats(width=64))
@pytest.mark.parametrize("ctype", [X87, QUAD], ids=["x87", "binary128"])
def test_a_float_comes_back_bit_by_bit(ctype: Real, value: float) -> None:
    back = decode(HERE, ctype, encode(HERE, ctype, value))
    assert struct.pack("<d", back) == struct.pack("<d", value)


@pytest.mark.parametrize("ctype", [X87, QUAD], ids=["x87", "binary128"])
@pytest.mark.parametrize("bits", [0x7FF8000000000123, 0xFFF0000000000001, 0x7FF4000000000000])
def test_a_nan_keeps_its_sign_and_payload(ctype: Real, bits: int) -> None:
    (nan,) = struct.unpack("<d", struct.pack("<Q", bits))
    back = decode(HERE, ctype, encode(HERE, ctype, nan))
    assert struct.pack("<d", back) == struct.pack("<Q", bits)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (2**16384, "does not fit in long double"),
        (Decimal("1e999999999"), "does not fit in long double"),
        (Fraction(10**5000), "does not fit in long double"),
        ("1.5", "str is not a number"),
        (1j, "complex is not a number"),
        (None, "NoneType is not a number"),
    ],
    ids=["an int", "a Decimal", "a Fraction", "a str", "a complex", "None"],
)
def test_what_is_no_long_double_is_refused(value: object, error: str) -> None:
    with pytest.raises((ArgumentTypeError, ArgumentValueError), match=error) as caught:
        encode(HERE, X87, value)
    assert caught.value.hint


def test_tiny_numbers_become_zero_of_their_sign() -> None:
    assert encode(HERE, X87, Decimal("-1e-999999999")) == bytes(9) + b"\x80" + bytes(6)
    assert encode(HERE, X87, Fraction(1, 10**6000)) == bytes(16)


def test_a_float_is_rounded_once() -> None:
    """By way of a double, 1 + 2**-24 + 2**-60 would become a tie and round down to 1."""
    assert decode(
        HERE, SINGLE, encode(HERE, SINGLE, 1 + Fraction(1, 2**24) + Fraction(1, 2**60))
    ) == (1 + 2**-23)


def test_numbers_of_other_kinds_are_exact() -> None:
    third = Fraction(1, 3)
    assert encode(HERE, X87, third) != encode(HERE, X87, float(third))
    assert encode(HERE, X87, Decimal("0.5")) == encode(HERE, X87, 0.5)
    assert encode(HERE, X87, 2**63 + 1) == encode(HERE, X87, np.longdouble(2**63) + 1)
    assert encode(HERE, X87, True) == encode(HERE, X87, 1)
    assert encode(HERE, X87, np.float32(0.1)) == encode(HERE, X87, float(np.float32(0.1)))
