"""The library owns the worker, so it can write anything anywhere in the channel.

A wrong answer is then its privilege. This process must go on, and every call must
return or raise one of our errors.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import libferry as ferry

from .conftest import Compile

SOURCE = r"""
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LANES (50 * 4096) /* native/channel.h: a page of header, 49 of the fault area */

static char *channel;
static size_t size;
static volatile int busy;
static uint64_t state;

static uint64_t next(void) /* xorshift64 */
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

int find_channel(void)
{
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        if (strstr(line, "libferry-channel") && sscanf(line, "%lx-%lx", &from, &to) == 2) {
            channel = (char *)from;
            size = to - from;
        }
    }
    fclose(maps);
    return channel != NULL;
}

/* Lane 0's reply word is at the start of the lanes. */
void write_reply_and_wait(uint32_t value)
{
    *(volatile uint32_t *)(channel + LANES) = value;
    sleep(60);
}

static void *scribble(void *unused)
{
    while (busy) {
        /* mostly the header, what tells of a fault, and the first lanes, sometimes anywhere */
        size_t from = next() % 2 ? LANES : 0, reach = next() % 4 ? 64 * 1024 : size - from;
        uint64_t value = next() % 2 ? next() : next() % 8;
        memcpy(channel + from + next() % (reach - 8), &value, 1 + next() % 8);
    }
    return unused;
}

void start_scribbling(uint64_t seed)
{
    pthread_t thread;
    state = seed | 1;
    busy = 1;
    pthread_create(&thread, NULL, scribble, NULL);
    pthread_detach(thread);
}

uint32_t sum(const uint8_t *data, size_t length)
{
    uint32_t total = 0;
    while (length--) total += *data++;
    return total;
}
const char *text(void) { return "text"; }
int nothing(void) { return 0; }
int add(int a, int b) { return a + b; }
struct large { double v[6]; };
struct large grow(struct large (*f)(struct large, const char *), struct large l)
{
    return f(l, "text");
}
int apply(int (*f)(int), int x) { return f(x); }
static int (*kept)(int);
void keep(int (*f)(int)) { kept = f; }
static void *visit(void *unused) { while (busy) kept(1); return unused; }
void start_visitors(int count)
{
    pthread_t thread;
    busy = 1;
    while (count--) pthread_create(&thread, NULL, visit, NULL);
}

/* native/frame.h: frames of 16 KiB, 64 to a lane; a reply word, a request word, a
 * function. */
static char *frame_of(uint32_t lane, uint32_t depth)
{
    return channel + LANES + ((size_t)lane * 64 + depth) * 16384;
}
static void hand_over(uint32_t lane, uint32_t depth, uint32_t back)
{
    volatile uint32_t *reply = (void *)frame_of(lane, 0);
    uint32_t number = *(volatile uint32_t *)(frame_of(lane, 0) + 64) >> 8;
    *reply = number << 8 | depth << 2 | back << 1;
    syscall(SYS_futex, reply, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}
/* Say, without a callback, that one is called. */
void call_back(uint32_t lane, uint32_t depth, uint64_t number)
{
    memset(frame_of(lane, depth) + 72, 0xff, 16384 - 72);
    *(volatile uint64_t *)(frame_of(lane, depth) + 72) = number;
    hand_over(lane, depth, 1);
    sleep(60);
}
void return_at(uint32_t depth) { hand_over(0, depth, 0); sleep(60); }

/* Change what the host has been told while it looks. */
static void *flip(void *unused)
{
    while (busy) {
        *(volatile uint64_t *)(frame_of(0, 1) + 72) ^= 1ull << 40;
        *(volatile uint64_t *)(frame_of(0, 1) + 80) ^= -1ull;
    }
    return unused;
}
void start_flipping(void)
{
    pthread_t thread;
    busy = 1;
    pthread_create(&thread, NULL, flip, NULL);
}

/* Never answer, but wake who waits, and write the word it has seen. */
static void *rouse(void *unused)
{
    volatile uint32_t *reply = (void *)frame_of(0, 0);
    uint32_t before = *reply & ~1u;
    for (;;) {
        *reply = before;
        syscall(SYS_futex, reply, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    }
    return unused;
}
void rouse_for_ever(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, rouse, NULL);
    rouse(NULL);
}
"""

HEADER = """
int find_channel(void);
void write_reply_and_wait(uint32_t value);
void start_scribbling(uint64_t seed);
uint32_t sum(const uint8_t *data, size_t length); const char *text(void); int nothing(void);
int add(int a, int b); struct large { double v[6]; };
struct large grow(struct large (*f)(struct large, const char *), struct large l);
int apply(int (*f)(int), int x); void keep(int (*f)(int)); void start_visitors(int count);
void call_back(uint32_t lane, uint32_t depth, uint64_t number); void return_at(uint32_t depth);
void start_flipping(void); void rouse_for_ever(void);
"""


@pytest.fixture(scope="module")
def hostile(compile_c: Compile) -> Path:
    return compile_c(SOURCE)


def test_a_reply_that_no_call_has_is_a_broken_protocol(hostile: Path) -> None:
    lib = ferry.load(hostile, header=HEADER, isolation="worker")
    assert lib.find_channel()
    with pytest.raises(ferry.ChannelError, match="no lawful worker"):
        lib.write_reply_and_wait(0x12345678)
    with pytest.raises(ferry.LibraryCrashed):
        lib.nothing()


@pytest.mark.parametrize("seed", range(12))
def test_scribbling_over_the_channel_hurts_only_the_library(hostile: Path, seed: int) -> None:
    lib = ferry.load(
        hostile, header=HEADER, isolation="worker", timeout=1.0, arena=1 << 20, spin=seed % 2 == 0
    )
    assert lib.find_channel()
    data = bytearray(1000)
    buffer = lib.buffer(4096)
    with contextlib.suppress(ferry.FerryError):
        lib.start_scribbling(seed * 7919 + 1)
        for _ in range(2000):
            lib.sum(data, len(data))
            lib.sum(buffer, 64)
            lib.text()
    lib.close()
    assert data == bytearray(1000)  # const over there: never copied back
    assert len(bytes(buffer)) == 4096


@pytest.fixture
def lib(hostile: Path) -> Iterator[ferry.Library]:
    with ferry.load(hostile, header=HEADER, isolation="worker", arena=1 << 22) as library:
        assert library.find_channel()
        yield library


@pytest.mark.parametrize("number", [0, 1, 4095, 4096, 1 << 32, 1 << 63, (1 << 64) - 1])
def test_a_callback_that_nobody_made_is_a_broken_protocol(lib: ferry.Library, number: int) -> None:
    with pytest.raises(ferry.ChannelError, match="no lawful worker"):
        lib.call_back(0, 1, number)


@pytest.mark.parametrize("depth", [0, 2, 3, 62, 63])
def test_a_callback_at_another_depth_is_a_broken_protocol(lib: ferry.Library, depth: int) -> None:
    callback = lib.callback("int (*)(int)", abs)
    with pytest.raises(ferry.ChannelError, match="no lawful worker"):
        lib.call_back(0, depth, callback.number)


@pytest.mark.parametrize("depth", [1, 2, 63])
def test_a_return_from_another_depth_is_a_broken_protocol(lib: ferry.Library, depth: int) -> None:
    with pytest.raises(ferry.ChannelError, match="no lawful worker"):
        lib.return_at(depth)


def test_a_released_callback_is_no_callback(lib: ferry.Library) -> None:
    callback = lib.callback("int (*)(int)", abs)
    callback.release()
    with pytest.raises(ferry.ChannelError, match="no lawful worker"):
        lib.call_back(0, 1, callback.number)


def test_a_guest_that_breaks_the_protocol_ends_its_worker(
    lib: ferry.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for a guest; the error is reported, and the next call fails."""
    reported: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    lib.callback("int (*)(int)", abs)  # from here on there is a listener
    with pytest.raises(ferry.FerryError):
        lib.call_back(64, 1, 77)
    for _ in range(500):
        if reported:
            break
        time.sleep(0.01)
    assert isinstance(reported[0].exc_value, ferry.ChannelError)
    with pytest.raises(ferry.FerryError):
        lib.nothing()


def test_what_changes_while_it_is_read_is_read_once(lib: ferry.Library) -> None:
    """The number of the callback and its argument, by another thread of the worker's."""
    seen: set[int] = set()

    def see(x: int) -> int:
        seen.add(x)
        return 0

    callback = lib.callback("int (*)(int)", see)
    with contextlib.suppress(ferry.FerryError):
        lib.start_flipping()
        for _ in range(3000):
            lib.apply(callback, 5)
    assert seen <= {5, ~5, 0, ~0}  # the zero that lay there before may be written back


@pytest.mark.parametrize("seed", range(8))
def test_scribbling_hurts_no_callback_batch_map_or_awaited_call(
    hostile: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    lib = ferry.load(
        hostile, header=HEADER, isolation="worker", timeout=2.0, arena=1 << 22, spin=seed % 2 == 0
    )
    assert lib.find_channel()
    column = np.arange(5000, dtype="i4")
    kept = lib.callback("int (*)(int)", lambda x: x)
    lib.keep(kept)

    async def awaited() -> None:
        await asyncio.gather(*(lib.aio.add(n, 1) for n in range(20)))

    with contextlib.suppress(ferry.FerryError, UnicodeDecodeError):
        lib.start_visitors(3)
        lib.start_scribbling(seed * 104729 + 1)
        for _ in range(40):
            lib.apply(kept, 1)
            lib.grow(lambda large, text: large, {"v": [1.0] * 6})
            lib.add.batch([(n, 1) for n in range(100)])
            lib.sum.batch([(b"abc", 3)] * 50)
            lib.add.map(column, 1)
            asyncio.run(awaited())
    lib.close()
    assert column.tolist() == list(range(5000))


def test_ctrl_c_reaches_a_call_whose_worker_wakes_it_on_and_on(hostile: Path) -> None:
    """The signal is another thread's, so that the main one is not interrupted by it."""
    script = f"""
import signal, threading, time
import libferry as ferry
lib = ferry.load({str(hostile)!r}, header={HEADER!r}, isolation="worker")
lib.find_channel()
def interrupt():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {{signal.SIGINT}})
    time.sleep(0.5)
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGINT}})
try:
    lib.rouse_for_ever()
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "interrupted\n", done.stderr
