"""glibc for two other ABIs: its mathematics, its strings, and its errno."""

from __future__ import annotations

import errno
import math
from collections.abc import Iterator

import pytest

import libferry

from .places import ARM_LIBC, I386, QEMU, needs

LIBM = """
    double cos(double x);
    double pow(double x, double y);
    float powf(float x, float y);
"""
LIBC = """
    size_t strlen(const char *s);
    long strtol(const char *nptr, char **endptr, int base);
    void *memcpy(void *dest, const void *src, size_t n);
    const char *strchr(const char *s, int c);
    const char *inet_ntop(int af, const void *src, char *dst, unsigned int size);
"""

ABIS = [
    pytest.param("/usr/aarch64-linux-gnu/lib", id="aarch64", marks=(QEMU, ARM_LIBC)),
    pytest.param(
        "/lib32",
        id="i386",
        marks=(I386, needs("/lib32/libm.so.6", "apt-get install libc6-i386")),
    ),
]


@pytest.fixture(scope="module", params=ABIS)
def folder(request: pytest.FixtureRequest) -> str:
    assert isinstance(request.param, str)
    return request.param


@pytest.fixture(scope="module")
def libm(folder: str) -> Iterator[libferry.Library]:
    with libferry.load(f"{folder}/libm.so.6", header=LIBM) as library:
        yield library


@pytest.fixture(scope="module")
def libc(folder: str) -> Iterator[libferry.Library]:
    with libferry.load(f"{folder}/libc.so.6", header=LIBC) as library:
        yield library


def within_an_ulp(one: float, other: float) -> bool:
    """Say whether two doubles are equal or neighbours: glibc promises no more than that."""
    return abs(one - other) <= math.ulp(other)


@pytest.mark.parametrize("x", [0.0, 1.0, -0.5, math.pi, 1e10, 1e300, 5e-324])
def test_cos(libm: libferry.Library, x: float) -> None:
    assert within_an_ulp(libm.cos(x), math.cos(x))


def test_cos_of_what_is_no_number(libm: libferry.Library) -> None:
    assert math.isnan(libm.cos(math.inf))
    assert libm.errno == errno.EDOM
    assert math.isnan(libm.cos(math.nan))
    assert libm.errno == 0


@pytest.mark.parametrize(("x", "y"), [(2.0, 0.5), (10.0, -3.0), (-3.0, 3.0), (1.0000001, 1e7)])
def test_pow(libm: libferry.Library, x: float, y: float) -> None:
    assert within_an_ulp(libm.pow(x, y), math.pow(x, y))


def test_pow_where_the_result_is_exact(libm: libferry.Library) -> None:
    assert libm.pow(2.0, 10.0) == 1024.0
    assert libm.pow(2.0, -1074.0) == 5e-324
    assert libm.powf(2.0, -149.0) == 2.0**-149
    assert math.copysign(1.0, libm.pow(-0.0, 3.0)) == -1.0


def test_pow_that_overflows_is_infinite_and_sets_errno(libm: libferry.Library) -> None:
    assert libm.pow(10.0, 400.0) == math.inf
    assert libm.errno == errno.ERANGE


@pytest.mark.parametrize("text", ["", "a", "Feiertagsöffnungszeiten", "春节", "x" * 100_000])
def test_strlen_counts_bytes(libc: libferry.Library, text: str) -> None:
    assert libc.strlen(text) == len(text.encode())


def test_strtol_reads_numbers_and_leaves_errno_alone(libc: libferry.Library) -> None:
    assert libc.strtol("  -2147483648", None, 10) == -(2**31)
    assert libc.errno == 0
    assert libc.strtol("0x7f", None, 0) == 127
    assert libc.strtol("zz", None, 36) == 35 * 36 + 35


def test_strtol_out_of_range_sets_errno_until_the_next_call(libc: libferry.Library) -> None:
    largest = 2**31 - 1 if libc.binary.bits == 32 else 2**63 - 1
    assert libc.strtol("9" * 30, None, 10) == largest
    assert libc.errno == errno.ERANGE
    assert libc.strtol("-" + "9" * 30, None, 10) == -largest - 1
    assert libc.errno == errno.ERANGE
    assert libc.strtol("1", None, 10) == 1
    assert libc.errno == 0


def test_strtol_says_where_the_number_ended(libc: libferry.Library) -> None:
    end = libc.out("char *")
    with libc.buffer(16) as text:
        memoryview(text)[:9] = b"42 apples"
        assert libc.strtol(text, end, 10) == 42
        assert isinstance(end.value, libferry.Pointer)
        assert end.value.address == text.address + 2
        assert end.value.string() == " apples"


def test_memcpy_between_two_buffers(libc: libferry.Library) -> None:
    content = bytes(range(256)) * 256
    with libc.buffer(len(content)) as source, libc.buffer(len(content) + 16) as target:
        memoryview(source)[:] = content
        result = libc.memcpy(target, source, len(content))
        assert isinstance(result, libferry.Pointer)
        assert result.address == target.address
        assert bytes(target) == content + bytes(16)


def test_a_string_result_may_lie_in_what_was_passed(libc: libferry.Library) -> None:
    assert libc.strchr("hello world", ord("o")) == "o world"
    assert libc.strchr("hello world", ord("h")) == "hello world"
    assert libc.strchr("hello world", ord("x")) is None


def test_a_string_result_may_lie_in_what_was_written(libc: libferry.Library) -> None:
    text = bytearray(16)
    assert libc.inet_ntop(2, b"\x7f\x00\x00\x01", text, len(text)) == "127.0.0.1"
    assert text[:10] == b"127.0.0.1\0"
