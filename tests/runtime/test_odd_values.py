"""Values by value of which one ABI or another has a notion of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import libferry as ferry

from .sides import SIDES, opened

TYPES = """
typedef struct { float m; } one_float;
typedef struct { double m; } one_double;
typedef float four __attribute__((vector_size(16)));
typedef struct { four a, b, c, d; } fours;
struct __attribute__((aligned(32))) wide { long long m; int n; };
"""
SOURCE = f"""{TYPES}
EXPORT one_float half(one_float v) {{ one_float r = {{ v.m / 2 }}; return r; }}
EXPORT one_double more(one_double v, one_double (*f)(one_double))
{{
    one_double r = f(v);
    r.m += 1;
    return r;
}}
EXPORT fours spread(four x) {{ fours r = {{ x, x + 1, x + 2, x + 3 }}; return r; }}
EXPORT four last(fours (*f)(four), four x) {{ return f(x).d; }}
EXPORT int misaligned(int a, struct wide x, double d, struct wide y)
{{
    return (int)((__UINTPTR_TYPE__)&x % 32) + x.n * 10 + y.n + a + (int)d;
}}
"""
HEADER = f"""{TYPES}
one_float half(one_float v);
one_double more(one_double v, one_double (*f)(one_double));
fours spread(four x);
four last(fours (*f)(four), four x);
int misaligned(int a, struct wide x, double d, struct wide y);
"""


@pytest.fixture(params=SIDES)
def lib(request: pytest.FixtureRequest) -> Iterator[ferry.Library]:
    with opened(request.param, SOURCE, HEADER) as library:
        yield library


def test_a_structure_of_one_number(lib: ferry.Library) -> None:
    """On i386 Windows it comes back on the x87 stack, as mingw has it."""
    assert lib.half((3.0,)).m == 1.5
    assert lib.more((2.0,), lambda v: {"m": v.m * 4}).m == 9.0


def test_four_vectors_in_a_result(lib: ferry.Library) -> None:
    """Arm has registers for all 64 bytes, AArch64 too; the others have memory."""
    assert lib.spread((1, 2, 3, 4)).d == (4.0, 5.0, 6.0, 7.0)
    answer = lib.last(lambda x: {"d": [-one for one in x]}, (1, 2, 3, 4))
    assert answer == (-1.0, -2.0, -3.0, -4.0)


def test_a_structure_that_is_aligned_to_more_than_the_stack(lib: ferry.Library) -> None:
    assert lib.misaligned(1, {"n": 4}, 2.0, {"n": 5}) == 48
