"""What a worker may do without end, and what it costs its host."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import libferry as ferry
from libferry.build import compile_library

pytestmark = pytest.mark.needs("ziglang", install="pip install ziglang")

SOURCE = r"""
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

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
int wait_for_ever(void) { return pause(); }
"""
# its destructor, too
NEVER_ENDS = """
#include <unistd.h>
int one(void) { return 1; }
__attribute__((destructor)) static void never_end(void) { for (;;) pause(); }
"""
HEADER = """
int start_flooding(void); void call_for_ever(int (*f)(int)); int wait_for_ever(void);
"""


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


def test_an_awaited_call_runs_out_of_time(library: Path) -> None:
    async def wait(lib: ferry.Library) -> None:
        await asyncio.wait_for(lib.aio.wait_for_ever(), 20)

    with ferry.load(library, header=HEADER, isolation="worker", timeout=0.2) as lib:
        began = time.monotonic()
        with pytest.raises(ferry.DeadlineExceeded):
            asyncio.run(wait(lib))
        assert time.monotonic() - began < 10


def is_gone(pid: int, within: float) -> bool:
    until = time.monotonic() + within
    while time.monotonic() < until:
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.01)
    return False


def test_a_destructor_that_never_ends_does_not_outlive_the_host(tmp_path: Path) -> None:
    """Nobody is there any more who would kill the worker after a while."""
    file = compile_library(NEVER_ENDS, "x86_64-sysv", tmp_path, "lib")
    script = (
        "import os, signal, libferry as ferry\n"
        f"lib = ferry.load({str(file)!r}, header='int one(void);', isolation='worker')\n"
        f"lib.one(); open({str(tmp_path / 'pid')!r}, 'w').write(str(lib.pid))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script], timeout=60, check=False)
    pid = int((tmp_path / "pid").read_text())
    try:
        assert is_gone(pid, 20)
    finally:
        if Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGKILL)
