"""A library whose worker crashed begins again: the next call finds a fresh one."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import libferry as ferry

from ..processes import children
from .sides import SIDES, Side, compiled, opened
from .test_life import ended

SOURCE = r"""
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int total, loaded;
struct point { int x, y; };
struct node { int value; struct node *next; };
static int answer = 42;

__attribute__((constructor)) static void load(void) { loaded = 1; }
EXPORT int is_loaded(void) { return loaded; }
EXPORT int setup(int start) { return total = start; }
EXPORT int add(int more) { return total += more; }
EXPORT int plus(int a, int b) { return a + b; }
EXPORT void crash(void) { *(volatile int *)16 = 1; }
EXPORT int *answer_place(void) { return &answer; }
EXPORT int read_int(const int *place) { return *place; }
EXPORT int sum_point(const struct point *point) { return point->x + point->y; }
EXPORT int sum_list(const struct node *node)
{
    int sum = 0;
    for (; node; node = node->next) sum += node->value;
    return sum;
}
EXPORT int half(int value, int *out) { *out = value / 2; return 0; }
EXPORT int apply(int (*function)(int), int value) { return function(value); }
typedef int (*operation)(int, int);
EXPORT operation get_plus(void) { return plus; }
EXPORT int count(int many, ...) { return many; }
EXPORT int counter = 7;
static int (*kept)(int);
struct member { int (*function)(int); };
EXPORT int call_member(const struct member *member, int value) { return member->function(value); }
EXPORT void keep(int (*function)(int)) { kept = function; }
EXPORT int call_kept(int value) { return kept ? kept(value) : -1; }
EXPORT void stuck(void) { for (;;) *(volatile int *)&total = total; }
"""

HEADER = """
struct point { int x, y; };
struct node { int value; struct node *next; };
int is_loaded(void); int setup(int start); int add(int more); int plus(int a, int b);
void crash(void);
int *answer_place(void); int read_int(const int *place);
int sum_point(const struct point *point); int sum_list(const struct node *node);
int half(int value, FERRY_OUT int *out);
int apply(int (*function)(int), int value);
typedef int (*operation)(int, int); operation get_plus(void);
int count(int many, ...); extern int counter;
struct member { int (*function)(int); };
int call_member(const struct member *member, int value);
void keep(int (*function)(int)); int call_kept(int value); void stuck(void);
"""

HERE: Side = ("x86_64-sysv", "worker")


def load(**options: Any) -> ferry.Library:
    """The library above, in a worker of this machine's own ABI."""
    return opened(HERE, SOURCE, HEADER, **{"restart": "next-call", **options})


@pytest.fixture
def lib() -> Iterator[ferry.Library]:
    """The library above, which begins again."""
    with load() as library:
        yield library


def crash(library: ferry.Library) -> None:
    """End its worker, as its users see it."""
    with pytest.raises(ferry.LibraryCrashed):
        library.crash()


@pytest.mark.parametrize(
    "side",
    [
        side
        for side in SIDES
        if side.id
        in (
            "x86_64-sysv-worker",
            "i386-sysv-worker",
            "aarch64-aapcs64-worker",
            "i386-windows-worker",
        )
    ],
)
def test_the_next_call_finds_a_fresh_library_initialised_again(side: Side) -> None:
    with opened(
        side, SOURCE, HEADER, restart="next-call", initialise=lambda lib: lib.setup(100)
    ) as lib:
        first = lib.pid
        add = lib.add
        assert (add(1), add(1)) == (101, 102)
        crash(lib)
        assert add(5) == 105, "what the old worker knew is gone, and the initialiser has run"
        assert (lib.is_loaded(), lib.plus(40, 2), lib.counter) == (1, 42, 7)
        assert lib.restarts == 1
        assert lib.pid != first
        assert ended(first)
        assert str(lib.pid) in repr(lib)


def test_without_being_asked_for_nothing_is_restarted() -> None:
    with load(restart="never") as lib:
        crash(lib)
        with pytest.raises(ferry.LibraryCrashed, match="gone since an earlier call"):
            lib.plus(1, 2)
        assert lib.restarts == 0


def test_a_crash_says_what_comes_next(lib: ferry.Library) -> None:
    with pytest.raises(ferry.LibraryCrashed) as caught:
        lib.crash()
    assert "next call" in caught.value.hint


def test_a_worker_killed_between_two_calls_is_not_noticed(lib: ferry.Library) -> None:
    assert lib.setup(1) == 1
    for times in range(1, 4):
        os.kill(lib.pid, signal.SIGKILL)
        assert ended(lib.pid)
        until = time.monotonic() + 10
        while lib._ferry_session.state == "usable" and time.monotonic() < until:
            time.sleep(0.001)
        assert lib.plus(20, 22) == 42
        assert lib.restarts == times


def test_every_kind_of_function_that_was_kept_goes_on(lib: ferry.Library) -> None:
    plain, out, variadic = lib.plus, lib.half, lib.count
    variadic(1, 2)
    for _ in range(2):
        crash(lib)
        assert plain(1, 2) == 3
        crash(lib)
        assert out(42) == (0, 21)
        crash(lib)
        assert variadic(1, 2) == 1
        crash(lib)
        assert variadic(2, 2.5) == 2
        crash(lib)
        assert plain.batch([(1, 2), (3, 4)]) == [3, 7]
        crash(lib)
        assert plain.post(4, 5).wait() == 9
    assert lib.restarts == 12


def test_map_goes_on(lib: ferry.Library) -> None:
    numpy = pytest.importorskip("numpy")
    plus = lib.plus
    crash(lib)
    assert plus.map(numpy.arange(3, dtype="i4"), 10).tolist() == [10, 11, 12]


def test_awaited_functions_go_on(lib: ferry.Library) -> None:
    async def use() -> tuple[list[int], type]:
        plus = lib.aio.plus
        before = await plus(1, 2)
        try:
            await lib.aio.crash()
        except ferry.LibraryCrashed as error:
            kind = type(error)
        return [before, *await asyncio.gather(*(plus(n, 1) for n in range(20)))], kind

    assert asyncio.run(use()) == ([3, *range(1, 21)], ferry.LibraryCrashed)
    assert lib.restarts == 1


def test_all_ways_to_use_a_library_begin_it_again(lib: ferry.Library) -> None:
    uses: list[Callable[[], object]] = [
        lambda: lib.buffer(4),
        lambda: lib.new("struct point", 1, 2),
        lambda: lib.out("int"),
        lambda: lib.symbol("plus"),
        lambda: lib.cast("int *", lib.symbol("counter")),
        lambda: lib.callback("int (*)(int)", abs),
        lambda: setattr(lib, "counter", 9),
        lambda: lib["plus"](1, 2),
        lambda: lib.function("int is_loaded(void)")(),
        lambda: lib.variable("int counter"),
    ]
    for number, use in enumerate(uses, start=1):
        crash(lib)
        use()
        assert lib.restarts == number


def test_the_callers_in_flight_get_the_crash_and_are_not_repeated(lib: ferry.Library) -> None:
    outcomes: list[type] = []

    def wait() -> None:
        try:
            lib.stuck()
        except ferry.FerryError as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    crash(lib)
    assert lib.plus(1, 2) == 3
    for thread in threads:
        thread.join(10)
    assert outcomes == [ferry.LibraryCrashed] * 4
    assert lib.restarts == 1


def test_one_thread_restarts_and_the_others_wait_for_it() -> None:
    initialised: list[int] = []

    def initialise(lib: ferry.Library) -> None:
        time.sleep(0.05)
        initialised.append(lib.setup(1000))

    with load(initialise=initialise) as lib:
        for _ in range(5):
            crash(lib)
            with ThreadPoolExecutor(8) as threads:
                results = list(threads.map(lib.add, [0] * 8))
            assert results == [1000] * 8, "nobody got in before it was initialised"
        assert lib.restarts == 5
        assert len(initialised) == 6


# ---- what belongs to the worker that is gone ----


@pytest.fixture
def remains(lib: ferry.Library) -> dict[str, Any]:
    """What was made before a crash."""
    point = lib.new("struct point", 3, 4)
    node = lib.new("struct node", 1)
    buffer, out = lib.buffer(4), lib.out("int")
    memoryview(buffer)[:] = b"\x05\0\0\0"
    made = {
        "pointer": lib.answer_place(),
        "function": lib.get_plus(),
        "callback": lib.callback("int (*)(int)", abs),
        "point": point,
        "node": node,
        "buffer": buffer,
        "out": out,
    }
    assert lib.sum_point(point) == 7
    crash(lib)
    assert lib.plus(1, 2) == 3
    return made


@pytest.mark.parametrize(
    "use",
    [
        lambda lib, old: lib.read_int(old["pointer"]),
        lambda lib, old: lib.read_int(old["buffer"]),
        lambda lib, old: lib.read_int(old["out"]),
        lambda lib, old: lib.sum_point(old["point"]),
        lambda lib, old: lib.sum_list(old["node"]),
        lambda lib, old: lib.sum_list(lib.new("struct node", 1, old["node"])),
        lambda lib, old: lib.apply(lib.cast("int (*)(int)", old["function"]), 1),
        lambda lib, old: lib.read_int(lib.cast("const int *", old["buffer"])),
    ],
)
def test_old_addresses_are_refused(
    lib: ferry.Library, remains: dict[str, Any], use: Callable[..., object]
) -> None:
    old = remains["pointer"].session
    with pytest.raises(ferry.ArgumentTypeError, match="the worker that crashed at") as caught:
        use(lib, remains)
    assert "new" in caught.value.hint
    assert old is not lib._ferry_session
    assert lib.restarts == 1


def test_old_addresses_cannot_be_followed(lib: ferry.Library, remains: dict[str, Any]) -> None:
    uses: list[Callable[[], object]] = [
        lambda: remains["pointer"].value,
        lambda: remains["pointer"].read(4),
        lambda: remains["pointer"].cast("unsigned *").value,
        lambda: remains["function"](1, 2),
    ]
    for use in uses:
        with pytest.raises(ferry.LibraryCrashed, match="gone since an earlier call"):
            use()
    assert lib.restarts == 1


def test_shared_memory_of_the_old_worker_stays_readable(
    lib: ferry.Library, remains: dict[str, Any]
) -> None:
    assert bytes(remains["buffer"]) == b"\x05\0\0\0"
    assert (remains["point"].x, remains["point"].y) == (3, 4)
    assert remains["out"].value == 0
    assert lib.sum_point(remains["point"].copy()) == 7, "a copy belongs to nobody"


def test_callables_are_registered_again_by_themselves(lib: ferry.Library) -> None:
    def twice(value: int) -> int:
        return 2 * value

    for _ in range(3):
        assert lib.apply(twice, 21) == 42
        crash(lib)


def test_callbacks_that_were_kept_are_made_again_when_they_are_passed(lib: ferry.Library) -> None:
    def refuse(value: int) -> int:
        raise ValueError(value)

    callback = lib.callback("int (*)(int)", refuse, error=-7)
    seen = []
    for _ in range(3):
        with pytest.raises(ValueError):
            lib.apply(callback, 1)
        with pytest.raises(ValueError):
            lib.call_member(lib.new("struct member", callback), 1)
        seen.append(callback.renewed)
        crash(lib)
    assert seen[0] is None
    assert seen[1] is not seen[2]
    callback.release()
    with pytest.raises(ferry.ArgumentValueError, match="released"):
        lib.apply(callback, 1)


def test_an_initialiser_sets_callbacks_again() -> None:
    kept: list[ferry.Callback] = []

    def initialise(lib: ferry.Library) -> None:
        if not kept:
            kept.append(lib.callback("int (*)(int)", abs))
        lib.keep(kept[0])

    with load(initialise=initialise) as lib:
        for _ in range(3):
            assert lib.call_kept(-3) == 3
            crash(lib)


def test_a_callback_may_use_a_library_that_crashes_under_it(lib: ferry.Library) -> None:
    seen: list[int] = []

    def harm(value: int) -> int:
        crash(lib)
        seen.append(lib.plus(value, 1))
        return value

    with pytest.raises(ferry.LibraryCrashed):
        lib.apply(harm, 1)
    assert seen == [2]
    assert lib.plus(1, 2) == 3
    assert lib.restarts == 1


def test_an_old_worker_that_nobody_remembers_leaves_no_memory(lib: ferry.Library) -> None:
    def channels() -> int:
        return Path("/proc/self/maps").read_text().count("libferry-channel")

    gc.collect()  # what other tests have left
    files = len(os.listdir("/proc/self/fd"))
    before = channels()
    for _ in range(10):
        crash(lib)
        assert lib.plus(1, 2) == 3
    gc.collect()
    assert channels() == before
    assert len(os.listdir("/proc/self/fd")) == files


# ---- limits and failures ----


def test_so_many_restarts_a_minute_and_no_more() -> None:
    with load(restart=2) as lib:
        for _ in range(2):
            crash(lib)
            assert lib.plus(1, 2) == 3
        crash(lib)
        with pytest.raises(ferry.LibraryCrashed, match=r"restarted 2 times in 60 s.* in \d+ s"):
            lib.plus(1, 2)
        assert lib.restarts == 2


@pytest.mark.parametrize(
    ("restart", "error"),
    [
        ("always", ferry.ArgumentTypeError),
        (True, ferry.ArgumentTypeError),
        (0, ferry.ArgumentValueError),
        (1.5, ferry.ArgumentTypeError),
    ],
)
def test_what_is_no_policy_is_refused(restart: Any, error: type[ferry.FerryError]) -> None:
    with pytest.raises(error, match="restart"):
        load(restart=restart)


def test_in_this_process_nothing_can_be_restarted() -> None:
    with pytest.raises(ferry.ArgumentTypeError, match="inside this process"):
        ferry.load(compiled(SOURCE, HERE[0]), isolation="in-process", restart="next-call")


def test_a_spare_needs_something_to_be_a_spare_for() -> None:
    with pytest.raises(ferry.ArgumentTypeError, match="spare"):
        load(restart="never", spare=True)


def test_a_restart_that_fails_says_why_and_the_next_call_tries_again() -> None:
    broken = False

    def initialise(lib: ferry.Library) -> None:
        if broken:
            raise ValueError("no configuration")

    with load(initialise=initialise) as lib:
        crash(lib)
        broken = True
        for _ in range(2):
            with pytest.raises(ValueError, match="no configuration") as caught:
                lib.plus(1, 2)
            assert isinstance(caught.value.__cause__, ferry.LibraryCrashed)
        broken = False
        assert lib.plus(1, 2) == 3
        assert lib.restarts == 1


def test_an_initialiser_that_crashes_does_not_restart_in_itself() -> None:
    calls: list[int] = []

    def initialise(lib: ferry.Library) -> None:
        calls.append(1)
        if len(calls) > 1:
            crash(lib)
            lib.plus(1, 2)

    with load(initialise=initialise) as lib:
        crash(lib)
        with pytest.raises(ferry.LibraryCrashed):
            lib.plus(1, 2)
        assert len(calls) == 2


def test_an_initialiser_that_fails_at_first_leaves_no_worker() -> None:
    pids: list[int] = []

    def initialise(lib: ferry.Library) -> None:
        pids.append(lib.pid)
        raise ValueError

    with pytest.raises(ValueError):
        load(initialise=initialise)
    assert ended(pids[0])


def test_an_initialiser_in_this_process_runs_once() -> None:
    with opened(
        ("x86_64-sysv", "in-process"), SOURCE, HEADER, initialise=lambda lib: lib.setup(7)
    ) as lib:
        assert lib.add(1) == 8


# ---- its end ----


def test_closing_after_a_crash_or_a_restart_ends_everything(lib: ferry.Library) -> None:
    plus = lib.plus
    crash(lib)
    assert plus(1, 2) == 3
    lib.close()
    assert lib.closed
    assert ended(lib.pid)
    for use in (lambda: plus(1, 2), lambda: lib.plus(1, 2), lambda: lib.buffer(1)):
        with pytest.raises(ferry.LibraryClosed):
            use()


def test_a_crashed_library_that_is_closed_stays_closed(lib: ferry.Library) -> None:
    plus = lib.plus
    crash(lib)
    lib.close()
    for use in (lambda: plus(1, 2), lambda: lib.plus(1, 2), lambda: lib.buffer(1)):
        with pytest.raises(ferry.LibraryClosed):
            use()
    assert lib.restarts == 0


def test_closing_while_it_is_restarted_ends_the_new_worker(lib: ferry.Library) -> None:
    begun, go_on, pids = threading.Event(), threading.Event(), []

    def initialise(library: ferry.Library) -> None:
        pids.append(library.pid)
        if len(pids) > 1:
            begun.set()
            go_on.wait(10)

    errors: list[type] = []

    def use() -> None:
        try:
            slow.plus(1, 2)
        except ferry.FerryError as error:
            errors.append(type(error))

    slow = load(initialise=initialise)
    crash(slow)
    thread = threading.Thread(target=use)
    thread.start()
    assert begun.wait(10)
    slow.close()
    go_on.set()
    thread.join(10)
    assert errors == [ferry.LibraryClosed]
    assert all(ended(pid) for pid in pids)


def test_a_fork_does_not_restart_its_parents_library(lib: ferry.Library) -> None:
    crash(lib)
    child = os.fork()
    if child == 0:
        try:
            lib.plus(1, 2)
        except ferry.LibraryClosed as error:
            os._exit(42 if "fork" in str(error) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    assert lib.plus(1, 2) == 3


@pytest.mark.parametrize("spare", [False, True])
def test_a_library_that_is_dropped_leaves_no_process(spare: bool) -> None:
    before = children()
    lib = load(spare=spare)
    crash(lib)
    plus = lib.plus
    assert plus(1, 2) == 3
    gone = weakref.ref(lib)
    del lib
    gc.collect()
    assert plus(1, 2) == 3, "a function keeps its library"
    del plus
    until = time.monotonic() + 10
    while (gone() or not children() <= before) and time.monotonic() < until:
        gc.collect()
        time.sleep(0.01)
    assert gone() is None
    assert children() <= before


# ---- a worker in reserve ----


def test_a_fork_while_a_worker_starts_does_not_keep_it_alive() -> None:
    script = (
        "import os, time, libferry as ferry\n"
        "from libferry.runtime.worker import Worker\n"
        "spawn, forks = Worker._spawn, []\n"
        "def forking(self, *how):\n"
        "    process = spawn(self, *how)\n"
        "    forks.append(os.fork())\n"
        "    if forks[-1] == 0:\n"
        "        os.close(1); os.close(2); time.sleep(60); os._exit(0)\n"
        "    return process\n"
        "Worker._spawn = forking\n"
        f"lib = ferry.load({str(compiled(SOURCE, HERE[0]))!r}, isolation='worker')\n"
        "print(lib.pid, *forks, flush=True)\n"
        "os._exit(0)\n"
    )
    # a worker has its host's standard streams, too: their end is not waited for
    host = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert host.stdout
    pid, fork = map(int, host.stdout.readline().split())
    host.wait(10)
    try:
        assert ended(pid)
    finally:
        os.kill(fork, signal.SIGKILL)


def wait_for_spare(lib: ferry.Library) -> int:
    """The process in reserve."""
    spare = lib._ferry_life._spare
    assert spare is not None
    until = time.monotonic() + 10
    while not spare._ready and time.monotonic() < until:
        time.sleep(0.001)
    return spare._ready[0].pid


def test_a_spare_takes_the_place_of_a_worker_that_is_gone() -> None:
    with load(spare=True, initialise=lambda lib: lib.setup(7)) as lib:
        for times in range(1, 4):
            reserve = wait_for_spare(lib)
            assert reserve != lib.pid
            crash(lib)
            assert lib.add(0) == 7
            assert (lib.pid, lib.restarts) == (reserve, times)


def test_a_spare_that_died_is_not_used() -> None:
    with load(spare=True) as lib:
        reserve = wait_for_spare(lib)
        os.kill(reserve, signal.SIGKILL)
        assert ended(reserve)
        crash(lib)
        assert lib.plus(1, 2) == 3


def test_a_spare_ends_with_its_library() -> None:
    lib = load(spare=True)
    reserve = wait_for_spare(lib)
    lib.close()
    assert ended(reserve)
    lib = load(spare=True)  # and one that is being made
    lib.close()
    before = {thread.name for thread in threading.enumerate()}
    until = time.monotonic() + 10
    while "libferry spare" in before and time.monotonic() < until:
        before = {thread.name for thread in threading.enumerate()}
        time.sleep(0.01)
    assert not lib._ferry_life._spare._ready  # type: ignore[union-attr]


@pytest.mark.parametrize("way", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)", "1"])
@pytest.mark.parametrize("wait", [0.0, 0.0525, 0.5])  # before, while and after it starts
def test_no_spare_outlives_its_host(way: str, wait: float) -> None:
    script = (
        "import os, signal, sys, time, libferry as ferry\n"
        f"lib = ferry.load({str(compiled(SOURCE, HERE[0]))!r}, isolation='worker',"
        " restart='next-call', spare=True)\n"
        f"time.sleep({wait})\nprint(lib.pid, flush=True)\n{way}\n"
    )
    with orphans_are_ours():
        host = subprocess.Popen(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        before = children()
        out, err = host.communicate(timeout=60)
        assert ended(int(out))
        assert err == ""
        until = time.monotonic() + 10
        while not _only_zombies(children() - before) and time.monotonic() < until:
            time.sleep(0.01)
        assert _only_zombies(children() - before)


@contextmanager
def orphans_are_ours() -> Iterator[None]:
    """What a child leaves behind becomes ours (prctl(2), PR_SET_CHILD_SUBREAPER)."""
    prctl = ctypes.CDLL(None).prctl
    assert prctl(36, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        prctl(36, 0, 0, 0, 0)


def _only_zombies(pids: set[int]) -> bool:
    states = []
    for pid in pids:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        states.append(stat.rpartition(")")[2].split()[0])
    return all(state in "ZX" for state in states)
