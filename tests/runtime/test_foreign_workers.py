"""What holds for a native worker holds for every other: 32-bit, another CPU, Windows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import libferry as ferry
from libferry.build import compile_library

from .test_life import ended

SOURCE = """
int add(int a, int b) { return a + b; }
void fill(unsigned char *to, int value, unsigned size)
{
    while (size--) *to++ = (unsigned char)value;
}
void crash(void) { *(volatile int *)16 = 1; }
void hang(void) { for (volatile int on = 1; on;) { } }
static int calls;
int count_call(void) { return ++calls; }
"""

HEADER = """
int add(int a, int b); void fill(unsigned char *to, int value, unsigned size);
void crash(void); void hang(void); int count_call(void);
"""

WINE = pytest.mark.needs("/usr/lib/wine/wine64", install="apt-get install wine64")
FOREIGN = [
    pytest.param(
        "i386-sysv",
        marks=pytest.mark.needs("/lib/ld-linux.so.2", install="apt-get install libc6-i386"),
    ),
    pytest.param(
        "aarch64-aapcs64",
        marks=[
            pytest.mark.needs("qemu-aarch64-static", install="apt-get install qemu-user-static"),
            pytest.mark.needs(
                "/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1",
                install="apt-get install libc6-arm64-cross",
            ),
        ],
    ),
    pytest.param("x86_64-windows", marks=WINE),
    pytest.param(
        "i386-windows",
        marks=pytest.mark.needs(
            "/usr/lib/x86_64-linux-gnu/wine/i386-windows/ntdll.dll", install="tools/setup-debian"
        ),
    ),
]
pytestmark = pytest.mark.parametrize("abi", FOREIGN)


@pytest.fixture
def file(abi: str, tmp_path: Path) -> Path:
    return compile_library(SOURCE, abi, tmp_path, "foreign")


@pytest.fixture
def foreign(file: Path) -> Iterator[ferry.Library]:
    with ferry.load(file, header=HEADER) as library:
        yield library


def test_it_lives_in_a_worker_of_its_own_abi(foreign: ferry.Library, abi: str) -> None:
    assert (foreign.abi, foreign.isolation) == (abi, "worker")
    assert foreign.add(20, 22) == 42


def test_memory_comes_back_changed(foreign: ferry.Library) -> None:
    data = bytearray(100_000)
    foreign.fill(data, 7, len(data))
    assert data == b"\x07" * 100_000
    with foreign.buffer(100_000) as buffer:
        foreign.fill(buffer, 8, len(buffer))
        assert (np.frombuffer(memoryview(buffer), np.uint8) == 8).all()


def test_a_crash_is_an_error_with_its_address(foreign: ferry.Library, abi: str) -> None:
    with pytest.raises(ferry.LibraryCrashed, match=r"at address 0x10\b") as caught:
        foreign.crash()
    assert caught.value.address == 16
    if "windows" in abi:
        assert caught.value.code == 0xC0000005
    else:
        assert caught.value.signal == signal.SIGSEGV
    assert ended(foreign.pid)


def test_a_stuck_call_is_ended(file: Path) -> None:
    with ferry.load(file, header=HEADER, timeout=0.3) as lib:
        assert lib.add(1, 2) == 3
        with pytest.raises(ferry.DeadlineExceeded):
            lib.hang()
        assert ended(lib.pid)


def test_many_threads_get_their_own_answers(foreign: ferry.Library) -> None:
    def work(seed: int) -> bool:
        return all(foreign.add(seed, i) == seed + i for i in range(200))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_no_call_is_lost_or_made_twice(foreign: ferry.Library) -> None:
    assert [foreign.count_call() for _ in range(3000)] == list(range(1, 3001))


def test_no_worker_outlives_its_host(file: Path) -> None:
    script = (
        "import os, signal, libferry as ferry\n"
        f"lib = ferry.load({str(file)!r})\n"
        "print(lib.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    host = subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert ended(int(host.stdout))
