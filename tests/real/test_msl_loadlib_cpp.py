"""The C++ library that msl-loadlib ships, on six sides.

The expected values are those of msl-loadlib's documentation (docs/usage/ipc/cpp.md and
docs/usage/direct/cpp.md, version 1.1) and of its tests (tests/test_loadlib.py). Its C++
side is compiled by g++: by several versions of it, since 2014.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator

import numpy as np
import pytest

import libferry

from .msl_loadlib import sides

HEADER = """
    struct Point { double x; double y; };
    struct FourPoints { struct Point points[4]; };
    struct NPoints { int n; struct Point *points; };

    int add(int a, int b);
    float subtract(float a, float b);
    double add_or_subtract(double a, double b, bool do_addition);
    void scalar_multiply(double a, const double *xin, int n, double *xout);
    void reverse_string_v1(const char *original, int n, char *reversed);
    char *reverse_string_v2(const char *original, int n);
    double distance_4_points(struct FourPoints p);
    double distance_n_points(struct NPoints p);
"""

SIDES = sides(
    "cpp_lib",
    native="/usr/lib/x86_64-linux-gnu/libstdc++.so.6 libstdc++6",
    i386="/usr/lib32/libstdc++.so.6 lib32stdc++6",
    arm64="/usr/aarch64-linux-gnu/lib/libstdc++.so.6 libstdc++6-arm64-cross",
)


@pytest.fixture(scope="module", params=SIDES)
def cpp(request: pytest.FixtureRequest) -> Iterator[libferry.Library]:
    path, isolation, abi = request.param
    with libferry.load(path, header=HEADER, isolation=isolation) as library:
        assert (library.isolation, library.abi) == (isolation, abi)
        yield library


def test_add_two_integers(cpp: libferry.Library) -> None:
    assert cpp.add(1, 2) == 3
    assert cpp.add(-1000, -2) == -1002


def test_subtract_two_floats(cpp: libferry.Library) -> None:
    assert cpp.subtract(20.0, 10.0) == 10.0
    assert cpp.subtract(90.0, 100.0) == -10.0
    # 43.2 and 3.2 are no floats; the nearest ones differ by 40 to a float's precision
    assert cpp.subtract(43.2, 3.2) == pytest.approx(40.0, rel=2**-23)


def test_add_or_subtract_two_doubles_as_a_bool_says(cpp: libferry.Library) -> None:
    assert cpp.add_or_subtract(1.0, 2.0, True) == 3.0
    assert cpp.add_or_subtract(1.0, 2.0, False) == -1.0
    assert cpp.add_or_subtract(0.1234, -0.1234, True) == 0.0
    assert cpp.add_or_subtract(123.456, 23.456, False) == pytest.approx(100.0)


NINE_TIMES_3_1 = [0.0, 3.1, 6.2, 9.3, 12.4, 15.5, 18.6, 21.7, 24.8]


def test_scale_a_list_into_an_array_of_the_librarys(cpp: libferry.Library) -> None:
    values = cpp.new("double[10]")
    cpp.scalar_multiply(2.0, [float(value) for value in range(10)], 10, values)
    assert list(values) == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0]


def test_scale_an_array_module_array_in_place(cpp: libferry.Library) -> None:
    values = array("d", range(9))
    cpp.scalar_multiply(3.1, values, 9, values)
    assert list(values) == pytest.approx(NINE_TIMES_3_1)


def test_scale_a_numpy_array_into_another(cpp: libferry.Library) -> None:
    scaled = np.zeros(9)
    cpp.scalar_multiply(3.1, np.arange(9.0), 9, scaled)
    assert scaled.tolist() == pytest.approx(NINE_TIMES_3_1)


def test_a_numpy_array_of_other_numbers_is_refused(cpp: libferry.Library) -> None:
    with pytest.raises(libferry.FerryError, match=r"argument 2 \(xin\)"):
        cpp.scalar_multiply(3.1, np.arange(9), 9, np.zeros(9))


def test_reverse_a_string_into_memory_of_the_callers(cpp: libferry.Library) -> None:
    backwards = bytearray(len("hello world!"))
    cpp.reverse_string_v1("hello world!", len(backwards), backwards)
    assert backwards.decode() == "!dlrow olleh"


def test_reverse_a_string_into_memory_of_the_librarys(cpp: libferry.Library) -> None:
    # C++ allocates just the characters: there is no NUL behind them.
    backwards = cpp.reverse_string_v2("uncertainty", 11)
    assert backwards.read(11) == b"ytniatrecnu"
    text = "&* 1 j z|x cba["
    assert cpp.reverse_string_v2(text, len(text)).read(len(text)) == b"[abc x|z j 1 *&"


SQUARE = [(0, 0), (0, 1), (1, 1), (1, 0)]


def test_the_way_around_a_square_passed_as_plain_values(cpp: libferry.Library) -> None:
    assert cpp.distance_4_points({"points": SQUARE}) == 4.0
    assert cpp.distance_4_points((SQUARE,)) == 4.0


def test_the_way_around_a_square_passed_as_a_struct(cpp: libferry.Library) -> None:
    square = cpp.new("struct FourPoints")
    for corner, (x, y) in zip(square.points, SQUARE, strict=True):
        corner.x, corner.y = x, y
    assert cpp.distance_4_points(square) == 4.0
    square.points[2] = (1, 2)
    assert cpp.distance_4_points(square) == pytest.approx(3 + math.sqrt(2) + 1)


def around(cpp: libferry.Library, radius: float, n: int) -> float:
    """Give the circumference of a regular polygon of n corners."""
    angles = [2 * math.pi * i / n for i in range(n)]
    corners = [(radius * math.cos(angle), radius * math.sin(angle)) for angle in angles]
    points = cpp.new(f"struct Point[{n}]", corners)
    distance = cpp.distance_n_points({"n": n, "points": points})
    assert isinstance(distance, float)
    return distance


@pytest.mark.parametrize(
    ("power", "expected"),
    [
        (0, 0.0),
        (1, 2.0),
        (2, 2.828427124746),
        (3, 3.061467458920),
        (4, 3.121445152258),
        (5, 3.136548490545),
        (10, 3.141587725277),
        (15, 3.141592648775),
    ],
)
def test_polygons_approach_the_circle(cpp: libferry.Library, power: int, expected: float) -> None:
    # the documentation shows the first twelve digits
    assert around(cpp, 0.5, 2**power) == pytest.approx(expected, abs=1e-12)


def test_a_polygon_of_2_to_the_16_corners_is_round(cpp: libferry.Library) -> None:
    assert around(cpp, 1.0, 2**16) == pytest.approx(2 * math.pi, rel=1e-8)


def test_a_cpp_function_is_reached_by_its_mangled_name(cpp: libferry.Library) -> None:
    distance = cpp.function(
        "double distance(struct Point a, struct Point b)", symbol="_Z8distance5PointS_"
    )
    assert distance((0, 0), (3, 4)) == 5.0
    assert distance({"x": 1, "y": 1}, {"x": 1, "y": -1}) == 2.0
