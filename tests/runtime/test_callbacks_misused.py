"""Callbacks at the wrong moment, from the wrong place, or without end."""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import libferry as ferry

from .conftest import Compile

SOURCE = r"""
#include <pthread.h>
#include <stdatomic.h>
int apply(int (*f)(int), int x) { return f(x); }
int twice(int (*f)(int), int x) { return f(f(x)); }
int down(int (*f)(int), int n) { return n == 0 ? 0 : 1 + f(n - 1); }
void for_ever(int (*f)(int)) { for (;;) f(1); }
static int (*kept)(int);
void keep(int (*f)(int)) { kept = f; }
static atomic_int answer;
static void *call(void *unused) { answer = kept(1); return unused; }
static pthread_t thread;
void start(void) { pthread_create(&thread, NULL, call, NULL); }
int finish(void) { pthread_join(thread, NULL); return answer; }
struct large { double v[4]; };
double first(struct large (*f)(int), int x) { return f(x).v[0]; }
int add(int a, int b) { return a + b; }
"""
HEADER = """
int apply(int (*f)(int), int x); int twice(int (*f)(int), int x);
int down(int (*f)(int), int n); void for_ever(int (*f)(int)); void keep(int (*f)(int));
void start(void); int finish(void);
struct large { double v[4]; }; double first(struct large (*f)(int), int x);
int add(int a, int b);
"""


@pytest.fixture(scope="module")
def file(compile_c: Compile) -> Path:
    return compile_c(SOURCE, "-pthread")


@pytest.fixture(params=["in-process", "worker"])
def lib(request: pytest.FixtureRequest, file: Path) -> Any:
    with ferry.load(file, header=HEADER, isolation=request.param) as library:
        yield library


@pytest.fixture
def here(file: Path) -> ferry.Library:
    return ferry.load(file, header=HEADER, isolation="in-process")


@pytest.fixture
def there(file: Path) -> ferry.Library:
    return ferry.load(file, header=HEADER, isolation="worker")


def wait_for(condition: Callable[[], object]) -> None:
    for _ in range(1000):
        gc.collect()
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it does not happen")


@pytest.mark.parametrize("stack", [0, 1 << 19], ids=["main", "small"])
def test_nesting_ends_before_the_stack_does(here: ferry.Library, stack: int) -> None:
    """An error, where the process itself would end; and before Python's own limit."""
    caught: list[BaseException] = []

    def step(n: int) -> int:
        return int(here.down(step, n))

    def nest() -> None:
        try:
            here.down(step, 100_000)
        except RecursionError as error:
            caught.append(error)

    before = threading.stack_size(stack)
    thread = threading.Thread(target=nest)
    thread.start()
    threading.stack_size(before)
    thread.join()
    assert isinstance(caught[0], ferry.NestedTooDeep)
    assert here.down(step, 5) == 5


def test_a_thread_of_the_library_may_close_it_in_its_callback(here: ferry.Library) -> None:
    closed = threading.Event()

    def close(x: int) -> int:
        here.close()
        closed.set()
        return x

    here.keep(close)
    here.start()
    assert closed.wait(30)
    time.sleep(0.05)  # its code, to which it returns, is still there
    with pytest.raises(ferry.LibraryClosed):
        here.add(1, 2)


@pytest.mark.parametrize("gil", ["keep", "release"])
@pytest.mark.parametrize("other", [ctypes.CFUNCTYPE, ctypes.PYFUNCTYPE], ids=["free", "held"])
def test_another_ffi_may_stand_between_call_and_callback(
    here: ferry.Library, gil: Any, other: Any
) -> None:
    """It has let go of the GIL, or holds it, whatever our own call did."""
    callback = here.callback("int (*)(int)", lambda x: x + 1)
    inner = other(ctypes.c_int, ctypes.c_int)(callback.address)
    between = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda x: inner(x))
    address = ctypes.cast(between, ctypes.c_void_p).value
    assert address is not None
    apply = here.function("int apply(int (*f)(int), int x)", gil=gil)
    assert apply(here.cast("int (*)(int)", address), 7) == 8
    assert inner(1) == 2


def test_a_callback_that_releases_itself_still_returns(there: ferry.Library) -> None:
    """Not even when its description's bytes are somebody else's before C goes on."""
    left: list[Any] = []

    def once(x: int) -> dict[str, object]:
        left.pop().release()
        os.kill(there.pid, signal.SIGSTOP)
        threading.Timer(0.2, overwrite).start()
        return {"v": [x, 0, 0, 0]}

    def overwrite() -> None:
        left.extend(there.buffer(64) for _ in range(50))
        for buffer in left:
            memoryview(buffer)[:] = b"\xff" * 64
        os.kill(there.pid, signal.SIGCONT)

    left.append(there.callback("struct large (*)(int)", once))
    pointer = there.cast("struct large (*)(int)", left[0].address)
    assert there.first(pointer, 5) == 5


@pytest.mark.parametrize("isolation", ["in-process", "worker"])
@pytest.mark.parametrize(
    "make",
    [
        lambda lib: lib.new("struct large"),
        lambda lib: lib.buffer(8),
        lambda lib: lib.cast("int *", 4096),
    ],
    ids=["record", "buffer", "pointer"],
)
def test_a_callback_that_holds_its_librarys_memory_does_not_keep_it(
    file: Path, isolation: Any, make: Callable[[ferry.Library], object]
) -> None:
    def keep_one() -> weakref.ref[Any]:
        lib = ferry.load(file, header=HEADER, isolation=isolation)
        memory = make(lib)
        lib.keep(lambda x: x if memory else 0)
        return weakref.ref(lib._ferry_session)

    session = keep_one()
    wait_for(lambda: session() is None)


class _Ticker:
    """Ctrl-C again and again, until it is heard."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._over.wait(0.3):
            os.kill(os.getpid(), signal.SIGINT)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@pytest.mark.parametrize(
    "function",
    [lambda x: sum(range(200_000)) % 2, functools.partial(max, *range(200_000))],
    ids=["python", "builtin"],
)
def test_ctrl_c_ends_a_library_that_calls_back_for_ever(
    there: ferry.Library, function: Callable[[int], int]
) -> None:
    """C goes on after the first; the second ends its worker."""
    with _Ticker(), pytest.raises(KeyboardInterrupt):
        there.for_ever(function)


def test_ctrl_c_comes_before_another_exception(lib: ferry.Library) -> None:
    raised = iter([ValueError("first"), KeyboardInterrupt()])

    def fail(x: int) -> int:
        raise next(raised)

    with pytest.raises(KeyboardInterrupt):
        lib.twice(fail, 0)
    assert lib.add(1, 2) == 3


def test_what_cannot_be_called_is_no_callback(lib: ferry.Library) -> None:
    wrong: Any = 5
    with pytest.raises(ferry.ArgumentTypeError, match="cannot be called"):
        lib.callback("int (*)(int)", wrong)
