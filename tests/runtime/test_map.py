"""`map`: a function over columns. What numpy computes is what is expected."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import libferry as ferry

from .sides import SIDES, Side, opened

I386 = [side for side in SIDES if str(side.id).startswith("i386")]

SOURCE = """
#include <stdint.h>
struct point { int32_t x; double y; };
EXPORT int32_t add(int32_t a, int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); }
EXPORT uint32_t half(uint32_t a) { return a / 2; }
EXPORT int64_t wide(int64_t a, int64_t b, int64_t c) { return a + b * c; }
EXPORT int64_t widened(int8_t a, uint16_t b, int32_t c) { return (int64_t)a * b + c; }
EXPORT uint8_t narrow(uint8_t a, int16_t b) { return (uint8_t)(a + b); }
EXPORT double mean(double a, double b) { return (a + b) / 2; }
EXPORT float six(float a, float b, float c, float d, float e, float f)
{
    return a - b + c - d + e - f;
}
EXPORT double scale(int32_t n, double x, float f) { return n * x + f; }
EXPORT int32_t seven(int32_t a, int32_t b, int32_t c, int32_t d, int32_t e, int32_t f, int32_t g)
{
    return a - b + c - d + e - f + g;
}
EXPORT struct point move(struct point p, int32_t by)
{
    struct point q = {p.x + by, p.y - by};
    return q;
}
EXPORT int32_t pass_on(int32_t (*f)(int32_t), int32_t a) { return f(a); }
EXPORT int32_t stumble(int32_t a) { return a == 100000 ? *(volatile int32_t *)8 : a; }
static int32_t last;
EXPORT void keep(int32_t a) { last = a; }
EXPORT int32_t kept(void) { return last; }
"""

HEADER = """
struct point { int32_t x; double y; };
int32_t add(int32_t a, int32_t b); uint32_t half(uint32_t a);
int64_t wide(int64_t a, int64_t b, int64_t c);
int64_t widened(int8_t a, uint16_t b, int32_t c);
uint8_t narrow(uint8_t a, int16_t b);
double mean(double a, double b);
float six(float a, float b, float c, float d, float e, float f);
double scale(int32_t n, double x, float f);
int32_t seven(int32_t a, int32_t b, int32_t c, int32_t d, int32_t e, int32_t f, int32_t g);
struct point move(struct point p, int32_t by);
int32_t pass_on(int32_t (*f)(int32_t), int32_t a); int32_t stumble(int32_t a);
void keep(int32_t a); int32_t kept(void);
"""

ROWS = 1000  # a few blocks and a rest
MANY = 300_000  # several pieces for a worker


@pytest.fixture(params=SIDES)
def lib(request: pytest.FixtureRequest) -> Iterator[ferry.Library]:
    side: Side = request.param
    with opened(side, SOURCE, HEADER) as library:
        yield library


def column(dtype: str, rows: int = ROWS) -> np.ndarray:
    """Numbers of every size that the type has, negative ones too."""
    numbers = np.random.default_rng(rows)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return numbers.uniform(-1000, 1000, rows).astype(kind)
    limits = np.iinfo(kind)
    return numbers.integers(limits.min, limits.max, rows, dtype=kind, endpoint=True)


def test_integers_of_one_type(lib: ferry.Library) -> None:
    a, b = column("i4"), column("i4")[::-1]
    assert (lib.add.map(a, b) == a + b).all()
    assert (lib.half.map(column("u4")) == column("u4") // 2).all()
    c, d, e = column("i8"), column("i8")[::-1].copy(), column("i8") // 3
    assert (lib.wide.map(c, d, e) == c + d * e).all()


def test_integers_of_several_sizes(lib: ferry.Library) -> None:
    a, b, c = column("i1"), column("u2"), column("i4")
    assert (lib.widened.map(a, b, c) == a.astype("i8") * b + c).all()
    d, e = column("u1"), column("i2")
    assert (lib.narrow.map(d, e) == (d.astype("i4") + e).astype("u1")).all()


def test_real_numbers(lib: ferry.Library) -> None:
    a, b = column("f8"), column("f8")[::-1].copy()
    assert (lib.mean.map(a, b) == (a + b) / 2).all()
    six = [column("f4", ROWS + n)[:ROWS].round() for n in range(6)]
    assert (lib.six.map(*six) == six[0] - six[1] + six[2] - six[3] + six[4] - six[5]).all()


def test_numbers_of_different_kinds(lib: ferry.Library) -> None:
    n, x, f = column("i2").astype("i4"), column("f8").round(), column("f4").round()
    assert (lib.scale.map(n, x, f) == n * x + f).all()


def test_more_arguments_than_the_fast_loops_have(lib: ferry.Library) -> None:
    a = [column("i2", ROWS + n)[:ROWS].astype("i4") for n in range(7)]
    assert (lib.seven.map(*a) == a[0] - a[1] + a[2] - a[3] + a[4] - a[5] + a[6]).all()


def test_structures(lib: ferry.Library) -> None:
    kind = lib.new("struct point[1]").as_numpy().dtype
    points = np.zeros(ROWS, kind)
    points["x"], points["y"] = column("i2"), column("i2")
    by = column("i1").astype("i4")
    moved = lib.move.map(points, by)
    assert (moved["x"] == points["x"] + by).all()
    assert (moved["y"] == points["y"] - by).all()


def test_a_number_is_the_same_for_every_row(lib: ferry.Library) -> None:
    a = column("i4")
    assert (lib.add.map(a, -7) == a - 7).all()
    assert (lib.add.map(1, a) == a + 1).all()
    assert (lib.mean.map(column("f8"), 0.5) == (column("f8") + 0.5) / 2).all()


def test_columns_with_gaps_and_backwards(lib: ferry.Library) -> None:
    table = column("i4", 3 * ROWS).reshape(ROWS, 3)
    out = np.zeros((ROWS, 2), "i4")
    lib.add.map(table[:, 0], table[::-1, 2], out=out[:, 1])
    assert (out[:, 1] == table[:, 0] + table[::-1, 2]).all()
    assert not out[:, 0].any()


def test_columns_are_broadcast(lib: ferry.Library) -> None:
    a, b = column("i4", 40).reshape(40, 1), column("i4", 30)
    assert (lib.add.map(a, b) == a + b).all()


def test_a_function_without_a_result(lib: ferry.Library) -> None:
    a = column("i4")
    assert lib.keep.map(a) is None
    assert lib.kept() == a[-1]


def test_more_rows_than_go_across_at_once(lib: ferry.Library) -> None:
    a, b = column("i4", MANY), column("i4", MANY)[::-1]
    seen: list[tuple[int, int]] = []
    result = lib.add.map(a, b, progress=lambda done, rows: seen.append((done, rows)))
    assert (result == a + b).all()
    assert seen[-1] == (MANY, MANY)
    assert seen == sorted(seen)


def test_no_rows(lib: ferry.Library) -> None:
    assert lib.add.map(np.zeros(0, "i4"), np.zeros(0, "i4")).shape == (0,)


def test_columns_in_the_shared_memory(lib: ferry.Library) -> None:
    """They are not copied; every other element is used, and one column as it is."""
    memory = lib.new("int32_t[600000]").as_numpy()
    memory[:] = column("i4", 600_000)
    out = lib.new("int32_t[300000]").as_numpy()
    assert lib.add.map(memory[::2], memory[:MANY], out=out) is out
    assert (out == memory[::2] + memory[:MANY]).all()


def test_a_function_that_calls_back(lib: ferry.Library) -> None:
    a = column("i2").astype("i4")
    with lib.callback("int32_t (*)(int32_t)", lambda value: value * 2) as double:
        assert (lib.pass_on.map(double, a) == a * 2).all()


def test_what_a_callback_raises_ends_the_map(lib: ferry.Library) -> None:
    def refuse(value: int) -> int:
        raise LookupError(value)

    with (
        lib.callback("int32_t (*)(int32_t)", refuse) as refusing,
        pytest.raises(LookupError),
    ):
        lib.pass_on.map(refusing, np.arange(1, dtype="i4"))
    assert lib.add(1, 2) == 3


def test_what_progress_raises_ends_the_map(lib: ferry.Library) -> None:
    def stop(done: int, rows: int) -> None:
        raise TimeoutError(done)

    a = column("i4", MANY)
    with pytest.raises(TimeoutError):
        lib.add.map(a, a, progress=stop)
    assert (lib.add.map(a, a) == a + a).all()


NATIVE: Side = ("x86_64-sysv", "worker")


def test_a_row_that_crashes_is_one_clear_error() -> None:
    with (
        opened(NATIVE, SOURCE, HEADER) as library,
        pytest.raises(ferry.LibraryCrashed, match="SIGSEGV"),
    ):
        library.stumble.map(np.arange(MANY, dtype="i4"))


def test_the_shared_memory_may_be_small() -> None:
    a = column("i4", MANY)
    with opened(NATIVE, SOURCE, HEADER, arena=1 << 17) as library:
        assert (library.add.map(a, a) == a + a).all()


def test_nobody_has_to_spin() -> None:
    a = column("i4", MANY)
    with opened(NATIVE, SOURCE, HEADER, spin=False) as library:
        assert (library.add.map(a, a) == a + a).all()


def test_several_threads_map_at_once() -> None:
    def mapped(seed: int) -> bool:
        a = np.arange(seed, seed + MANY, dtype="i4")
        return bool((library.add.map(a, seed) == a + seed).all())

    with opened(NATIVE, SOURCE, HEADER) as library, ThreadPoolExecutor(4) as pool:
        assert all(pool.map(mapped, range(8)))


@pytest.mark.parametrize("side", I386)
@pytest.mark.parametrize("convention", ["cdecl", "stdcall", "fastcall"])
def test_conventions_of_i386(side: Side, convention: str) -> None:
    """fastcall takes two numbers in registers, and then has nothing to pop."""
    declared = f"int __attribute__(({convention})) minus(int a, int b)"
    a, b = column("i2").astype("i4"), column("i1").astype("i4")
    with opened(side, f"EXPORT {declared} {{ return a - b; }}", f"{declared};") as library:
        assert (library.minus.map(a, b) == a - b).all()
