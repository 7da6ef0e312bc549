"""The library owns the worker, so it can write anything anywhere in the channel.

A wrong answer is then its privilege. This process must go on, and every call must
return or raise one of our errors.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

import libferry as ferry

from .conftest import Compile

SOURCE = r"""
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* Lane 0's reply word is at the start of the first page after the header. */
void write_reply_and_wait(uint32_t value)
{
    *(volatile uint32_t *)(channel + 4096) = value;
    sleep(60);
}

static void *scribble(void *unused)
{
    while (busy) {
        /* mostly the header and the first lanes, sometimes anywhere */
        size_t reach = next() % 4 ? 64 * 1024 : size;
        uint64_t value = next() % 2 ? next() : next() % 8;
        memcpy(channel + next() % (reach - 8), &value, 1 + next() % 8);
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
"""

HEADER = """
int find_channel(void);
void write_reply_and_wait(uint32_t value);
void start_scribbling(uint64_t seed);
uint32_t sum(const uint8_t *data, size_t length); const char *text(void); int nothing(void);
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
