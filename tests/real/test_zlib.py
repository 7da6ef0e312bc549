"""zlib, six ways as Debian built it: they agree with each other and with Python's."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import libferry

from .places import ROOT
from .zlibs import SIDES, mebibyte

HEADER = """
    typedef unsigned char Bytef;
    typedef unsigned int uInt;
    typedef unsigned long uLong;
    typedef uLong uLongf;
    const char *zlibVersion(void);
    uLong crc32(uLong crc, const Bytef *buf, uInt len);
    uLong adler32(uLong adler, const Bytef *buf, uInt len);
    uLong compressBound(uLong sourceLen);
    int compress(Bytef *dest, uLongf *destLen, const Bytef *source, uLong sourceLen);
    int uncompress(Bytef *dest, uLongf *destLen, const Bytef *source, uLong sourceLen);
"""
Z_OK, Z_DATA_ERROR, Z_BUF_ERROR = 0, -3, -5


def compress(library: libferry.Library, source: bytes) -> bytes:
    packed = bytearray(library.compressBound(len(source)))
    length = library.out("uLongf")
    length.value = len(packed)
    assert library.compress(packed, length, source, len(source)) == Z_OK
    assert isinstance(length.value, int)
    return bytes(packed[: length.value])


@pytest.fixture(scope="module", params=SIDES)
def library(request: pytest.FixtureRequest) -> Iterator[libferry.Library]:
    path, isolation, abi = request.param
    with libferry.load(ROOT / path, header=HEADER, isolation=isolation) as library:
        assert (library.isolation, library.abi) == (isolation, abi)
        yield library


def test_the_version_is_the_one_its_file_is_named_after(library: libferry.Library) -> None:
    version = library.zlibVersion()
    assert version.startswith("1.")
    real = Path(library.binary.path).resolve().name
    assert real in (f"libz.so.{version}", "zlib1.dll")


def test_checksums_are_those_of_python(library: libferry.Library) -> None:
    for data in (b"", b"a", b"123456789", mebibyte()):
        assert library.crc32(0, data, len(data)) == zlib.crc32(data)
        assert library.adler32(1, data, len(data)) == zlib.adler32(data)


def test_a_checksum_continues_from_a_value_above_2_to_the_31(library: libferry.Library) -> None:
    first = library.crc32(0, b"123456789", 9)
    assert first == 0xCBF43926  # the check value of this CRC, with its highest bit set
    assert library.crc32(first, b"abc", 3) == zlib.crc32(b"abc", first)


def test_a_mebibyte_comes_back_as_it_went(library: libferry.Library) -> None:
    packed = compress(library, mebibyte())
    assert zlib.decompress(packed) == mebibyte()

    unpacked = bytearray(len(mebibyte()))
    length = library.out("uLongf")
    length.value = len(unpacked)
    assert library.uncompress(unpacked, length, packed, len(packed)) == Z_OK
    assert length.value == len(unpacked)
    assert unpacked == mebibyte()


packed_by_version: dict[str, bytes] = {}  # by the first side that has this version


def test_equal_versions_compress_to_equal_bytes(library: libferry.Library) -> None:
    packed = compress(library, mebibyte())
    version = library.zlibVersion()
    if version == zlib.ZLIB_RUNTIME_VERSION:
        assert packed == zlib.compress(mebibyte())
    assert packed == packed_by_version.setdefault(version, packed)


def test_too_little_room_and_nonsense_are_told_apart(library: libferry.Library) -> None:
    length = library.out("uLongf")
    length.value = 10
    packed = zlib.compress(mebibyte())
    assert library.uncompress(bytearray(10), length, packed, len(packed)) == Z_BUF_ERROR
    length.value = 10
    assert library.uncompress(bytearray(10), length, b"no zlib stream", 14) == Z_DATA_ERROR
