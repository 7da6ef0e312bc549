"""The Fortran library that msl-loadlib ships, on six sides.

Fortran differs from C in what the caller has to know:

* Every argument goes by reference, numbers too. A list of one is the shortest way.
* A ``character`` argument brings another one: its length, by value, behind all others.
* A matrix lies column by column. C, and Python, would call it transposed.
* ``logical`` is as wide as an integer.

The expected values are those of msl-loadlib's documentation (docs/usage/ipc/fortran.md and
docs/usage/direct/fortran.md, version 1.1) and of its tests (tests/test_loadlib.py).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import libferry

from .msl_loadlib import sides

HEADER = """
    int8_t sum_8bit(const int8_t *a, const int8_t *b);
    int16_t sum_16bit(const int16_t *a, const int16_t *b);
    int32_t sum_32bit(const int32_t *a, const int32_t *b);
    int64_t sum_64bit(const int64_t *a, const int64_t *b);
    float multiply_float32(const float *a, const float *b);
    double multiply_float64(const double *a, const double *b);
    int32_t is_positive(const double *a);
    int32_t add_or_subtract(const int32_t *a, const int32_t *b, const int32_t *do_addition);
    double factorial(const int8_t *n);
    double standard_deviation(const double *a, const int32_t *n);
    double besselj0(const double *x);
    void reverse_string(const char *original, const int32_t *n, char *reversed,
                        size_t original_length, size_t reversed_length);
    void add_1d_arrays(double *a, const double *in1, const double *in2, const int32_t *n);
    void matrix_multiply(double *a,
                         const double *a1, const int32_t *r1, const int32_t *c1,
                         const double *a2, const int32_t *r2, const int32_t *c2);
"""

SIDES = sides(
    "fortran_lib",
    native="/usr/lib/x86_64-linux-gnu/libgfortran.so.5 libgfortran5",
    i386="/usr/lib32/libgfortran.so.5 lib32gfortran5",
    arm64="/usr/aarch64-linux-gnu/lib/libgfortran.so.5 libgfortran5-arm64-cross",
)


@pytest.fixture(scope="module", params=SIDES)
def fortran(request: pytest.FixtureRequest) -> Iterator[libferry.Library]:
    path, isolation, abi = request.param
    with libferry.load(path, header=HEADER, isolation=isolation) as library:
        assert (library.isolation, library.abi) == (isolation, abi)
        yield library


def test_sums_of_every_width(fortran: libferry.Library) -> None:
    assert fortran.sum_8bit([-50], [110]) == 60
    assert fortran.sum_8bit([-(2**7)], [1]) == -127
    assert fortran.sum_16bit([2**15 - 1], [-1]) == 32766
    assert fortran.sum_32bit([123456788], [1]) == 123456789
    assert fortran.sum_64bit([-(2**63)], [1]) == -9223372036854775807
    assert fortran.sum_64bit([2**62], [2**62 - 1]) == 9223372036854775807


def test_a_sum_of_two_numbers_in_the_librarys_memory(fortran: libferry.Library) -> None:
    a, b = fortran.new("int16_t", 300), fortran.new("int16_t", -1)
    assert fortran.sum_16bit(a, b) == 299
    a.value = -300
    assert fortran.sum_16bit(a, b) == -301


def test_a_number_of_another_width_is_refused(fortran: libferry.Library) -> None:
    with pytest.raises(libferry.FerryError, match="argument 1"):
        fortran.sum_16bit(fortran.new("int32_t", 300), [1])
    with pytest.raises(libferry.FerryError, match="argument 2"):
        fortran.sum_8bit([1], [128])


def test_products(fortran: libferry.Library) -> None:
    assert fortran.multiply_float32([2.0], [3.0]) == 6.0
    assert fortran.multiply_float32([40.874], [-1284.131]) == pytest.approx(-52487.570494, 1e-6)
    assert fortran.multiply_float64([1e30], [2e3]) == pytest.approx(2e33)
    assert fortran.multiply_float64([1.1e100], [2.1e200]) == pytest.approx(2.31e300)


def test_a_logical_result(fortran: libferry.Library) -> None:
    assert fortran.is_positive([1.0]) == 1
    assert fortran.is_positive([1e-100]) == 1
    assert fortran.is_positive([-0.1]) == 0
    assert fortran.is_positive([-1e-100]) == 0


def test_a_logical_argument(fortran: libferry.Library) -> None:
    assert fortran.add_or_subtract([1000], [2000], [True]) == 3000
    assert fortran.add_or_subtract([1000], [2000], [False]) == -1000


def test_factorials(fortran: libferry.Library) -> None:
    assert fortran.factorial([0]) == 1.0
    assert fortran.factorial([1]) == 1.0
    assert fortran.factorial([5]) == 120.0
    assert fortran.factorial([37]) == pytest.approx(1.3763753091226343e43)
    assert fortran.factorial([127]) == pytest.approx(3.012660018457658e213)


def test_a_function_that_prints_disturbs_nothing(fortran: libferry.Library) -> None:
    # It also writes "Cannot compute the factorial of a negative number" to its output.
    assert fortran.factorial([-1]) == 0.0
    assert fortran.factorial([3]) == 6.0


def test_a_standard_deviation(fortran: libferry.Library) -> None:
    one_to_nine = [float(value) for value in range(1, 10)]
    assert fortran.standard_deviation(one_to_nine, [9]) == pytest.approx(2.73861278752583)


def test_a_bessel_function(fortran: libferry.Library) -> None:
    assert fortran.besselj0([8.0]) == pytest.approx(0.171650807137, abs=1e-12)
    assert fortran.besselj0([8.6]) == pytest.approx(0.0146229912787412, abs=1e-15)


def test_reverse_a_string(fortran: libferry.Library) -> None:
    backwards = bytearray(12)
    fortran.reverse_string("hello world!", [12], backwards, 12, 12)
    assert backwards.decode() == "!dlrow olleh"


def test_add_two_arrays(fortran: libferry.Library) -> None:
    total = fortran.new("double[9]")
    a = [float(value) for value in range(1, 10)]
    b = [0.5 * value for value in range(1, 10)]
    fortran.add_1d_arrays(total, a, b, [9])
    assert total == [1.5, 3.0, 4.5, 6.0, 7.5, 9.0, 10.5, 12.0, 13.5]


def test_add_two_numpy_arrays(fortran: libferry.Library) -> None:
    a = np.arange(1.0, 1000.0)
    total = np.zeros(999)
    fortran.add_1d_arrays(total, a, 3 * a, [999])
    assert np.array_equal(total, 4 * a)


def test_multiply_two_matrices_of_numpy(fortran: libferry.Library) -> None:
    # In Fortran's order the transposed view is the contiguous one.
    a = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], order="F")
    b = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], order="F")
    product = np.zeros((2, 2), order="F")
    fortran.matrix_multiply(product.T, a.T, [2], [3], b.T, [3], [2])
    assert product.tolist() == [[22.0, 28.0], [49.0, 64.0]]


def test_multiply_two_matrices_column_by_column(fortran: libferry.Library) -> None:
    columns_of_a = [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]
    columns_of_b = [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]
    product = fortran.new("double[4]")
    fortran.matrix_multiply(product, columns_of_a, [2], [3], columns_of_b, [3], [2])
    assert product == [22.0, 49.0, 28.0, 64.0]
