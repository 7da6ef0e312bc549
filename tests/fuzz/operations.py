"""What a host does with a library: every way to call, and what has to hold afterwards.

Each operation is right for a lawful worker. From a hostile one it may get any answer, or
one of our errors; and what it did not lend for writing is as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

import libferry as ferry

HEADER = """
int add(int a, int b); double scale(double value, double by);
uint32_t sum(const uint8_t *data, size_t size); void fill(uint8_t *data, int value, size_t size);
const char *text(void); size_t length(const char *string);
struct large { double v[6]; }; struct pair { int a; const char *name; };
struct large grow(struct large (*f)(struct large, const char *), struct large l);
struct pair twice(struct pair p); int total(const struct pair *p, int count);
int apply(int (*f)(int), int x); int doubled(int a, int *to);
void visit_from_thread(int (*f)(int), int count); int start_attack(uint64_t seed);
"""

GUARD = b"\xa5" * 64


def numbers(lib: ferry.Library, random: Random) -> None:
    for _ in range(random.randrange(100)):
        lib.add(random.randrange(1 << 30), 1)
        lib.scale(random.random(), 2.0)
    assert isinstance(lib.errno, int)


def lent_to_be_read(lib: ferry.Library, random: Random) -> None:
    data = bytearray(random.randbytes(random.randrange(5000)))
    before = bytes(data)
    lib.sum(data, len(data))
    lib.length("a string")
    assert data == before


def lent_to_be_written(lib: ferry.Library, random: Random) -> None:
    size = random.randrange(1, 5000)
    data = bytearray(GUARD + bytes(size) + GUARD)
    lib.fill(memoryview(data)[len(GUARD) : -len(GUARD)], 7, size)
    assert data[: len(GUARD)] == GUARD == data[-len(GUARD) :]
    assert len(data) == size + 2 * len(GUARD)


def buffers(lib: ferry.Library, random: Random) -> None:
    size = random.randrange(1, 1 << 14)
    buffer = lib.buffer(size)
    lib.fill(buffer, 1, size)
    lib.sum(buffer, size)
    assert len(bytes(buffer)) == size
    if random.random() < 0.5:
        buffer.free()


def strings(lib: ferry.Library, random: Random) -> None:
    value = lib.text()
    assert value is None or isinstance(value, str)


def records(lib: ferry.Library, random: Random) -> None:
    result = lib.twice({"a": random.randrange(1000), "name": "a name"})
    assert isinstance(result.a, int)
    assert result.name is None or isinstance(result.name.address, int)
    rows = lib.new("struct pair[4]")
    for n in range(4):
        rows[n].a = n
    lib.total(rows, 4)
    assert all(isinstance(row.a, int) for row in rows)
    lib.doubled(3, cell := lib.out("int"))
    assert isinstance(cell.value, int)


def callbacks(lib: ferry.Library, random: Random) -> None:
    deep = random.randrange(8)

    def nested(x: int) -> int:
        nonlocal deep
        assert -(1 << 31) <= x < 1 << 31
        deep -= 1
        return lib.apply(nested, 1) & 1 if deep > 0 else 0

    lib.apply(nested, 5)
    lib.grow(lambda large, text: large, {"v": [1.0] * 6})
    with lib.callback("int (*)(int)", lambda x: 1) as callback:
        lib.apply(callback, 1)


def one(x: int) -> int:
    return 1


def guests(lib: ferry.Library, random: Random) -> None:
    lib.visit_from_thread(one, random.randrange(20))  # who is passed as he is, is kept


def rows(lib: ferry.Library, random: Random) -> None:
    assert len(lib.add.batch([(n, 1) for n in range(random.randrange(1, 300))])) > 0
    lib.sum.batch([(b"abc", 3)] * random.randrange(1, 50))
    cells = [bytearray(GUARD) for _ in range(8)]
    lib.fill.batch([(memoryview(cell)[8:16], 3, 8) for cell in cells])
    assert all(cell[:8] == cell[16:24] == GUARD[:8] for cell in cells)


def columns(lib: ferry.Library, random: Random) -> None:
    count = random.randrange(1, 20000)
    column = np.arange(count, dtype="i4")
    assert lib.add.map(column, 1).shape == (count,)
    assert lib.scale.map(column.astype("f8"), 2.0).shape == (count,)
    assert column[-1] == count - 1


def awaited(lib: ferry.Library, random: Random) -> None:
    async def gather() -> None:
        calls = (lib.aio.add(n, 1) for n in range(random.randrange(1, 20)))
        for error in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(error, BaseException) and not isinstance(error, ferry.FerryError):
                raise error

    asyncio.run(gather())


OPERATIONS: list[Callable[[Any, Random], None]] = [
    numbers,
    lent_to_be_read,
    lent_to_be_written,
    buffers,
    strings,
    records,
    callbacks,
    guests,
    rows,
    columns,
    awaited,
]
