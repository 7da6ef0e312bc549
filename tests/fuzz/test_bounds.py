"""What a worker may do without end, and what it costs its host."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import libferry as ferry
from libferry.build import compile_library

pytestmark = pytest.mark.needs("ziglang", install="pip install ziglang")

SOURCE = r"""
#include <pthread.h>
#include <sys/socket.h>

static void *flood(void *unused)
{
    char rings[64] = {0};

    for (;;)
        for (int descriptor = 3; descriptor < 10; descriptor++)
            send(descriptor, rings, sizeof rings, MSG_NOSIGNAL);
    return unused;
}
int start_flooding(void)
{
    pthread_t thread;
    return pthread_create(&thread, NULL, flood, NULL);
}
void call_for_ever(int (*f)(int)) { for (;;) f(1); }
"""
HEADER = "int start_flooding(void); void call_for_ever(int (*f)(int));"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_library(SOURCE, "x86_64-sysv", tmp_path_factory.mktemp("bounds"), "lib")


def test_a_doorbell_that_is_rung_on_and_on_keeps_nobody_busy(library: Path) -> None:
    """The thread that watches all workers took a whole processor for it."""
    with ferry.load(library, header=HEADER, isolation="worker") as lib:
        assert lib.start_flooding() == 0
        before = time.process_time()
        time.sleep(2)
        assert time.process_time() - before < 1


def test_a_library_that_calls_back_for_ever_runs_out_of_time(library: Path) -> None:
    """It is never waited for: the answer to each callback is there at once."""
    called = 0

    def count(x: int) -> int:
        nonlocal called
        called += 1
        if called == 10_000_000:
            raise AssertionError("it was not ended")
        return x

    with (
        ferry.load(library, header=HEADER, isolation="worker", timeout=0.2) as lib,
        pytest.raises(ferry.DeadlineExceeded),
    ):
        lib.call_for_ever(count)
