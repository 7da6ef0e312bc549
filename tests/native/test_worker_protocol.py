"""Callbacks across a channel: what the worker says and does, at every step."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .host import BACK, DEPTH, LANES, Host, WorkerEnded

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the host double knows x86-64 Linux only"
)

SOURCE = r"""
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

typedef int64_t function(int64_t);

int64_t plus_one(int64_t n) { return n + 1; }
int64_t twice(function *f, int64_t n) { return f(f(n)); }
int64_t many(function *f, int64_t count)
{
    int64_t sum = 0;
    while (count--) sum += f(count);
    return sum;
}
int64_t keeps_errno(function *f) { errno = 7; f(0); return errno; }
int64_t set_errno(int64_t n) { errno = (int)n; return 0; }

static function *later;
static void *run(void *n) { return (void *)(intptr_t)later((intptr_t)n); }
int64_t in_a_thread(function *f, int64_t n)
{
    pthread_t thread;
    void *result;

    later = f;
    pthread_create(&thread, NULL, run, (void *)(intptr_t)n);
    pthread_join(thread, &result);
    return (intptr_t)result;
}

static void *run_many(void *count)
{
    int64_t sum = 0;
    for (intptr_t i = 0; i < (intptr_t)count; i++) sum += later(i);
    return (void *)(intptr_t)sum;
}
int64_t in_threads(function *f, int64_t threads, int64_t count)
{
    pthread_t all[64];
    int64_t sum = 0;

    later = f;
    for (int64_t i = 0; i < threads; i++)
        pthread_create(&all[i], NULL, run_many, (void *)(intptr_t)count);
    for (int64_t i = 0; i < threads; i++) {
        void *result;
        pthread_join(all[i], &result);
        sum += (intptr_t)result;
    }
    return sum;
}

static jmp_buf here;
int64_t jump_target(function *f) { return setjmp(here) ? 5 : f(0); }
int64_t jump(void) { longjmp(here, 1); }

int64_t forks(function *f)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        f(0);
        _exit(9); /* not reached: there is nobody to answer */
    }
    waitpid(child, &status, 0);
    return status;
}

static function *at_end;
static void __attribute__((destructor)) leave(void) { if (at_end) at_end(0); }
int64_t call_at_end(function *f) { at_end = f; return 0; }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("protocol")
    (directory / "library.c").write_text(SOURCE)
    made = directory / "library.so"
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-gnu.2.17", "-O1"]
    command += ["-fno-sanitize=all", "-shared", "-fPIC", "-pthread", "-o", str(made), "library.c"]
    subprocess.run(command, cwd=directory, check=True, capture_output=True)
    return made


@pytest.fixture(params=[0, 50_000], ids=["never spinning", "spinning"])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    with Host(spin_ns=request.param) as made:
        yield made


def test_a_callback_arrives_and_its_result_goes_back(host: Host, library: Path) -> None:
    functions = host.library(library)
    host.post(0, 0, functions["twice"], (host.callback(3), 10))

    assert host.reply(0) == (0, 1, BACK)
    assert (host.function(0, 1), host.integer(0, 1)) == (3, 10)
    host.answer(0, 1, 20)
    assert host.reply(0) == (0, 1, BACK)
    assert host.integer(0, 1) == 20
    host.answer(0, 1, 30)

    assert host.reply(0) == (0, 0, 0)
    assert host.result(0, 0) == 30


def test_a_call_within_a_callback(host: Host, library: Path) -> None:
    functions = host.library(library)
    plus_one = functions["plus_one"]
    host.post(0, 0, functions["twice"], (host.callback(0), 10))

    for _ in range(2):
        assert host.reply(0) == (0, 1, BACK)
        host.answer(0, 1, host.call(plus_one, host.integer(0, 1), depth=2))

    assert host.reply(0) == (0, 0, 0)
    assert host.result(0, 0) == 12


def test_thousands_of_callbacks_in_one_call(host: Host, library: Path) -> None:
    functions = host.library(library)
    host.post(0, 0, functions["many"], (host.callback(4095), 3000))

    for n in reversed(range(3000)):
        assert host.reply(0) == (0, 1, BACK)
        assert host.integer(0, 1) == n
        host.answer(0, 1, n)

    assert host.reply(0) == (0, 0, 0)
    assert host.result(0, 0) == sum(range(3000))


def test_nesting_to_the_full_depth_and_back(host: Host, library: Path) -> None:
    functions = host.library(library)
    many, callback = functions["many"], host.callback(0)

    for depth in range(0, DEPTH, 2):  # each call calls back once
        host.post(0, depth, many, (callback, 1))
        assert host.reply(0) == (0, depth + 1, BACK)
    for depth in reversed(range(0, DEPTH, 2)):
        host.answer(0, depth + 1, depth)
        assert host.reply(0) == (0, depth, 0)
        assert host.result(0, depth) == depth


def test_the_librarys_errno_survives_a_callback(host: Host, library: Path) -> None:
    functions = host.library(library)
    set_errno = functions["set_errno"]
    host.post(0, 0, functions["keeps_errno"], (host.callback(0),))

    assert host.reply(0) == (0, 1, BACK)
    host.call(set_errno, 11, depth=2)
    assert host.errno(0, 2) == 11
    host.answer(0, 1, 0)

    assert host.reply(0) == (0, 0, 0)
    assert (host.result(0, 0), host.errno(0, 0)) == (7, 7)


def test_a_thread_of_the_library_takes_a_guest_lane(host: Host, library: Path) -> None:
    functions = host.library(library)
    plus_one = functions["plus_one"]
    host.post(LANES, 0)
    for n in range(3):
        host.post(0, 0, functions["in_a_thread"], (host.callback(0), n))
        assert host.reply(0, LANES) == (LANES, 1, BACK)
        assert host.integer(LANES, 1) == n
        host.answer(LANES, 1, host.call(plus_one, n, lane=LANES, depth=2))
        assert host.reply(0) == (0, 0, 0)
        assert host.result(0, 0) == n + 1


def test_without_a_guest_lane_a_thread_waits_until_the_host_listens(
    host: Host, library: Path
) -> None:
    functions = host.library(library)
    host.post(0, 0, functions["in_a_thread"], (host.callback(0), 5))
    request = host.words[(host.frame(LANES, 0) + 64) // 4 :]
    while request[0] == 0:  # until the thread is parked there
        pass

    host.post(LANES, 0)

    assert host.reply(LANES) == (LANES, 1, BACK)
    host.answer(LANES, 1, 6)
    assert host.reply(0) == (0, 0, 0)
    assert host.result(0, 0) == 6


@pytest.mark.parametrize("guests", [1, 2, 16])
def test_more_threads_than_guest_lanes_take_turns(host: Host, library: Path, guests: int) -> None:
    functions = host.library(library)
    lanes = range(LANES, LANES + guests)
    host.post(lanes[0], 0)
    host.post(0, 0, functions["in_threads"], (host.callback(0), 24, 50))

    listening, expected = 1, 0
    for turn in range(24 * 50):
        lane, depth, back = host.reply(*lanes[:listening])
        assert (depth, back) == (1, BACK)
        value = host.integer(lane, 1)
        expected += value * 3
        host.answer(lane, 1, value * 3)
        if turn % 20 == 0 and listening < guests:  # the host listens to more by and by
            host.post(lanes[listening], 0)
            listening += 1

    assert host.reply(0) == (0, 0, 0)
    assert host.result(0, 0) == expected


def test_a_released_callback_ends_the_worker_and_says_so(host: Host, library: Path) -> None:
    functions = host.library(library)
    thunk = host.callback(12)
    twice = functions["twice"]
    assert host.call(host.services[5], 12, 0) == thunk

    host.post(0, 0, twice, (thunk, 1))

    with pytest.raises(WorkerEnded, match="250"):
        host.reply(0)
    assert host.fault() == (1, 0x1001, 12)


def test_a_request_out_of_order_ends_the_worker(host: Host, library: Path) -> None:
    functions = host.library(library)
    plus_one = functions["plus_one"]
    host.post(0, 0, functions["twice"], (host.callback(0), 1))
    assert host.reply(0) == (0, 1, BACK)

    host.post(0, 0, plus_one, (1,))  # lawful would be a call at depth 2

    with pytest.raises(WorkerEnded, match="250"):
        host.reply(0)
    assert host.fault()[:2] == (1, 0x1002)


def test_a_jump_over_a_callback_shows_in_the_reply(host: Host, library: Path) -> None:
    functions = host.library(library)
    jump = functions["jump"]
    host.post(0, 0, functions["jump_target"], (host.callback(0),))
    assert host.reply(0) == (0, 1, BACK)

    host.post(0, 2, jump)

    assert host.reply(0) == (0, 0, 0)  # lawful would be (2, 0) or (3, BACK)
    assert host.result(0, 0) == 5


def test_a_forked_child_that_calls_back_ends(host: Host, library: Path) -> None:
    functions = host.library(library)

    assert host.call(functions["forks"], host.callback(0)) == 0  # exit status of the child


def test_a_destructor_that_calls_back_does_not_keep_the_worker(host: Host, library: Path) -> None:
    functions = host.library(library)
    host.call(functions["call_at_end"], host.callback(0))

    host.doorbell.close()

    assert host.process.wait(30) == 0


def test_a_thread_in_a_callback_does_not_keep_the_worker(host: Host, library: Path) -> None:
    functions = host.library(library)
    host.post(LANES, 0)
    host.post(0, 0, functions["in_a_thread"], (host.callback(0), 1))
    assert host.reply(LANES) == (LANES, 1, BACK)

    host.doorbell.close()

    assert host.process.wait(30) == 0
