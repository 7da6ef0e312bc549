"""zlib with its own header: streams, callbacks and structs that lead elsewhere, six ways.

The header is Debian's, read for each side's own target: a z_stream has 56 bytes on a
32-bit one, 88 on 64-bit Windows and 112 on 64-bit Linux. zlib compares that with its own
idea of it, and Python's zlib and gzip say what its streams should hold.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import libferry

from .places import ROOT, needs
from .zlibs import SIDES, mebibyte

HEADER = Path("/usr/include/zlib.h")
pytestmark = [
    needs(str(HEADER), "apt-get install zlib1g-dev"),
    pytest.mark.needs("ziglang", install="pip install 'libferry[headers]'"),
]

CHUNK = 10_000  # not a divisor of anything


@pytest.fixture(scope="module", params=SIDES)
def lib(request: pytest.FixtureRequest) -> Iterator[libferry.Library]:
    path, isolation, _ = request.param
    with libferry.load(ROOT / path, header=HEADER, isolation=isolation) as library:
        yield library


@pytest.fixture
def stream(lib: libferry.Library) -> Any:
    return lib.new("z_stream")


def size(stream: Any) -> int:
    """Give what the macros in the header pass as sizeof(z_stream)."""
    return len(bytes(stream))


def run(lib: libferry.Library, step: Any, stream: Any, data: bytes, last: int) -> bytes:
    """Send data through deflate or inflate, in small pieces both ways."""
    room, result = lib.new(f"Bytef[{CHUNK}]"), []
    pieces = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)] or [b""]
    for number, piece in enumerate(pieces, 1):
        source = lib.new(f"Bytef[{len(piece) or 1}]", piece)
        stream.next_in, stream.avail_in = source, len(piece)
        while True:
            stream.next_out, stream.avail_out = room, CHUNK
            status = step(stream, last if number == len(pieces) else lib.Z_NO_FLUSH)
            assert status in (lib.Z_OK, lib.Z_STREAM_END, lib.Z_BUF_ERROR), stream.msg
            result.append(bytes(room)[: CHUNK - stream.avail_out])
            if stream.avail_out:
                break
    return b"".join(result)


def test_the_versions_of_header_and_library_agree(lib: libferry.Library) -> None:
    assert lib.zlibVersion() == lib.ZLIB_VERSION
    assert lib.ZLIB_VERNUM == 0x12D0


def test_sizes_of_types_are_the_ones_the_library_was_built_with(lib: libferry.Library) -> None:
    flags = lib.zlibCompileFlags()  # 2 bits each: 0 is 2 bytes, 1 is 4, 2 is 8
    bits = {"uInt": 0, "uLong": 2, "voidpf": 4}
    for ctype, shift in bits.items():
        assert len(bytes(lib.new(ctype))) == 2 << (flags >> shift & 3)


def test_a_stream_is_deflated_in_pieces(lib: libferry.Library, stream: Any) -> None:
    assert lib.deflateInit_(stream, 6, lib.ZLIB_VERSION, size(stream)) == lib.Z_OK
    packed = run(lib, lib.deflate, stream, mebibyte(), lib.Z_FINISH)
    assert (stream.total_in, stream.total_out) == (len(mebibyte()), len(packed))
    assert stream.adler == zlib.adler32(mebibyte())
    assert lib.deflateEnd(stream) == lib.Z_OK
    assert zlib.decompress(packed) == mebibyte()


def test_a_stream_is_inflated_in_pieces(lib: libferry.Library, stream: Any) -> None:
    assert lib.inflateInit_(stream, lib.ZLIB_VERSION, size(stream)) == lib.Z_OK
    assert run(lib, lib.inflate, stream, zlib.compress(mebibyte()), lib.Z_NO_FLUSH) == mebibyte()
    assert stream.total_out == len(mebibyte())
    assert lib.inflateEnd(stream) == lib.Z_OK


def test_a_stream_of_another_size_or_version_is_refused(lib: libferry.Library, stream: Any) -> None:
    right = size(stream)
    assert lib.deflateInit_(stream, 6, lib.ZLIB_VERSION, right - 4) == lib.Z_VERSION_ERROR
    assert lib.deflateInit_(stream, 6, "0.9", right) == lib.Z_VERSION_ERROR
    assert lib.deflateInit_(None, 6, lib.ZLIB_VERSION, right) == lib.Z_STREAM_ERROR


def test_nonsense_is_explained_by_the_stream(lib: libferry.Library, stream: Any) -> None:
    assert lib.inflateInit_(stream, lib.ZLIB_VERSION, size(stream)) == lib.Z_OK
    source, room = lib.new("Bytef[20]", b"not a zlib stream"), lib.new("Bytef[100]")
    stream.next_in, stream.avail_in = source, 20
    stream.next_out, stream.avail_out = room, 100
    assert lib.inflate(stream, lib.Z_FINISH) == lib.Z_DATA_ERROR
    assert stream.msg.string() == "incorrect header check"
    assert lib.zError(lib.Z_DATA_ERROR) == "data error"
    assert lib.inflateEnd(stream) == lib.Z_OK
    assert lib.inflateEnd(stream) == lib.Z_STREAM_ERROR


def test_python_gives_the_memory_that_a_stream_takes(lib: libferry.Library, stream: Any) -> None:
    taken: dict[int, libferry.Buffer] = {}
    asked = []

    def give(opaque: object, items: int, each: int) -> libferry.Buffer:
        assert opaque is None
        asked.append(items * each)
        room = lib.buffer(items * each)
        taken[room.address] = room
        return room

    def take(opaque: object, room: libferry.Pointer) -> None:
        del taken[room.address]

    stream.zalloc, stream.zfree = give, take
    assert lib.deflateInit_(stream, 9, lib.ZLIB_VERSION, size(stream)) == lib.Z_OK
    assert len(taken) == len(asked) > 3
    packed = run(lib, lib.deflate, stream, b"one two three " * 10_000, lib.Z_FINISH)
    assert lib.deflateEnd(stream) == lib.Z_OK
    assert taken == {}
    assert zlib.decompress(packed) == b"one two three " * 10_000


def test_no_memory_is_an_error(lib: libferry.Library, stream: Any) -> None:
    stream.zalloc, stream.zfree = (lambda opaque, items, each: None), (lambda opaque, room: None)
    assert lib.deflateInit_(stream, 9, lib.ZLIB_VERSION, size(stream)) == lib.Z_MEM_ERROR


class Full(Exception):
    pass


def test_an_exception_in_an_allocator_is_raised(lib: libferry.Library, stream: Any) -> None:
    def give(opaque: object, items: int, each: int) -> libferry.Buffer:
        raise Full

    stream.zalloc, stream.zfree = give, lambda opaque, room: None
    with pytest.raises(Full):
        lib.deflateInit_(stream, 9, lib.ZLIB_VERSION, size(stream))


def test_inflate_asks_python_for_input_and_gives_it_output(
    lib: libferry.Library, stream: Any
) -> None:
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(mebibyte()) + packer.flush()
    pieces = iter([packed[at : at + CHUNK] for at in range(0, len(packed), CHUNK)])
    window, source = lib.new("unsigned char[32768]"), lib.buffer(CHUNK)
    result = []

    def read(opaque: object, where: Any) -> int:
        piece = next(pieces, b"")
        memoryview(source)[: len(piece)] = piece
        where.value = source
        return len(piece)

    def write(opaque: object, data: Any, count: int) -> int:
        result.append(data.read(count))
        return 0

    version = lib.ZLIB_VERSION
    assert lib.inflateBackInit_(stream, 15, window, version, size(stream)) == lib.Z_OK
    assert lib.inflateBack(stream, read, None, write, None) == lib.Z_STREAM_END
    assert lib.inflateBackEnd(stream) == lib.Z_OK
    assert b"".join(result) == mebibyte()


def test_the_header_of_a_gzip_stream(lib: libferry.Library, stream: Any) -> None:
    head = lib.new("gz_header", time=1_700_000_000, os=3)
    head.name, head.comment = lib.new("Bytef[9]", b"file.txt"), lib.new("Bytef[6]", b"hello")
    version, gzip_format = lib.ZLIB_VERSION, 15 + 16
    strategy = lib.Z_DEFAULT_STRATEGY
    status = lib.deflateInit2_(
        stream, 6, lib.Z_DEFLATED, gzip_format, 8, strategy, version, size(stream)
    )
    assert status == lib.Z_OK
    assert lib.deflateSetHeader(stream, head) == lib.Z_OK
    packed = run(lib, lib.deflate, stream, b"content", lib.Z_FINISH)
    assert lib.deflateEnd(stream) == lib.Z_OK
    assert gzip.decompress(packed) == b"content"
    assert packed[10:25] == b"file.txt\0hello\0"  # RFC 1952, 2.3: FNAME, FCOMMENT
    assert int.from_bytes(packed[4:8], "little") == 1_700_000_000

    name = lib.new("Bytef[20]")
    found = lib.new("gz_header", name=name, name_max=20)
    back = lib.new("z_stream")
    assert lib.inflateInit2_(back, gzip_format, version, size(back)) == lib.Z_OK
    assert lib.inflateGetHeader(back, found) == lib.Z_OK
    assert run(lib, lib.inflate, back, packed, lib.Z_NO_FLUSH) == b"content"
    assert (found.done, found.time, found.os) == (1, 1_700_000_000, 3)
    assert name.string() == "file.txt"
    assert lib.inflateEnd(back) == lib.Z_OK


def test_a_dictionary_that_both_sides_know(lib: libferry.Library, stream: Any) -> None:
    words = b"maintenance branch Friday notice"
    assert lib.deflateInit_(stream, 9, lib.ZLIB_VERSION, size(stream)) == lib.Z_OK
    assert lib.deflateSetDictionary(stream, words, len(words)) == lib.Z_OK
    packed = run(lib, lib.deflate, stream, b"notice: branch maintenance", lib.Z_FINISH)
    assert lib.deflateEnd(stream) == lib.Z_OK
    unpacker = zlib.decompressobj(zdict=words)
    assert unpacker.decompress(packed) == b"notice: branch maintenance"


def test_a_copy_of_a_stream_goes_its_own_way(lib: libferry.Library, stream: Any) -> None:
    other = lib.new("z_stream")
    assert lib.deflateInit_(stream, 6, lib.ZLIB_VERSION, size(stream)) == lib.Z_OK
    first = run(lib, lib.deflate, stream, b"common part, ", lib.Z_SYNC_FLUSH)
    assert lib.deflateCopy(other, stream) == lib.Z_OK
    one = run(lib, lib.deflate, stream, b"then one", lib.Z_FINISH)
    two = run(lib, lib.deflate, other, b"then two", lib.Z_FINISH)
    assert zlib.decompress(first + one) == b"common part, then one"
    assert zlib.decompress(first + two) == b"common part, then two"
    assert (lib.deflateEnd(stream), lib.deflateEnd(other)) == (lib.Z_OK, lib.Z_OK)


def test_the_table_of_the_crc(lib: libferry.Library) -> None:
    table = lib.get_crc_table()
    # 128 is the polynomial itself (RFC 1952, 8)
    assert [table[i] for i in (0, 1, 128, 255)] == [0, 0x77073096, 0xEDB88320, 0x2D02EF8D]
    assert len(set(table[0:256])) == 256


def test_checksums_are_combined(lib: libferry.Library) -> None:
    one, two = mebibyte()[:1000], mebibyte()[1000:5000]
    combined = lib.crc32_combine(zlib.crc32(one), zlib.crc32(two), len(two))
    assert combined == zlib.crc32(one + two)


def test_a_file_that_is_printed_to(lib: libferry.Library, tmp_path: Path) -> None:
    """gzprintf takes what printf takes."""
    file = tmp_path / "printed.gz"
    name = str(file) if "windows" not in lib.abi else "Z:" + str(file).replace("/", "\\")
    opened = lib.gzopen(name, "wb9")
    assert opened is not None
    written = lib.gzprintf(opened, "%s has %d of %c, %.3f each, %5u.\n", "It", -7, 88, 0.5, 42)
    assert written == len("It has -7 of X, 0.500 each,    42.\n")
    assert lib.gzputs(opened, "The end.") == 8
    assert lib.gzclose(opened) == lib.Z_OK
    assert gzip.decompress(file.read_bytes()) == b"It has -7 of X, 0.500 each,    42.\nThe end."

    opened = lib.gzopen(name, "rb")
    line = bytearray(100)
    assert lib.gzgets(opened, line, len(line)) is not None
    assert line.split(b"\0")[0] == b"It has -7 of X, 0.500 each,    42.\n"
    assert lib.gzclose(opened) == lib.Z_OK
