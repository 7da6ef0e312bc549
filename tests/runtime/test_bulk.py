"""One function over many rows: columns, tuples, and awaited calls."""

from __future__ import annotations

import array
import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import libferry as ferry

from .sides import SIDES, Side, opened

SOURCE = """
EXPORT int add(int a, int b) { return a + b; }
EXPORT long long wide(signed char a, unsigned short b, long long c) { return a + b + c; }
EXPORT unsigned char narrow(unsigned char a) { return (unsigned char)(a + 1); }
EXPORT double scale(double x, double by) { return x * by; }
EXPORT float half(float x) { return x / 2; }
EXPORT double mixed(int n, double x, unsigned char c, float f) { return n + x * c - f; }
EXPORT _Bool odd(unsigned v) { return v & 1; }
typedef struct { int x; double y; } point;
EXPORT point mirror(point p) { point q = {-p.x, -p.y}; return q; }
typedef struct { double v[5]; } row;
EXPORT double total(row r, int n)
{
    double t = 0;
    for (int i = 0; i < n; i++) t += r.v[i];
    return t;
}
static int seen;
EXPORT void note(int v) { seen += v; }
EXPORT int noted(void) { return seen; }
EXPORT int length(const char *text) { int n = 0; while (text[n]) n++; return n; }
EXPORT int first(const int *v, int at) { return v[at]; }
EXPORT void shift(char *text, int by) { for (; *text; text++) *text += by; }
EXPORT void fill(char *to, int n, int value) { for (int i = 0; i < n; i++) to[i] = (char)value; }
"""
HEADER = """
int add(int a, int b);
long long wide(signed char a, unsigned short b, long long c);
unsigned char narrow(unsigned char a);
double scale(double x, double by);
float half(float x);
double mixed(int n, double x, unsigned char c, float f);
_Bool odd(unsigned v);
typedef struct { int x; double y; } point;
point mirror(point p);
typedef struct { double v[5]; } row;
double total(row r, int n);
void note(int v);
int noted(void);
int length(const char *text);
int first(const int *v, int at);
void fill(char *to, int n, int value);
void shift(char *text, int by);
"""


@pytest.fixture(params=SIDES)
def lib(request: pytest.FixtureRequest) -> Iterator[ferry.Library]:
    with opened(request.param, SOURCE, HEADER) as library:
        yield library


HERE: Side = ("x86_64-sysv", "in-process")
THERE: Side = ("x86_64-sysv", "worker")


@pytest.fixture(params=[HERE, THERE], ids=["in-process", "worker"])
def native(request: pytest.FixtureRequest) -> Iterator[ferry.Library]:
    with opened(request.param, SOURCE, HEADER) as library:
        yield library


ROWS = 100_000  # several pieces of a worker's


def test_integers_of_every_width_go_through_columns(lib: ferry.Library) -> None:
    a = np.arange(ROWS, dtype="i4")
    b = np.arange(ROWS, dtype="i4")[::-1]
    assert np.array_equal(lib.add.map(a, b), a + b)
    small, middle = (a % 200 - 100).astype("i1"), (a % 60000).astype("u2")
    large = np.arange(ROWS, dtype="i8") * 10**12
    assert np.array_equal(lib.wide.map(small, middle, large), small + middle.astype("i8") + large)
    bytes_ = (a % 256).astype("u1")
    assert np.array_equal(lib.narrow.map(bytes_), bytes_ + np.uint8(1))
    assert lib.odd.map(a.astype("u4")).tolist() == (a % 2 == 1).tolist()


def test_floating_point_and_mixed_rows(lib: ferry.Library) -> None:
    x = np.arange(-500, 501) / 8  # exact, whether multiplied and added in one step or two
    assert np.array_equal(lib.scale.map(x, x + 1), x * (x + 1))
    f = x.astype("f4")
    assert np.array_equal(lib.half.map(f), f / np.float32(2))
    n, c = np.arange(1001, dtype="i4"), (np.arange(1001) % 256).astype("u1")
    assert np.array_equal(lib.mixed.map(n, x, c, f), n + x * c - f.astype("f8"))


def test_what_is_no_array_is_the_same_in_every_row(lib: ferry.Library) -> None:
    assert lib.add.map(np.arange(4, dtype="i4"), 10).tolist() == [10, 11, 12, 13]
    assert lib.scale.map(2.0, np.array([1.0, 2.0])).tolist() == [2.0, 4.0]


def test_columns_broadcast_and_may_be_strided(lib: ferry.Library) -> None:
    column = np.arange(3, dtype="i4").reshape(3, 1)
    row = np.arange(8, dtype="i4")[::2]
    assert lib.add.map(column, row).tolist() == (column + row).tolist()
    backwards = np.arange(10, dtype="i4")[::-3]
    assert lib.add.map(backwards, backwards).tolist() == (2 * backwards).tolist()


def test_structures_are_columns_too(lib: ferry.Library) -> None:
    points = lib.new("point[500]").as_numpy()
    points["x"], points["y"] = np.arange(500), np.arange(500) / 4
    mirrored = lib.mirror.map(points)
    assert np.array_equal(mirrored["x"], -points["x"])
    assert np.array_equal(mirrored["y"], -points["y"])
    rows = lib.new("row[3]", [([1, 2, 3, 4, 5],), ([10, 0, 0, 0, 0],), ([0, 0, 0, 0, 7],)])
    assert lib.total.map(rows.as_numpy(), np.array([2, 5, 4], dtype="i4")).tolist() == [3, 10, 0]


def test_a_function_without_a_result_is_called_for_every_row(lib: ferry.Library) -> None:
    assert lib.note.map(np.arange(101, dtype="i4")) is None
    assert lib.noted() == 5050


def test_memory_of_the_library_is_the_same_in_every_row(lib: ferry.Library) -> None:
    values = lib.new("int[4]", [7, 8, 9, 10])
    assert lib.first.map(values, np.array([3, 0, 1], dtype="i4")).tolist() == [10, 7, 8]


def test_results_go_where_they_are_told(native: ferry.Library) -> None:
    out = np.zeros((2, 3), dtype="i4")
    given = np.arange(6, dtype="i4").reshape(2, 3)
    assert native.add.map(given, 1, out=out) is out
    assert out.tolist() == [[1, 2, 3], [4, 5, 6]]
    turned = np.zeros((3, 2), dtype="i4").T
    native.add.map(given, 2, out=turned)
    assert turned.tolist() == [[2, 3, 4], [5, 6, 7]]
    with pytest.raises(ferry.ArgumentTypeError, match="out="):
        native.add.map(given, 1, out=np.zeros(6, dtype="i4"))
    with pytest.raises(ferry.ArgumentTypeError, match="out="):
        native.add.map(given, 1, out=np.zeros((2, 3)))


def test_progress_is_told_up_to_the_end(native: ferry.Library) -> None:
    told: list[tuple[int, int]] = []
    native.add.map(
        np.zeros(600_000, "i4"), 1, progress=lambda done, rows: told.append((done, rows))
    )
    assert len(told) > 1
    assert told[-1] == (600_000, 600_000)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_progress_can_stop_it(native: ferry.Library) -> None:
    def stop(done: int, rows: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        native.add.map(np.zeros(600_000, "i4"), 1, progress=stop)
    assert native.add(1, 2) == 3


def test_other_integers_are_converted_if_they_fit(native: ferry.Library) -> None:
    assert native.add.map(np.array([1, 2], dtype="i8"), [3, 4]).tolist() == [4, 6]
    with pytest.raises(ferry.ArgumentValueError, match="row 1"):
        native.add.map(np.array([1, 1 << 40]), 0)
    with pytest.raises(ferry.ArgumentTypeError, match="float64"):
        native.add.map(np.array([1.5]), 0)
    with pytest.raises(ferry.ArgumentValueError, match="broadcast"):
        native.add.map(np.arange(3), np.arange(4))
    with pytest.raises(ferry.ArgumentTypeError, match="no argument is an array"):
        native.add.map(1, 2)


@pytest.mark.needs("pyarrow", install="pip install pyarrow")
def test_arrow_columns_are_read_where_they_lie(native: ferry.Library) -> None:
    import pyarrow

    column = pyarrow.array([1, 2, 3], pyarrow.int32())
    assert native.add.map(column, pyarrow.chunked_array([[10], [20, 30]])).tolist() == [11, 22, 33]
    assert native.add.map(column.buffers()[1], 1).tolist() == [2, 3, 4]
    with pytest.raises(ferry.ArgumentTypeError, match="float64"):  # which has room for a null
        native.add.map(pyarrow.array([1, None]), 1)


def test_any_buffer_of_numbers_is_a_column(native: ferry.Library) -> None:
    ones, threes = array.array("i", [1, 2]), memoryview(array.array("i", [3, 4]))
    assert native.add.map(ones, threes).tolist() == [4, 6]
    assert native.narrow.map(b"abc").tolist() == [98, 99, 100]


def test_nothing_is_mapped_to_nothing(native: ferry.Library) -> None:
    assert native.add.map(np.zeros(0, "i4"), 1).shape == (0,)


def test_a_batch_takes_what_a_call_takes(lib: ferry.Library) -> None:
    assert lib.length.batch([("",), ("abc",), (b"four",), ("x" * 5000,)]) == [0, 3, 4, 5000]
    points = lib.mirror.batch([((n, n / 2),) for n in range(2000)])
    assert [p.x for p in points] == [-n for n in range(2000)]
    assert points[7].y == -3.5
    assert lib.note.batch([(n,) for n in range(10)]) == [None] * 10
    assert lib.noted() == 45


def test_a_batch_writes_back_what_each_row_brought(native: ferry.Library) -> None:
    buffers = [bytearray(4) for _ in range(50)]
    native.fill.batch([(buffer, 4, n) for n, buffer in enumerate(buffers)])
    assert buffers == [bytes([n] * 4) for n in range(50)]


def test_rows_of_a_batch_see_what_earlier_rows_wrote(native: ferry.Library) -> None:
    """The same buffer, or a part of it, in row after row: as if called one by one."""
    whole = bytearray(b"aaaaaaaa\0")
    half, other = memoryview(whole)[4:], bytearray(b"x\0")
    native.shift.batch([(whole, 1), (half, 2), (other, 1), (whole, 3), (half, 4)])
    assert whole == b"eeeekkkk\0"
    assert other == b"y\0"


def test_rows_of_a_batch_that_fail_are_collected(native: ferry.Library) -> None:
    with pytest.raises(ferry.RowErrors, match="2 failed, the first of them row 1") as caught:
        native.add.batch([(1, 2), ("x", 1), (3, 4), (1,)])
    assert caught.value.results == [3, None, 7, None]
    assert sorted(caught.value.errors) == [1, 3]


def test_calls_can_be_awaited(lib: ferry.Library) -> None:
    async def main() -> list[int]:
        return list(await asyncio.gather(*(lib.aio.add(n, n) for n in range(100))))

    assert asyncio.run(main()) == [2 * n for n in range(100)]


def test_an_awaited_call_raises_what_a_call_does(native: ferry.Library) -> None:
    async def main() -> None:
        await native.aio.add("x", 1)

    with pytest.raises(ferry.ArgumentTypeError):
        asyncio.run(main())


def test_a_cancelled_call_leaves_the_library_usable(native: ferry.Library) -> None:
    async def main() -> int:
        task = asyncio.ensure_future(native.aio.add(1, 2))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return int(await native.aio.add(3, 4))

    for _ in range(50):
        assert asyncio.run(main()) == 7


@pytest.mark.parametrize("side", [HERE, THERE], ids=["in-process", "worker"])
def test_calls_of_a_library_for_one_thread_can_be_awaited(side: Side) -> None:
    with opened(side, SOURCE, HEADER, threads="one") as lib:

        async def main() -> list[int]:
            tasks = [asyncio.ensure_future(lib.aio.add(n, 1)) for n in range(20)]
            await asyncio.sleep(0)
            return [lib.add(0, 0), *await asyncio.gather(*tasks)]

        assert asyncio.run(main()) == [0, *range(1, 21)]


@pytest.mark.parametrize("side", [HERE, THERE], ids=["in-process", "worker"])
def test_progress_may_call_a_library_for_one_thread(side: Side) -> None:
    with opened(side, SOURCE, HEADER, threads="one") as lib:
        column = np.arange(1_000_000, dtype="i4")
        told: list[int] = []
        lib.add.map(column, 1, progress=lambda done, rows: told.append(lib.add(done, 0)))
        assert told[-1] == 1_000_000


def test_several_loops_await_calls_of_one_library() -> None:
    """Together they want more lanes than there are."""
    with opened(THERE, SOURCE, HEADER) as lib:

        async def main() -> list[int]:
            return list(await asyncio.gather(*(lib.aio.add(n, 1) for n in range(500))))

        with ThreadPoolExecutor(3) as pool:
            results = list(pool.map(lambda _: asyncio.run(main()), range(3)))
        assert results == [list(range(1, 501))] * 3


def test_awaited_calls_end_with_their_worker() -> None:
    with opened(THERE, SOURCE, HEADER) as lib:

        async def main() -> None:
            await lib.aio.first(lib.cast("int *", 16), 0)

        with pytest.raises(ferry.LibraryCrashed):
            asyncio.run(main())


@pytest.mark.parametrize("rows", [5, None, [5], [(1, 2), None]])
def test_what_is_no_row_is_refused(native: ferry.Library, rows: Any) -> None:
    with pytest.raises(ferry.ArgumentTypeError, match="for rows"):
        native.add.batch(rows)


def test_a_ragged_list_is_no_column(native: ferry.Library) -> None:
    with pytest.raises(ferry.ArgumentTypeError, match="no array"):
        native.add.map([[1], [1, 2]], 1)
