"""libpng with its own header: structs, rows through callbacks, and errors that jump.

An error in libpng calls a function of the program's, and if that returns, or there is
none, it leaves by ``longjmp``, or ends the program. A jump over a callback into Python
leaves the callback's frames behind: a worker that was left so is ended, and the call
says so.
"""

from __future__ import annotations

import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import libferry
from libferry.errors import DeadlineExceeded, LibraryCrashed

from .places import needs

PNG = "/usr/lib/x86_64-linux-gnu/libpng16.so.16"
HEADER = Path("/usr/include/png.h")
SYSTEM = ["/usr/include", "/usr/include/x86_64-linux-gnu"]
pytestmark = [
    needs(PNG, "apt-get install libpng16-16"),
    needs(str(HEADER), "apt-get install libpng-dev"),
    pytest.mark.needs("ziglang", install="pip install 'libferry[headers]'"),
]


@pytest.fixture(scope="module", params=["in-process", "worker"])
def lib(request: pytest.FixtureRequest) -> Iterator[libferry.Library]:
    with libferry.load(PNG, header=HEADER, include=SYSTEM, isolation=request.param) as library:
        yield library


def chunk(kind: bytes, data: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check


def picture(width: int, height: int, rows: list[bytes], colour: int = 2) -> bytes:
    """Give a PNG file of 8-bit RGB (2) or grey (0) pixels, as PNG's specification has it."""
    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


ROWS = [bytes(range(9)), bytes(range(100, 109))]
RGB = picture(3, 2, ROWS)


def in_memory(lib: libferry.Library, data: bytes) -> libferry.Buffer:
    memory = lib.buffer(len(data))
    memoryview(memory)[:] = data
    return memory


# ---- the simplified interface: one struct ----


def test_a_picture_is_read_into_pixels(lib: libferry.Library) -> None:
    image = lib.new("png_image", version=lib.PNG_IMAGE_VERSION)
    memory = in_memory(lib, RGB)
    assert lib.png_image_begin_read_from_memory(image, memory, len(RGB)) == 1
    assert (image.width, image.height, image.format) == (3, 2, lib.PNG_FORMAT_RGB)
    image.format = lib.PNG_FORMAT_RGBA
    pixels = bytearray(3 * 2 * 4)
    assert lib.png_image_finish_read(image, None, pixels, 0, None) == 1
    assert pixels[:4] == bytes([0, 1, 2, 255])
    assert b"".join(pixels[at : at + 3] for at in range(0, 24, 4)) == b"".join(ROWS)
    assert image.opaque is None


def test_transparent_pixels_are_laid_on_a_background(lib: libferry.Library) -> None:
    """The background is a struct that is passed by pointer: png_color."""
    image = lib.new("png_image", version=1, width=1, height=1, format=lib.PNG_FORMAT_RGBA)
    file, size = lib.buffer(1000), lib.new("size_t", 1000)
    assert lib.png_image_write_to_memory(image, file, size, 0, bytes(4), 0, None) == 1
    image = lib.new("png_image", version=lib.PNG_IMAGE_VERSION)
    assert lib.png_image_begin_read_from_memory(image, file, size.value) == 1
    image.format = lib.PNG_FORMAT_RGB
    pixel = bytearray(3)
    background = lib.new("png_color", red=10, green=20, blue=30)
    assert lib.png_image_finish_read(image, background, pixel, 0, None) == 1
    assert pixel == bytes([10, 20, 30])


def test_pixels_are_written_to_a_picture(lib: libferry.Library) -> None:
    image = lib.new("png_image", version=1, width=3, height=2, format=lib.PNG_FORMAT_GRAY)
    image.flags = lib.PNG_IMAGE_FLAG_FAST
    size = lib.new("size_t")
    pixels = bytes([10, 20, 30, 40, 50, 60])
    assert lib.png_image_write_to_memory(image, None, size, 0, pixels, 0, None) == 1
    file = bytearray(size.value)
    assert lib.png_image_write_to_memory(image, file, size, 0, pixels, 0, None) == 1
    assert file[:33] == picture(3, 2, [], colour=0)[:33]  # signature and IHDR
    at = file.index(b"IDAT")
    (length,) = struct.unpack(">I", file[at - 4 : at])
    rows = zlib.decompress(file[at + 4 : at + 4 + length])
    assert rows == bytes([0, 10, 20, 30, 0, 40, 50, 60])  # 0: not filtered


def test_nonsense_is_explained_in_the_struct(lib: libferry.Library) -> None:
    image = lib.new("png_image", version=lib.PNG_IMAGE_VERSION)
    memory = in_memory(lib, b"no picture at all")
    assert lib.png_image_begin_read_from_memory(image, memory, len(memory)) == 0
    assert image.warning_or_error & 2
    assert image.message == "Not a PNG file"


def test_a_struct_of_another_version_is_refused(lib: libferry.Library) -> None:
    image = lib.new("png_image", version=lib.PNG_IMAGE_VERSION + 1)
    assert lib.png_image_begin_read_from_memory(image, RGB, len(RGB)) == 0
    assert image.message == "png_image_begin_read_from_memory: incorrect PNG_IMAGE_VERSION"


# ---- the full interface: opaque structs and callbacks ----


class Reader:
    """Gives libpng a file's bytes when it asks for them."""

    def __init__(self, lib: libferry.Library, data: bytes, error: Any = None) -> None:
        self.lib, self.data, self.at = lib, data, 0
        self.png = lib.png_create_read_struct(lib.PNG_LIBPNG_VER_STRING, None, error, None)
        self.info = lib.png_create_info_struct(self.png)
        lib.png_set_read_fn(self.png, None, self.read)

    def read(self, png: Any, to: Any, count: int) -> None:
        piece = self.data[self.at : self.at + count]
        if len(piece) < count:
            raise EOFError
        for index, byte in enumerate(piece):
            to[index] = byte
        self.at += count

    def destroy(self) -> None:
        png, info = self.lib.new("png_struct *", self.png), self.lib.new("png_info *", self.info)
        self.lib.png_destroy_read_struct(png, info, None)
        assert (png.value, info.value) == (None, None)


def test_rows_are_read_through_a_callback(lib: libferry.Library) -> None:
    reader = Reader(lib, RGB)
    lib.png_read_info(reader.png, reader.info)
    out = [lib.new(ctype) for ctype in ["png_uint_32"] * 2 + ["int"] * 5]
    assert lib.png_get_IHDR(reader.png, reader.info, *out) == 1
    assert [one.value for one in out] == [3, 2, 8, lib.PNG_COLOR_TYPE_RGB, 0, 0, 0]
    row, rows = lib.new("png_byte[9]"), []
    for _ in range(2):
        lib.png_read_row(reader.png, row, None)
        rows.append(bytes(row))
    lib.png_read_end(reader.png, None)
    assert rows == ROWS
    assert reader.at == len(RGB)
    reader.destroy()


def test_a_picture_comes_in_pieces_and_calls_back(lib: libferry.Library) -> None:
    png = lib.png_create_read_struct(lib.PNG_LIBPNG_VER_STRING, None, None, None)
    info = lib.png_create_info_struct(png)
    told: list[tuple[object, ...]] = []

    def start(png: Any, info: Any) -> None:
        told.append(("size", lib.png_get_image_width(png, info)))
        lib.png_start_read_image(png)

    def row(png: Any, data: Any, number: int, turn: int) -> None:
        told.append((number, data.read(9)))

    def end(png: Any, info: Any) -> None:
        told.append(("end",))

    lib.png_set_progressive_read_fn(png, None, start, row, end)
    for at in range(0, len(RGB), 7):
        piece = RGB[at : at + 7]
        lib.png_process_data(png, info, in_memory(lib, piece), len(piece))
    assert told == [("size", 3), (0, ROWS[0]), (1, ROWS[1]), ("end",)]
    lib.png_destroy_read_struct(lib.new("png_struct *", png), lib.new("png_info *", info), None)


def test_a_picture_with_a_palette_text_and_time_is_written(lib: libferry.Library) -> None:
    png = lib.png_create_write_struct(lib.PNG_LIBPNG_VER_STRING, None, None, None)
    info = lib.png_create_info_struct(png)
    file = bytearray()

    def write(png: Any, data: Any, count: int) -> None:
        file.extend(data.read(count))

    lib.png_set_write_fn(png, None, write, None)
    lib.png_set_IHDR(png, info, 4, 1, 8, lib.PNG_COLOR_TYPE_PALETTE, 0, 0, 0)
    lib.png_set_PLTE(png, info, [(255, 0, 0), (0, 255, 0), (0, 0, 255)], 3)
    key, text = lib.new("char[6]", "Title"), lib.new("char[7]", "Grüße")
    note = lib.new("png_text", compression=lib.PNG_TEXT_COMPRESSION_NONE, key=key, text=text)
    lib.png_set_text(png, info, note, 1)
    lib.png_set_tIME(png, info, [(2024, 2, 29, 23, 59, 60)])
    lib.png_write_info(png, info)
    lib.png_write_row(png, bytes([0, 1, 2, 1]))
    lib.png_write_end(png, None)
    lib.png_destroy_write_struct(lib.new("png_struct *", png), lib.new("png_info *", info))
    assert chunk(b"PLTE", bytes([255, 0, 0, 0, 255, 0, 0, 0, 255])) in file
    assert chunk(b"tEXt", "Title\0Grüße".encode()) in file
    assert chunk(b"tIME", struct.pack(">HBBBBB", 2024, 2, 29, 23, 59, 60)) in file

    reader = Reader(lib, bytes(file))
    lib.png_read_info(reader.png, reader.info)
    palette, count = lib.out("png_color *"), lib.new("int")
    assert lib.png_get_PLTE(reader.png, reader.info, palette, count) == lib.PNG_INFO_PLTE
    colours: Any = palette.value
    assert [(c.red, c.green, c.blue) for c in colours[0 : count.value]] == [
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
    ]
    texts = lib.out("png_text *")
    assert lib.png_get_text(reader.png, reader.info, texts, None) == 1
    found: Any = texts.value
    assert (found[0].key.string(), found[0].text.string()) == ("Title", "Grüße")
    time = lib.out("png_time *")
    assert lib.png_get_tIME(reader.png, reader.info, time) == lib.PNG_INFO_tIME
    then: Any = time.value
    assert (then.value.year, then.value.month, then.value.second) == (2024, 2, 60)
    reader.destroy()


# ---- errors ----


@pytest.fixture
def worker() -> Iterator[libferry.Library]:
    with libferry.load(PNG, header=HEADER, include=SYSTEM, isolation="worker") as library:
        yield library


class Wrong(Exception):
    pass


def test_an_error_that_python_is_told_ends_the_worker_not_python(worker: libferry.Library) -> None:
    """libpng forbids its error function to return: it aborts if it does."""
    told = []

    def error(png: Any, message: str) -> None:
        told.append(message)
        raise Wrong(message)

    reader = Reader(worker, b"no picture at all", error)
    with pytest.raises(LibraryCrashed, match="png_read_info: its worker was ended") as caught:
        worker.png_read_info(reader.png, reader.info)
    assert caught.value.signal == signal.SIGABRT
    assert told == ["Not a PNG file"]
    assert isinstance(caught.value.__context__, Wrong)


JUMPS = """
    #include <png.h>
    #include <setjmp.h>

    int read_or_jump(png_structp png, png_infop info)
    {
        if (setjmp(png_jmpbuf(png))) return 1;
        png_read_info(png, info);
        return 0;
    }
    int call_or_jump(png_structp png, void (*f)(void))
    {
        if (setjmp(png_jmpbuf(png))) return 1;
        f();
        return 0;
    }
"""
JUMPS_HEADER = """
    #include <png.h>
    int read_or_jump(png_structp png, png_infop info);
    int call_or_jump(png_structp png, void (*f)(void));
"""


@pytest.fixture(scope="module")
def jumps_so(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jumps")
    (folder / "jumps.c").write_text(JUMPS)
    command = [sys.executable, "-m", "ziglang", "cc", "-shared", "-fPIC", "-O1"]
    command += [option for name in SYSTEM for option in ("-idirafter", name)]
    subprocess.run([*command, "-o", "jumps.so", "jumps.c", PNG], cwd=folder, check=True)
    return folder / "jumps.so"


@pytest.fixture
def jumps(jumps_so: Path) -> Iterator[libferry.Library]:
    """What a C program does with libpng, and libpng itself; a deadline, in case of a hang."""
    with libferry.load(
        jumps_so, header=JUMPS_HEADER, include=SYSTEM, isolation="worker", timeout=60
    ) as library:
        yield library


def test_a_jump_that_passes_no_python_is_the_librarys_own(jumps: libferry.Library) -> None:
    reader = Reader(jumps, b"no picture at all")
    assert jumps.read_or_jump(reader.png, reader.info) == 1
    assert Reader(jumps, RGB).at == 0
    good = Reader(jumps, RGB)
    assert jumps.read_or_jump(good.png, good.info) == 0


def test_an_exception_in_a_reader_is_raised(jumps: libferry.Library) -> None:
    reader = Reader(jumps, b"")
    with pytest.raises(EOFError):
        jumps.read_or_jump(reader.png, reader.info)


@pytest.mark.parametrize("function", ["call_or_jump", "read_or_jump"])
def test_a_jump_over_python_is_an_error(jumps: libferry.Library, function: str) -> None:
    reader = Reader(jumps, RGB)

    def jump(*_: object) -> None:
        jumps.png_error(reader.png, "from Python")

    jumps.png_set_read_fn(reader.png, None, jump)
    last = jump if function == "call_or_jump" else reader.info
    with pytest.raises(LibraryCrashed) as caught:
        jumps[function](reader.png, last)
    assert not isinstance(caught.value, DeadlineExceeded)
    with pytest.raises(LibraryCrashed):
        jumps.png_access_version_number()
