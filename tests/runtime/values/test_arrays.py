"""Arrays as sequences, as buffers and in numpy."""

from __future__ import annotations

import array
import sys
from typing import Any

import numpy as np
import pytest

from libferry.abi import ABIS
from libferry.abi import Array as ArrayType
from libferry.contract import declare, parse_type
from libferry.errors import ArgumentTypeError, ArgumentValueError
from libferry.runtime.values import decode, encode

ABI = "x86_64-sysv"
DECLARATIONS = """
struct point { short x; int y; };
struct row { char c; double d; _Bool b; unsigned flags : 3; struct point p; float _Complex z;
             void *next; long double l; short grid[2][3]; };
typedef float vector4 __attribute__((vector_size(16)));
"""
HEADER = declare(DECLARATIONS, ABI)


def make(ctype: str, value: object, abi: str = ABI) -> Any:
    """An array of this process's memory."""
    header = HEADER if abi == ABI else declare(DECLARATIONS, abi)
    parsed = parse_type(ctype, abi, header)
    data = encode(abi, parsed, value)
    if isinstance(parsed, ArrayType) and parsed.length is None:
        parsed = ArrayType(parsed.of, len(value))  # type: ignore[arg-type]
    return decode(abi, parsed, data)


def test_an_array_is_a_sequence() -> None:
    numbers = make("int[4]", [1, 2, 3])
    assert len(numbers) == 4
    assert list(numbers) == [1, 2, 3, 0]
    assert numbers[-1] == 0
    assert numbers[1:3].tolist() == [2, 3]
    assert 3 in numbers
    assert list(reversed(numbers)) == [0, 3, 2, 1]
    assert numbers == [1, 2, 3, 0] == numbers
    assert numbers == (1, 2, 3, 0)
    assert numbers != [1, 2, 3]
    assert (numbers == np.array([1, 2, 3, 9])).tolist() == [True, True, True, False]
    assert repr(numbers) == "<int[4] [1, 2, 3, 0]>"
    assert bytes(numbers) == b"\1\0\0\0\2\0\0\0\3\0\0\0\0\0\0\0"
    for wrong in (4, -5, 2**70):
        with pytest.raises(IndexError):
            numbers[wrong]
        with pytest.raises(IndexError):
            numbers[wrong] = 1
    with pytest.raises(TypeError):
        numbers["1"]
    with pytest.raises(TypeError):
        del numbers[0]
    with pytest.raises(TypeError, match="unhashable"):
        hash(numbers)


def test_a_slice_is_the_same_memory() -> None:
    numbers = make("int[6]", range(6))
    middle = numbers[2:5]
    middle[0] = 20
    middle[1:3] = (30, 40)
    assert numbers.tolist() == [0, 1, 20, 30, 40, 5]
    numbers[0:2] = numbers[4:6]
    assert numbers.tolist() == [40, 5, 20, 30, 40, 5]
    assert numbers[5:2].tolist() == []
    for wrong in ([1], [1, 2, 3], 5, None):
        with pytest.raises(ArgumentTypeError, match="2 elements"):
            numbers[0:2] = wrong
    with pytest.raises(ArgumentTypeError, match="step of 2") as caught:
        numbers[::2]
    assert "as_numpy" in caught.value.hint
    with pytest.raises(ArgumentValueError, match=r"\[1\]"):
        numbers[0:2] = [1, 2**40]


def test_elements_that_do_not_fit_are_refused() -> None:
    bytes_ = make("unsigned char[2]", [1, 2])
    for wrong in (256, -1, 1.0, None, "a", b"a"):
        with pytest.raises((ArgumentTypeError, ArgumentValueError), match="set an element"):
            bytes_[0] = wrong
    points = make("struct point[2]", [(1, 2)])
    with pytest.raises(ArgumentTypeError, match=r"struct point\[\]\[1\]\.y: str"):
        points[1] = {"y": "a"}
    assert points.tolist() == [{"x": 1, "y": 2}, {"x": 0, "y": 0}]


def test_text_is_padded_and_read_up_to_its_end() -> None:
    text = make("char[6]", "grün")
    assert bytes(text) == "grün".encode() + b"\0"
    assert text.string() == "grün"
    assert text == "grün"
    assert make("char[3]", "abc").string() == "abc"
    assert make("unsigned char[3]", b"\1\2").tolist() == [1, 2, 0]
    assert make("wchar_t[4]", "ü\U0001f600").string() == "ü\U0001f600"
    wide = make("wchar_t[4]", "ü\U0001f600", "x86_64-windows")
    assert bytes(wide) == "ü\U0001f600".encode("utf-16-le") + bytes(2)
    assert wide.string() == "ü\U0001f600"
    for ctype, value in (
        ("char[2]", "abc"),
        ("char[9]", "a\0b"),
        ("wchar_t[1]", "ab"),
        ("wchar_t[9]", b"ab"),
        ("int[9]", "ab"),
    ):
        with pytest.raises((ArgumentTypeError, ArgumentValueError)):
            make(ctype, value)
    with pytest.raises(ArgumentTypeError, match="no characters"):
        make("int[1]", [1]).string()


def test_numbers_come_from_any_buffer_or_sequence() -> None:
    wanted = [1, 2, 3]
    for given in (
        wanted,
        tuple(wanted),
        range(1, 4),
        array.array("i", wanted),
        np.array(wanted, np.int32),
        np.array(wanted, np.int64),
        np.array([1, 9, 2, 9, 3, 9], np.int32)[::2],
        np.array(wanted, ">i4"),
        memoryview(array.array("h", wanted)),
        make("int[3]", wanted),
        make("long[3]", wanted),
    ):
        assert make("int[3]", given).tolist() == wanted
    grid = np.arange(6, dtype=np.int16).reshape(2, 3)
    assert make("short[2][3]", grid).tolist() == grid.tolist()
    assert make("short[2][3]", grid.astype(float).astype(int)).tolist() == grid.tolist()
    with pytest.raises(ArgumentTypeError, match=r"\[0\]: float64 is not an integer"):
        make("int[3]", np.array([1.0, 2, 3]))
    with pytest.raises(ArgumentValueError, match=r"\[2\]: 99999 does not fit"):
        make("short[3]", np.array([1, 2, 99999]))
    with pytest.raises(ArgumentTypeError, match="is not a sequence"):
        make("int[3]", (i for i in range(3)))
    assert make("float[2]", [0.1, 1]).tolist() == [np.float32(0.1), 1]
    with pytest.raises(ArgumentValueError, match=r"float\[2\]\[1\]: 1e\+?300"):
        make("float[2]", [0.5, 1e300])


def test_an_array_in_numpy_is_the_same_memory() -> None:
    rows = make("struct row[3]", [{"c": 1, "d": 0.5, "p": (2, 3), "z": 1 + 2j, "l": 0.75}])
    view = rows.as_numpy()
    assert view.shape == (3,)
    assert view.dtype.itemsize == len(bytes(rows)) // 3
    assert view.dtype.names == ("c", "d", "b", "p", "z", "next", "l", "grid")
    assert view["p"]["y"].tolist() == [3, 0, 0]
    assert view["z"][0] == 1 + 2j
    assert view["next"].dtype == np.uint64
    view["d"] += 1
    view["grid"][1, 1] = 7
    assert [row.d for row in rows] == [1.5, 1.0, 1.0]
    assert rows[1].grid.tolist() == [[0, 0, 0], [7, 7, 7]]
    if np.finfo(np.longdouble).nmant == 63:
        assert view["l"].dtype == np.longdouble
        assert view["l"][0] == 0.75


@pytest.mark.parametrize(
    ("ctype", "dtype", "shape"),
    [
        ("int[3]", "<i4", (3,)),
        ("unsigned char[2][3]", "u1", (2, 3)),
        ("_Bool[2]", "?", (2,)),
        ("double _Complex[2]", "<c16", (2,)),
        ("float[0]", "<f4", (0,)),
        ("vector4[2]", "<f4", (2, 4)),
        ("__int128[2]", "V16", (2,)),
        ("char *[2]", "<u8", (2,)),
    ],
)
def test_numpy_gets_the_c_types_dtype(ctype: str, dtype: str, shape: tuple[int, ...]) -> None:
    view = make(ctype, []).as_numpy()
    assert view.dtype == np.dtype(dtype)
    assert view.shape == shape


@pytest.mark.parametrize("abi", sorted(ABIS))
def test_another_machines_long_double_is_bytes_in_numpy(abi: str) -> None:
    numbers = make("long double[2]", [0.5, 2], abi)
    view = numbers.as_numpy()
    assert view.nbytes == len(bytes(numbers))
    if view.dtype.kind == "V":
        assert view[0].tobytes() == bytes(numbers)[: view.itemsize]
    else:
        assert view.tolist() == [0.5, 2]


def test_the_buffer_of_numbers_has_their_format_and_shape() -> None:
    assert make("short[2][3]", [[1, 2, 3], [4, 5, 6]])[1].tolist() == [4, 5, 6]
    view = memoryview(make("short[2][3]", [[1, 2, 3], [4, 5, 6]]))
    assert (view.format, view.shape, view.strides) == ("h", (2, 3), (6, 2))
    assert [list(row) for row in np.asarray(view)] == [[1, 2, 3], [4, 5, 6]]
    view[1, 2] = 9
    assert bytes(view)[-2:] == b"\x09\0"
    assert np.asarray(make("double[2]", [1, 2])).tolist() == [1, 2]
    assert memoryview(make("struct point[2]", [])).format == "B"
    assert memoryview(make("double _Complex[2]", [1j])).format == "Zd"
    assert np.asarray(make("double _Complex[1]", [1j])).tolist() == [1j]
    assert memoryview(make("int[0]", [])).tolist() == []


def test_without_numpy_as_numpy_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ArgumentTypeError, match="numpy is not installed") as caught:
        make("int[1]", [1]).as_numpy()
    assert "pip install numpy" in caught.value.hint


def test_a_long_array_is_shown_shortened() -> None:
    assert repr(make("int[100]", [])) == "<int[100] [0, 0, 0, 0, 0, 0, 0, 0, ...]>"
    assert repr(make("char[4]", "ab")) == "<char[4] b'ab'>"


def test_vectors_are_tuples() -> None:
    vectors = make("vector4[2]", [(1, 2, 3, 4), np.array([5, 6, 7, 8], np.float32)])
    assert vectors[1] == (5.0, 6.0, 7.0, 8.0)
    vectors[0] = bytes(16)
    assert vectors[0] == (0, 0, 0, 0)
    for wrong in ((1, 2), "abcd", 5, b"1", {1: 2}):
        with pytest.raises((ArgumentTypeError, ArgumentValueError)):
            vectors[0] = wrong
    with pytest.raises(ArgumentTypeError, match=r"\[2\]: str is not a number"):
        vectors[0] = (1, 2, "x", 4)
