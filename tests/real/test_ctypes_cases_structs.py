"""ctypes' test cases of structures and unions by value, as arguments and as results.

After CPython's test_structures.py, test_functions.py, test_win32.py and test_as_parameter.py,
with their values; see sides.py. Unions by value, which ctypes refuses, are tested by the
functions that it has for them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import pytest

import libferry
from libferry.errors import ArgumentTypeError, ArgumentValueError

from .sides import IN_PROCESS, SIDES, WINDOWS_SIDES, opened

SIZES = range(1, 18)  # bytes: below, at and above what registers hold

HEADER = (
    """
    struct large { unsigned long first, second, third; };
    struct pair { unsigned int first, second; };
    struct bytes { unsigned char data[16]; };
    struct floats { float data[2]; float more_data[2]; };
    union both { long a_long; struct { int an_int; int another_int; } a_struct; };
    struct nested {
        int an_int;
        struct { int an_int; union both a_union; } nested;
        int another_int;
    };
    struct point { int x, y; };
    struct shorts { short x, y; };
    struct eight { int a, b, c, d, e, f, g, h; };
    struct corner { long x, y; };
    struct rect { long left, top, right, bottom; };
    struct lanes { float v[24]; };
    struct mixed { double d; int i; };
    struct crossed { int i; float f; double d; };
    struct tagged { char tag; union { float f; int i; } u; };
    union number { float f; unsigned u; };

    extern struct pair last_pair;
    extern struct rect last_rect;
    extern long left, top, right, bottom;

    void spoil_large(struct large in);
    void spoil_pair(struct pair in);
    int sum_bytes(struct bytes in);
    double sum_floats(struct floats in);
    long union_long(union both in);
    long union_ints(union both in);
    long nested_sum(struct nested in);
    long take_union_long(union both *in);
    long take_union_ints(union both *in);
    long take_nested(struct nested *in);
    union both union_of(int an_int, int another_int);
    int by_value(struct point in, struct point *out);
    struct shorts twice_and_thrice(struct shorts in);
    struct eight times_2_to_9(struct eight in);
    int inside(const struct rect *r, struct corner p);
    struct rect pick(int i, struct rect a, const struct rect *b, struct corner c, struct rect d,
                     const struct rect *e, struct corner f, struct rect g);
    int rectangle(int flag, struct rect *r);
    void add_both(int a, int *pi, int b, int *pj);
    struct lanes rise(struct lanes in, float by);
    struct mixed swap(struct crossed in, double more);
    struct tagged tag(struct tagged in);
    unsigned bits_of(union number n);
    union number number_of(unsigned u);
"""
    + "".join(
        f"struct doubles{n} {{ double data[{n}]; }};"
        f"double sum_doubles{n}(struct doubles{n} in);"
        f"struct doubles{n} default_doubles{n}(void);\n"
        for n in (2, 4, 8, 9)
    )
    + "".join(
        f"struct size{n} {{ char {', '.join(f'f{i}' for i in range(1, n + 1))}; }};"
        f"struct size{n} letters{n}(void); struct size{n} next{n}(struct size{n} in);\n"
        for n in SIZES
    )
)

SOURCE = (
    """
    API struct pair last_pair = {0};
    API struct rect last_rect = {0};
    API long left = 10, top = 20, right = 30, bottom = 40;

    API void spoil_large(struct large in)
    {
        volatile struct large *p = &in;
        p->first = p->second = p->third = 0x0badf00d;
    }
    API void spoil_pair(struct pair in)
    {
        volatile struct pair *p = &in;
        last_pair = in;
        p->first = p->second = 0x0badf00d;
    }
    API int sum_bytes(struct bytes in)
    {
        int sum = 0;
        for (int i = 0; i < 16; i++) { sum += in.data[i]; in.data[i] = 0; }
        return sum;
    }
    API double sum_floats(struct floats in)
    { return in.data[0] + in.data[1] + in.more_data[0] + in.more_data[1]; }
    API long union_long(union both in) { return in.a_long; }
    API long union_ints(union both in)
    { return (long)in.a_struct.an_int + in.a_struct.another_int; }
    API long nested_sum(struct nested in)
    { return (long)in.an_int + in.nested.an_int + in.another_int + in.nested.a_union.a_long; }
    API long take_union_long(union both *in)
    { long v = in->a_long; *in = (union both){0}; return v; }
    API long take_union_ints(union both *in)
    {
        long v = (long)in->a_struct.an_int + in->a_struct.another_int;
        in->a_struct.an_int = in->a_struct.another_int = 0;
        return v;
    }
    API long take_nested(struct nested *in)
    {
        long v = (long)in->an_int + in->nested.an_int + in->another_int;
        *in = (struct nested){0};
        return v;
    }
    API union both union_of(int an_int, int another_int)
    {
        union both u = {0};
        u.a_struct.an_int = an_int;
        u.a_struct.another_int = another_int;
        return u;
    }
    API int by_value(struct point in, struct point *out)
    {
        if (out) *out = in;
        return in.x + in.y;
    }
    API struct shorts twice_and_thrice(struct shorts in) { in.x *= 2; in.y *= 3; return in; }
    API struct eight times_2_to_9(struct eight in)
    {
        in.a *= 2, in.b *= 3, in.c *= 4, in.d *= 5, in.e *= 6, in.f *= 7, in.g *= 8, in.h *= 9;
        return in;
    }
    API int inside(const struct rect *r, struct corner p)
    { return p.x >= r->left && p.x <= r->right && p.y >= r->top && p.y <= r->bottom; }
    API struct rect pick(int i, struct rect a, const struct rect *b, struct corner c,
                         struct rect d, const struct rect *e, struct corner f, struct rect g)
    {
        if (a.left + b->left + d.left + e->left + g.left != 5 * left) a.left = 100;
        if (a.right + b->right + d.right + e->right + g.right != 5 * right) a.right = 100;
        if (c.x != f.x) a.left = -100;
        if (c.y != f.y) a.left = -200;
        last_rect = a;
        return i == 1 ? d : i == 2 ? g : a;
    }
    API int rectangle(int flag, struct rect *r)
    {
        if (flag) *r = (struct rect){flag, flag + 1, flag + 2, flag + 3};
        return flag != 0;
    }
    API void add_both(int a, int *pi, int b, int *pj) { *pi += a; *pj += b; }
    API struct lanes rise(struct lanes in, float by)
    {
        for (int i = 0; i < 24; i++) in.v[i] += by * (float)i;
        return in;
    }
    API struct mixed swap(struct crossed in, double more)
    { return (struct mixed){in.d + in.f + more, in.i + 1}; }
    API struct tagged tag(struct tagged in)
    {
        if (in.tag == 'f') in.u.f *= 2; else in.u.i = -in.u.i;
        in.tag++;
        return in;
    }
    API unsigned bits_of(union number n) { return n.u; }
    API union number number_of(unsigned u) { return (union number){.u = u}; }
"""
    + "".join(
        f"API double sum_doubles{n}(struct doubles{n} in)"
        f"{{ double s = 0; for (int i = 0; i < {n}; i++) s += in.data[i]; return s; }}\n"
        f"API struct doubles{n} default_doubles{n}(void)"
        f"{{ struct doubles{n} s; for (int i = 0; i < {n}; i++) s.data[i] = i + 1; return s; }}\n"
        for n in (2, 4, 8, 9)
    )
    + "".join(
        f"API struct size{n} letters{n}(void) {{ struct size{n} s;"
        f"for (int i = 0; i < {n}; i++) (&s.f1)[i] = (char)('a' + i); return s; }}\n"
        f"API struct size{n} next{n}(struct size{n} s)"
        f"{{ for (int i = 0; i < {n}; i++) (&s.f1)[i]++; return s; }}\n"
        for n in SIZES
    )
)


@pytest.fixture(scope="module", params=SIDES)
def lib(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[libferry.Library]:
    with opened(request.param, HEADER, SOURCE, tmp_path_factory) as library:
        yield library


def test_a_large_struct_is_passed_as_a_copy(lib: libferry.Library) -> None:
    numbers = (0xDEADBEEF, 0xCAFEBABE, 0x0BAD1DEA)
    large = lib.new("struct large", numbers)
    lib.spoil_large(large)
    assert (large.first, large.second, large.third) == numbers


def test_a_struct_in_registers_is_passed_as_a_copy(lib: libferry.Library) -> None:
    pair = lib.new("struct pair", first=0xDEADBEEF, second=0xCAFEBABE)
    lib.spoil_pair(pair)
    assert (pair.first, pair.second) == (0xDEADBEEF, 0xCAFEBABE)
    assert (lib.last_pair.first, lib.last_pair.second) == (0xDEADBEEF, 0xCAFEBABE)


def test_an_array_of_bytes_in_a_struct(lib: libferry.Library) -> None:
    data = lib.new("struct bytes", data=bytes(range(16)))
    assert lib.sum_bytes(data) == sum(range(16))
    assert bytes(data.data) == bytes(range(16))
    assert lib.sum_bytes({"data": [255] * 16}) == 16 * 255


def test_arrays_of_floats_in_a_struct(lib: libferry.Library) -> None:
    data = lib.new("struct floats")
    data.data[0], data.data[1] = 3.14159, 2.71828
    data.more_data = [-3.0, -2.0]
    assert lib.sum_floats(data) == pytest.approx(3.14159 + 2.71828 - 3.0 - 2.0, abs=1e-6)
    assert list(data.more_data) == [-3.0, -2.0]


@pytest.mark.parametrize("n", [2, 4, 8, 9])
def test_an_array_of_doubles_in_a_struct(lib: libferry.Library, n: int) -> None:
    numbers = [float(i) for i in range(n)]
    data = lib.new(f"struct doubles{n}", data=numbers)
    assert lib[f"sum_doubles{n}"](data) == sum(numbers)
    assert list(data.data) == numbers
    assert list(lib[f"default_doubles{n}"]().data) == [float(i + 1) for i in range(n)]


def test_a_union_by_value(lib: libferry.Library) -> None:
    assert lib.union_long({"a_long": 12345}) == 12345
    assert lib.union_long({"a_long": -1}) == -1
    both = lib.new("union both")
    both.a_struct.an_int, both.a_struct.another_int = 0x12340000, 0x5678
    assert lib.union_ints(both) == 0x12345678
    assert lib.union_ints({"a_struct": (-7, 9)}) == 2
    assert both.a_struct.an_int == 0x12340000


def test_a_union_as_result(lib: libferry.Library) -> None:
    both = lib.union_of(-1, 77)
    assert (both.a_struct.an_int, both.a_struct.another_int) == (-1, 77)
    both = lib.union_of(5, 0)
    assert both.a_long == 5


def test_a_union_in_a_struct_in_a_struct(lib: libferry.Library) -> None:
    nested = {"an_int": 0x12000000, "nested": {"an_int": 0x345600}, "another_int": 0x78}
    assert lib.nested_sum(nested) == 0x12345678
    nested["nested"] = {"an_int": 0x345600, "a_union": {"a_long": -0x78}}
    assert lib.nested_sum(nested) == 0x12345600


def test_unions_by_reference_are_changed(lib: libferry.Library) -> None:
    both = lib.new("union both", a_long=12345)
    assert lib.take_union_long(both) == 12345
    assert (both.a_long, both.a_struct.an_int, both.a_struct.another_int) == (0, 0, 0)
    both.a_struct = {"an_int": 0x12340000, "another_int": 0x5678}
    assert lib.take_union_ints(both) == 0x12345678
    assert (both.a_struct.an_int, both.a_struct.another_int) == (0, 0)
    nested = lib.new("struct nested", (0x12000000, (0x345600,), 0x78))
    assert lib.take_nested(nested) == 0x12345678
    assert (nested.an_int, nested.nested.an_int, nested.another_int) == (0, 0, 0)


def test_a_float_and_its_bits_in_a_union(lib: libferry.Library) -> None:
    assert lib.bits_of({"f": 1.0}) == 0x3F800000  # IEEE 754
    assert lib.number_of(0xC0490FDB).f == pytest.approx(-3.1415927)


def test_a_point_by_value_and_one_by_reference(lib: libferry.Library) -> None:
    out = lib.new("struct point")
    assert lib.by_value((1, 2), out) == 3
    assert (out.x, out.y) == (1, 2)
    assert lib.by_value({"x": 101, "y": 102}, out) == 203
    assert (out.x, out.y) == (101, 102)
    assert lib.by_value(lib.new("struct point", x=-1, y=-2), out) == -3
    assert (out.x, out.y) == (-1, -2)
    assert lib.by_value((3, 4), None) == 7


def test_small_and_large_struct_results(lib: libferry.Library) -> None:
    shorts = lib.new("struct shorts", 99, 88)
    result = lib.twice_and_thrice(shorts)
    assert (result.x, result.y) == (99 * 2, 88 * 3)
    assert (shorts.x, shorts.y) == (99, 88)
    eight = lib.times_2_to_9((9, 8, 7, 6, 5, 4, 3, 2))
    assert [eight.a, eight.b, eight.c, eight.d] == [18, 24, 28, 30]
    assert [eight.e, eight.f, eight.g, eight.h] == [30, 28, 24, 18]


@pytest.mark.parametrize("n", SIZES)
def test_struct_of_every_size(lib: libferry.Library, n: int) -> None:
    letters = [ord("a") + i for i in range(n)]
    result = lib[f"letters{n}"]()
    assert [getattr(result, f"f{i + 1}") for i in range(n)] == letters
    following = lib[f"next{n}"](result)
    assert [getattr(following, f"f{i + 1}") for i in range(n)] == [v + 1 for v in letters]
    assert [getattr(result, f"f{i + 1}") for i in range(n)] == letters


def test_rectangles(lib: libferry.Library) -> None:
    rect = lib.new("struct rect", lib.left, lib.top, lib.right, lib.bottom)
    point = lib.new("struct corner", 15, 25)
    assert lib.inside(rect, point) == 1
    assert lib.inside(rect, (9, 25)) == 0
    assert lib.inside([(0, 0, 15, 25)], point) == 1  # a list: where C expects a pointer
    for i in range(4):
        result = lib.pick(i, rect, rect, point, rect, rect, point, rect)
        assert (result.left, result.top, result.right, result.bottom) == (10, 20, 30, 40)
        assert lib.last_rect == result
    wrong = lib.pick(0, rect, rect, point, rect, rect, (15, 26), rect)
    assert wrong.left == -200


def test_each_rectangle_is_the_one_meant(lib: libferry.Library) -> None:
    a, d, g = (10, 1, 30, 2), (10, 3, 30, 4), (10, 5, 30, 6)
    rect = lib.new("struct rect", 10, 20, 30, 40)
    for i, expected in enumerate((a, d, g)):
        result = lib.pick(i, a, rect, (1, 2), d, rect, (1, 2), g)
        assert (result.left, result.top, result.right, result.bottom) == expected


def test_a_struct_that_is_filled(lib: libferry.Library) -> None:
    rect = lib.new("struct rect")
    assert lib.rectangle(0, rect) == 0
    assert (rect.left, rect.bottom) == (0, 0)
    assert lib.rectangle(7, rect) == 1
    assert (rect.left, rect.top, rect.right, rect.bottom) == (7, 8, 9, 10)


def test_two_out_arguments(lib: libferry.Library) -> None:
    i, j = lib.new("int", 100), lib.new("int", 200)
    assert lib.add_both(1, i, 2, j) is None
    assert (i.value, j.value) == (101, 202)


def test_24_floats(lib: libferry.Library) -> None:
    numbers = [float(i) for i in range(24)]
    result = lib.rise({"v": numbers}, 0.5)
    assert list(result.v) == [1.5 * i for i in range(24)]


def test_integers_and_floats_mixed(lib: libferry.Library) -> None:
    result = lib.swap((41, 0.25, 0.5), 1000.0)
    assert (result.d, result.i) == (1000.75, 42)


def test_a_union_behind_its_tag(lib: libferry.Library) -> None:
    result = lib.tag({"tag": ord("f"), "u": {"f": 1.5}})
    assert (result.tag, result.u.f) == (ord("g"), 3.0)
    result = lib.tag({"tag": ord("i"), "u": {"i": 5}})
    assert (result.tag, result.u.i) == (ord("j"), -5)


class Point:
    """Has the fields, but is no mapping and no sequence."""

    x, y = 1, 2


@pytest.mark.parametrize("value", [None, 5, "ab", (1, 2, 3), {"x": 1, "z": 2}, ("1", 2), Point()])
def test_what_is_no_point_is_refused(lib: libferry.Library, value: object) -> None:
    with pytest.raises(ArgumentTypeError, match=r"by_value, argument 1 \(in\)"):
        lib.by_value(value, None)


def test_a_field_that_does_not_fit_is_refused_by_name(lib: libferry.Library) -> None:
    with pytest.raises(ArgumentValueError, match=r"argument 1 \(in\).*\.y"):
        lib.by_value((1, 2**31), None)


def test_another_struct_is_refused(lib: libferry.Library) -> None:
    with pytest.raises(ArgumentTypeError, match="argument 1"):
        lib.by_value(lib.new("struct shorts"), None)
    with pytest.raises(ArgumentTypeError, match="argument 2"):
        lib.by_value((1, 2), lib.new("struct shorts"))


@pytest.mark.parametrize("side", WINDOWS_SIDES)
def test_structs_by_stdcall(side: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    header = """
        struct shorts { short x, y; };
        struct eight { int v[8]; };
        struct shorts __stdcall twice_and_thrice(struct shorts in);
        struct eight __stdcall times(int by, struct eight in);
    """
    source = """
        API struct shorts __stdcall twice_and_thrice(struct shorts in)
        { in.x *= 2; in.y *= 3; return in; }
        API struct eight __stdcall times(int by, struct eight in)
        { for (int i = 0; i < 8; i++) in.v[i] *= by + i; return in; }
    """
    with opened(side, header, source, tmp_path_factory) as lib:
        for _ in range(3):
            shorts = lib.twice_and_thrice((99, 88))
            assert (shorts.x, shorts.y) == (198, 264)
            eight = lib.times(2, {"v": [9, 8, 7, 6, 5, 4, 3, 2]})
            assert list(eight.v) == [18, 24, 28, 30, 30, 28, 24, 18]


def test_ctypes_says_the_same(tmp_path_factory: pytest.TempPathFactory) -> None:
    class Rect(ctypes.Structure):
        _fields_ = [(name, ctypes.c_long) for name in ("left", "top", "right", "bottom")]

    class Corner(ctypes.Structure):
        _fields_ = [("x", ctypes.c_long), ("y", ctypes.c_long)]

    class Crossed(ctypes.Structure):
        _fields_ = [("i", ctypes.c_int), ("f", ctypes.c_float), ("d", ctypes.c_double)]

    class Mixed(ctypes.Structure):
        _fields_ = [("d", ctypes.c_double), ("i", ctypes.c_int)]

    with opened(IN_PROCESS, HEADER, SOURCE, tmp_path_factory) as lib:
        dll = ctypes.CDLL(str(lib.binary.path))
        dll.swap.restype, dll.swap.argtypes = Mixed, (Crossed, ctypes.c_double)
        theirs = dll.swap(Crossed(41, 0.1, 0.2), 0.3)
        mine = lib.swap((41, 0.1, 0.2), 0.3)
        assert (mine.d, mine.i) == (theirs.d, theirs.i)
        dll.pick.restype = Rect
        a, d, g = Rect(10, 1, 30, 2), Rect(10, 3, 30, 4), Rect(10, 5, 30, 6)
        b, c = ctypes.byref(Rect(10, 20, 30, 40)), Corner(1, 2)
        for i in range(3):
            picked = dll.pick(i, a, b, c, d, b, c, g)
            rects = [(one.left, one.top, one.right, one.bottom) for one in (a, d, g, picked)]
            other = [(10, 20, 30, 40)]
            one = lib.pick(i, rects[0], other, (1, 2), rects[1], other, (1, 2), rects[2])
            assert (one.left, one.top, one.right, one.bottom) == rects[3]
