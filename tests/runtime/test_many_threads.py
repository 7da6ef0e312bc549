"""What holds for one thread holds for many at once, with and without the GIL.

Each thread checks its own results: a mixed-up lane, frame or buffer is a wrong number. In
a free-threaded Python the threads really run at once; with the GIL they take turns, in an
order that the interpreter chooses.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import libferry as ferry

from .conftest import Compile

SOURCE = """
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

int64_t mix(int64_t a, int64_t b) { return a * 31 + b; }
uint32_t sum(const uint8_t *data, size_t size)
{
    uint32_t total = 0;
    while (size--) total += *data++;
    return total;
}
void fill(void *to, int value, size_t size) { memset(to, value, size); }
int apply(int (*function)(int), int value) { return function(value); }
struct pair { int64_t a, b; };
int64_t difference(const struct pair *pair) { return pair->a - pair->b; }
struct pair swapped(struct pair pair) { return (struct pair){pair.b, pair.a}; }
void pause_us(int us) { usleep((useconds_t)us); }

static int (*kept)(int);
static void *run(void *value) { return (void *)(intptr_t)kept((int)(intptr_t)value); }
int apply_on_a_thread(int (*function)(int), int value)
{
    pthread_t thread;
    void *result;
    kept = function;
    pthread_create(&thread, 0, run, (void *)(intptr_t)value);
    pthread_join(thread, &result);
    return (int)(intptr_t)result;
}
"""

HEADER = """
int64_t mix(int64_t a, int64_t b); uint32_t sum(const uint8_t *data, size_t size);
void fill(void *to, int value, size_t size);
int apply(int (*function)(int), int value);
struct pair { int64_t a, b; };
int64_t difference(const struct pair *pair); struct pair swapped(struct pair pair);
void pause_us(int us); int apply_on_a_thread(int (*function)(int), int value);
"""

THREADS = 8


@pytest.fixture(scope="module")
def file(compile_c: Compile) -> Path:
    return compile_c(SOURCE, "-pthread")


@pytest.fixture(params=["in-process", "worker"])
def lib(request: pytest.FixtureRequest, file: Path) -> Iterator[ferry.Library]:
    with ferry.load(file, header=HEADER, isolation=request.param) as library:
        yield library


def together(work: Callable[[int], None]) -> None:
    """Call ``work(0)``, ``work(1)``, ... on a thread each, begun at the same moment."""
    start = threading.Barrier(THREADS)
    failures: list[BaseException] = []

    def run(number: int) -> None:
        start.wait()
        try:
            work(number)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_numbers(lib: ferry.Library) -> None:
    def work(number: int) -> None:
        for i in range(5000):
            assert lib.mix(number, i) == number * 31 + i

    together(work)


def test_memory_that_is_copied_in_and_out(lib: ferry.Library) -> None:
    def work(number: int) -> None:
        for i in range(500):
            data = bytearray(64 + i % 100)
            lib.fill(data, number + 1, len(data))
            assert data == bytes([number + 1]) * len(data)
            assert lib.sum(bytes(data), len(data)) == (number + 1) * len(data)

    together(work)


def test_structures_by_value_and_by_pointer(lib: ferry.Library) -> None:
    def work(number: int) -> None:
        for i in range(500):
            pair = lib.new("struct pair", a=number, b=i)
            swapped = lib.swapped(pair)
            assert (swapped.a, swapped.b) == (i, number)
            assert lib.difference(pair) == number - i
            assert lib.swapped((i, number)).b == i

    together(work)


def test_buffers_made_and_freed(lib: ferry.Library) -> None:
    """Each is zero at first, whoever had the memory before, and nobody else writes to it."""

    def work(number: int) -> None:
        for i in range(300):
            with lib.buffer(32 + 7 * i % 300) as buffer:
                assert not any(memoryview(buffer))
                lib.fill(buffer, number + 1, len(buffer))
                assert bytes(buffer) == bytes([number + 1]) * len(buffer)

    free = lib._ferry_session.arena_free
    together(work)
    assert lib._ferry_session.arena_free == free


def test_one_buffer_is_freed_by_one_and_viewed_by_others(lib: ferry.Library) -> None:
    """Whoever views it sees it whole; free() refuses as long as anybody does."""
    for _ in range(200):
        buffer = lib.buffer(4096)
        lib.fill(buffer, 7, len(buffer))

        def work(number: int, buffer: ferry.Buffer = buffer) -> None:
            try:
                if number == 0:
                    buffer.free()
                else:
                    with memoryview(buffer) as view:
                        assert view[::64] == b"\7" * 64
            except BufferError:  # in use, or freed
                pass

        together(work)
        buffer.free()


def test_callbacks_of_each_thread_are_its_own(lib: ferry.Library) -> None:
    def work(number: int) -> None:
        for i in range(200):
            with lib.callback("int (*)(int)", lambda value: value + number) as callback:
                assert lib.apply(callback, i) == i + number

    together(work)


def test_one_callback_is_called_by_all(lib: ferry.Library) -> None:
    with lib.callback("int (*)(int)", lambda value: value * 2) as double:

        def work(number: int) -> None:
            for i in range(500):
                assert lib.apply(double, number * i) == 2 * number * i

        together(work)


def test_a_callback_that_raises_raises_in_its_own_thread(lib: ferry.Library) -> None:
    def work(number: int) -> None:
        def fail(value: int) -> int:
            raise LookupError(number, value)

        with lib.callback("int (*)(int)", fail) as callback:
            for i in range(100):
                with pytest.raises(LookupError) as caught:
                    lib.apply(callback, i)
                assert caught.value.args == (number, i)

    together(work)


def test_calls_within_callbacks(lib: ferry.Library) -> None:
    def work(number: int) -> None:
        def deeper(value: int) -> int:
            result: int = lib.mix(number, value) if value == 0 else lib.apply(callback, value - 1)
            return result

        with lib.callback("int (*)(int)", deeper) as callback:
            for _ in range(50):
                assert lib.apply(callback, 5) == number * 31

    together(work)


def test_functions_and_variables_looked_up_for_the_first_time_by_all(file: Path) -> None:
    for isolation in ("in-process", "worker"):
        with ferry.load(file, header=HEADER, isolation=isolation) as lib:  # type: ignore[arg-type]

            def work(number: int, lib: ferry.Library = lib) -> None:
                assert lib.mix(1, number) == 31 + number
                assert lib.new("struct pair", a=number).a == number
                assert lib.apply(lambda value: value, number) == number

            together(work)


def test_results_of_async_calls_waited_for_by_other_threads(file: Path) -> None:
    with ferry.load(file, header=HEADER, isolation="worker") as lib:
        pending = [lib.mix.post(number, 1) for number in range(THREADS)]

        def work(number: int) -> None:
            assert pending[number].wait() == number * 31 + 1

        together(work)


def test_closing_while_others_call(file: Path) -> None:
    """A call that has begun ends as it would; one that begins later is refused."""
    for isolation in ("in-process", "worker"):
        for _ in range(20):
            lib = ferry.load(file, header=HEADER, isolation=isolation)  # type: ignore[arg-type]
            pair = lib.new("struct pair", a=1, b=2)

            def work(number: int, lib: ferry.Library = lib, pair: object = pair) -> None:
                if number == 0:
                    lib.pause_us(500)
                    lib.close()
                    return
                with pytest.raises(ferry.LibraryClosed):  # noqa: PT012
                    for i in range(1_000_000):
                        assert lib.mix(number, i) == number * 31 + i
                        assert lib.difference(pair) == -1

            together(work)


def test_a_library_loaded_and_closed_by_all(file: Path) -> None:
    def work(number: int) -> None:
        for isolation in ("in-process", "worker"):
            with ferry.load(file, header=HEADER, isolation=isolation) as lib:  # type: ignore[arg-type]
                assert lib.mix(number, 2) == number * 31 + 2

    together(work)
