"""ctypes' test cases of memory: what is kept, what is let go, what lies unaligned, views.

After CPython's test_refcounts.py, test_keeprefs.py, test_objects.py, test_arrays.py,
test_unaligned_structures.py, test_pep3118.py and test_cast.py; see sides.py.
"""

from __future__ import annotations

import gc
import sys
import weakref
from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import libferry
from libferry.errors import ArgumentTypeError

from .sides import SIDES, opened

HEADER = """
    struct point { int x; double y; };
    #pragma pack(push, 1)
    struct crooked { char c; short h; int i; long long q; float f; double d; int *p; short a[3]; };
    #pragma pack(pop)
    struct holder { struct point *point; const char *text; int *numbers[2]; };
    int call(int (*f)(int), int v);
    int call_with(int (*f)(struct point, const char *), struct point p, const char *text);
    int hold(const struct holder *h);
    int crooked_sum(const struct crooked *c);
    struct crooked crooked_twice(struct crooked c);
    double sum2d(double (*rows)[3], int count);
    int sum_bytes(const unsigned char *bytes, int count);
"""
SOURCE = """
    API int call(int (*f)(int), int v) { return f(v); }
    API int call_with(int (*f)(struct point, const char *), struct point p, const char *text)
    { return f(p, text); }
    API int hold(const struct holder *h)
    { return h->point->x + h->text[0] + h->numbers[0][0] + h->numbers[1][1]; }
    API int crooked_sum(const struct crooked *c)
    {
        return (int)(c->c + c->h + c->i + c->q + c->f + c->d) + *c->p + c->a[0] + c->a[1] + c->a[2];
    }
    API struct crooked crooked_twice(struct crooked c)
    {
        c.c *= 2, c.h *= 2, c.i *= 2, c.q *= 2, c.f *= 2, c.d *= 2;
        c.a[0] *= 2, c.a[1] *= 2, c.a[2] *= 2;
        return c;
    }
    API double sum2d(double (*rows)[3], int count)
    {
        double sum = 0;
        for (int i = 0; i < count; i++)
            for (int j = 0; j < 3; j++) sum += rows[i][j] * (i + 1) * (j + 1);
        return sum;
    }
    API int sum_bytes(const unsigned char *bytes, int count)
    {
        int sum = 0;
        while (count--) sum += *bytes++;
        return sum;
    }
"""


@pytest.fixture(scope="module", params=SIDES)
def lib(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[libferry.Library]:
    with opened(request.param, HEADER, SOURCE, tmp_path_factory) as library:
        yield library


def test_hundreds_of_calls_leave_no_reference(lib: libferry.Library) -> None:
    """Counted are the objects that go in: a callable, a text, a struct, an array."""

    def callback(point: Any, text: str) -> int:
        return int(point.x) + len(text)

    text = "text of its own" * 2
    point = lib.new("struct point", 1, 0.5)
    numbers = array("B", range(10))
    things = (callback, text, point, numbers)

    def use() -> list[int]:
        for _ in range(100):
            assert lib.call_with(callback, point, text) == 31
            assert lib.sum_bytes(numbers, 10) == 45
            gone = lib.new("struct point", 1, 2)
            assert lib.call_with(callback, gone, text) == 31
        gc.collect()
        return [sys.getrefcount(thing) for thing in things]

    first = use()
    assert use() == first


def test_errors_leave_no_reference(lib: libferry.Library) -> None:
    class Argument:
        pass

    argument = Argument()
    gone = weakref.ref(argument)
    with pytest.raises(ArgumentTypeError):
        lib.call(argument, 1)
    del argument
    gc.collect()
    assert gone() is None


def test_what_a_struct_points_to_is_kept_by_it(lib: libferry.Library) -> None:
    holder = lib.new("struct holder")
    holder.point = lib.new("struct point", x=1000)
    holder.text = "A"
    holder.numbers = [lib.new("int[2]", [20, 0]), lib.new("int[2]", [0, 3])]
    gc.collect()
    for _ in range(100):  # would use memory that went
        lib.new("struct point", x=-1)
        lib.new("int[2]", [-1, -1])
    assert lib.hold(holder) == 1000 + ord("A") + 23
    holder.numbers[1] = lib.new("int[2]", [0, 4])
    gc.collect()
    assert lib.hold(holder) == 1000 + ord("A") + 24


def test_a_part_keeps_the_whole(lib: libferry.Library) -> None:
    part = lib.new("struct crooked", a=[1, 2, 3]).a
    view: Any = memoryview(lib.new("int[4]", [5, 6, 7, 8]))
    numbers = lib.new("double[3]", [0.5, 1.5, 2.5]).as_numpy()
    gc.collect()
    for _ in range(100):
        lib.new("struct crooked", a=[9, 9, 9])
        lib.new("int[4]", [9, 9, 9, 9])
    assert list(part) == [1, 2, 3]
    assert view.tolist() == [5, 6, 7, 8]
    assert numbers.tolist() == [0.5, 1.5, 2.5]


def test_members_that_lie_unaligned(lib: libferry.Library) -> None:
    crooked = lib.new("struct crooked", c=1, h=-300, i=70_000, q=5_000_000_000, f=0.5, d=0.25)
    assert (crooked.c, crooked.h, crooked.i, crooked.q) == (1, -300, 70_000, 5_000_000_000)
    assert (crooked.f, crooked.d, crooked.p) == (0.5, 0.25, None)
    crooked.q, crooked.p, crooked.a = 7, lib.new("int", 100), [10, 20, 30]
    assert lib.crooked_sum(crooked) == 1 - 300 + 70_000 + 7 + 100 + 60
    crooked.a[1] = -20
    assert lib.crooked_sum(crooked) == 1 - 300 + 70_000 + 7 + 100 + 20
    twice = lib.crooked_twice(crooked)
    assert (twice.c, twice.h, twice.i, twice.q) == (2, -600, 140_000, 14)
    assert (twice.f, twice.d, list(twice.a)) == (1.0, 0.5, [20, -40, 60])


def test_arrays_of_arrays(lib: libferry.Library) -> None:
    rows = lib.new("double[2][3]", [[1, 2, 3], [4, 5, 6]])
    expected = 1 + 4 + 9 + 2 * (4 + 10 + 18)
    assert lib.sum2d(rows, 2) == expected
    assert lib.sum2d(np.array([[1.0, 2, 3], [4, 5, 6]]), 2) == expected
    rows[1][2] = 0
    assert lib.sum2d(rows, 2) == expected - 36
    assert rows.as_numpy().tolist() == [[1, 2, 3], [4, 5, 0]]


@pytest.mark.parametrize(
    ("ctype", "form"),
    [
        ("signed char", "b"),
        ("unsigned char", "B"),
        ("short", "h"),
        ("unsigned short", "H"),
        ("int", "i"),
        ("unsigned", "I"),
        ("long long", "q"),
        ("unsigned long long", "Q"),
        ("float", "f"),
        ("double", "d"),
        ("bool", "?"),
    ],
)
def test_views_show_numbers(lib: libferry.Library, ctype: str, form: str) -> None:
    """The buffer protocol's formats are those of PEP 3118, which the struct module has."""
    numbers = lib.new(f"{ctype}[2][2]", [[1, 0], [1, 1]])
    view: Any = memoryview(numbers)
    assert view.format is not None
    assert view.format.lstrip("<=@") == form
    assert (view.shape, view.itemsize) == ((2, 2), len(bytes(lib.new(ctype))))
    assert view.tolist() == [[1, 0], [1, 1]]
    flat = np.asarray(numbers)
    flat[0, 1] = 1
    assert numbers[0][1] == 1


def test_any_buffer_of_bytes_will_do(lib: libferry.Library) -> None:
    for data in (b"\1\2\3", bytearray(b"\1\2\3"), memoryview(b"\1\2\3"), array("B", [1, 2, 3])):
        assert lib.sum_bytes(data, 3) == 6
    assert lib.sum_bytes(np.array([1, 2, 3], dtype=np.uint8), 3) == 6
    assert lib.sum_bytes(memoryview(b"\1\2\3\4")[1:3], 2) == 5
    with pytest.raises(ArgumentTypeError, match="argument 1"):
        lib.sum_bytes(np.array([1, 2, 3], dtype=np.uint8)[::2], 2)
    with pytest.raises(ArgumentTypeError, match="argument 1"):
        lib.sum_bytes("text", 3)


def test_casts(lib: libferry.Library) -> None:
    numbers = lib.new("int[2]", [0x04030201, 0x08070605])
    pointer = lib.cast("int *", numbers.address)
    assert pointer.cast("unsigned char *")[0:8] == list(range(1, 9))
    assert pointer.cast("short *")[1] == 0x0403
    assert pointer.cast("unsigned long long *").value == 0x0807060504030201
    assert lib.cast("void *", 0) is None or lib.cast("void *", 0).address == 0
    for wrong in ("int", "no such type *", "struct point"):
        with pytest.raises(libferry.FerryError):
            lib.cast(wrong, numbers.address)
