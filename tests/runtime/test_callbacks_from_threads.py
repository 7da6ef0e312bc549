"""The library calls back from threads of its own, and by ways that skip Python."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import libferry as ferry

from .sides import SIDES, Side, opened

SOURCE = """
#ifdef _WIN32
#include <windows.h>
typedef HANDLE thread;
#define BODY static DWORD WINAPI
static thread start(LPTHREAD_START_ROUTINE f, void *p) { return CreateThread(0, 0, f, p, 0, 0); }
static void join(thread t) { WaitForSingleObject(t, INFINITE); CloseHandle(t); }
#else
#include <pthread.h>
typedef pthread_t thread;
#define BODY static void *
static thread start(void *(*f)(void *), void *p)
{
    thread t;
    pthread_create(&t, 0, f, p);
    return t;
}
static void join(thread t) { pthread_join(t, 0); }
#endif

struct job { int (*call)(int); int value; int result; };
BODY run(void *data) { struct job *job = data; job->result = job->call(job->value); return 0; }

EXPORT int in_thread(int (*call)(int), int value)
{
    struct job job = {call, value, 0};
    join(start(run, &job));
    return job.result;
}
EXPORT int in_many_threads(int (*call)(int), int count)
{
    static struct job jobs[64];
    thread threads[64];
    int sum = 0;
    for (int i = 0; i < count; i++) {
        jobs[i].call = call;
        jobs[i].value = i;
        threads[i] = start(run, &jobs[i]);
    }
    for (int i = 0; i < count; i++) { join(threads[i]); sum += jobs[i].result; }
    return sum;
}
EXPORT int add(int a, int b) { return a + b; }
"""
HEADER = """
int in_thread(int (*call)(int), int value);
int in_many_threads(int (*call)(int), int count);
int add(int a, int b);
"""


@pytest.fixture(params=SIDES)
def lib(request: pytest.FixtureRequest) -> Iterator[ferry.Library]:
    with opened(request.param, SOURCE, HEADER) as library:
        yield library


HERE: Side = ("x86_64-sysv", "in-process")
THERE: Side = ("x86_64-sysv", "worker")


def test_a_thread_of_the_library_calls_back(lib: ferry.Library) -> None:
    assert lib.in_thread(lambda x: x * 2, 21) == 42


def test_that_thread_may_be_called_back_into(lib: ferry.Library) -> None:
    assert lib.in_thread(lambda x: int(lib.add(x, 100)), 1) == 101


def test_more_threads_than_can_be_served_at_once_all_are(lib: ferry.Library) -> None:
    """There are 16 guest lanes; the others wait for one."""
    for _ in range(3):
        assert lib.in_many_threads(lambda x: x + 1, 40) == sum(range(1, 41))


@pytest.mark.parametrize("side", [HERE, THERE], ids=["in-process", "worker"])
def test_what_such_a_callback_raises_is_reported(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no call of ours that could raise it; C gets the error value."""
    reported: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)

    def fail(x: int) -> int:
        raise LookupError(x)

    with opened(side, SOURCE, HEADER) as lib:
        assert lib.in_thread(lib.callback("int (*)(int)", fail, error=-7), 5) == -7
        assert lib.in_thread(lambda x: x, 5) == 5
    assert [type(one.exc_value) for one in reported] == [LookupError]


@pytest.mark.parametrize("side", [HERE, THERE], ids=["in-process", "worker"])
def test_callbacks_of_both_kinds_of_threads_mix(side: Side) -> None:
    with opened(side, SOURCE, HEADER) as lib:
        wrong: list[int] = []

        def work(seed: int) -> None:
            for n in range(20):
                if lib.in_thread(lambda x: int(lib.add(x, seed)), n) != n + seed:
                    wrong.append(n)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert not wrong


JUMPING = """
#include <setjmp.h>
static jmp_buf back;
EXPORT int outer(int (*call)(int), int value)
{
    return setjmp(back) ? -1 : call(value);
}
EXPORT void jump(void) { longjmp(back, 1); }
EXPORT void crash(void) { *(volatile int *)16 = 1; }
"""
JUMPING_HEADER = "int outer(int (*call)(int), int value); void jump(void); void crash(void);"


@pytest.mark.parametrize("spin", [True, False])
def test_a_jump_over_python_ends_in_an_error(spin: bool) -> None:
    with opened(THERE, JUMPING, JUMPING_HEADER, spin=spin) as lib:
        with pytest.raises(ferry.FerryError) as caught:
            lib.outer(lambda x: lib.jump(), 1)
        assert isinstance(caught.value.__context__, ferry.ChannelError)
        with pytest.raises(ferry.LibraryCrashed):
            lib.jump()


def test_a_crash_inside_a_callback_is_told_to_both_calls() -> None:
    with opened(THERE, JUMPING, JUMPING_HEADER) as lib:
        inner: list[type] = []

        def call(x: int) -> int:
            try:
                lib.crash()
            except ferry.LibraryCrashed as error:
                inner.append(type(error))
            return 0

        with pytest.raises(ferry.LibraryCrashed):
            lib.outer(call, 1)
        assert inner == [ferry.LibraryCrashed]


def executable_memory(pid: int) -> list[str]:
    """The mappings of a process that can be executed and are no file's."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return [line for line in maps if re.match(r"\S+ ..x. \S+ \S+ 0 *$", line)]


@pytest.mark.parametrize("side", [HERE, THERE], ids=["in-process", "worker"])
def test_no_memory_becomes_executable(side: Side) -> None:
    with opened(side, SOURCE, HEADER) as lib:
        before = executable_memory(lib.pid)
        kept = [lib.callback("int (*)(int)", abs) for _ in range(500)]
        assert lib.in_thread(kept[-1], -3) == 3
        assert executable_memory(lib.pid) == before
