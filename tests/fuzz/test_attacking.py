"""The worker is attacked: a host that writes what no host of ours would.

A host may have any function called, so these functions are lawful ones; words, depths,
lanes, doorbell bytes, sizes and moments are not. Whatever comes, the worker goes on or
ends, does not keep a processor busy once it is left alone, and does not outlive its host.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from libferry.build import compile_library

from ..native.host import BACK, DEPTH, FUNCTION, GUESTS, INTEGER, LANES, REQUEST, Host, WorkerEnded

CASES = int(os.environ.get("FERRY_CASES", "40"))
SEED = int(os.environ.get("FERRY_SEED", "0"))
SECONDS = float(os.environ.get("FERRY_FUZZ_SECONDS", "15"))

pytestmark = pytest.mark.needs("ziglang", install="pip install ziglang")

SOURCE = r"""
#include <pthread.h>
#include <stdint.h>

typedef int64_t function(int64_t);

int64_t plus_one(int64_t n) { return n + 1; }
int64_t twice(function *f, int64_t n) { return f(f(n)); }
int64_t many(function *f, int64_t count)
{
    int64_t sum = 0;

    while (count-- > 0)
        sum += f(count);
    return sum;
}
static void *run(void *f) { return (void *)(intptr_t)((function *)f)(1); }
int64_t in_a_thread(function *f)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, run, (void *)f) == 0)
        pthread_detach(thread);
    return 0;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_library(SOURCE, "x86_64-sysv", tmp_path_factory.mktemp("attacking"), "lib")


class Attacker:
    """One host, one worker, and what the one does to the other."""

    def __init__(self, host: Host, library: Path, random: Random) -> None:
        self.host, self.random = host, random
        self.functions = host.library(library)
        self.callback = host.callback(0)
        self.calls: list[tuple[int, tuple[int, ...]]] = [
            (0, ()),
            (self.functions["plus_one"], (random.randrange(1 << 40),)),
            (self.functions["twice"], (self.callback, 5)),
            (self.functions["many"], (self.callback, random.randrange(20))),
            (self.functions["in_a_thread"], (self.callback,)),
        ]

    def lane(self) -> int:
        """Mostly the first one, often a guest's, sometimes any."""
        random = self.random
        return random.choice([0, 0, 0, 1, LANES, LANES + 1, random.randrange(LANES + GUESTS)])

    def call_lawfully(self) -> None:
        function, integers = self.random.choice(self.calls)
        self.host.post(0, 0, function, integers)

    def answer_lawfully(self) -> None:
        found = self.host.replied(0)
        if found is not None and found[1]:
            self.host.answer(0, found[0], self.random.randrange(100))

    def call_at_any_depth(self) -> None:
        function, integers = self.random.choice(self.calls)
        self.host.post(self.lane(), self.random.randrange(DEPTH), function, integers)

    def return_from_any_depth(self) -> None:
        self.host.answer(self.lane(), self.random.randrange(DEPTH), 1)

    def write_a_word(self) -> None:
        """A word that is nearly right, without a number of its own, or any."""
        at = (self.host.frame(self.lane(), 0) + REQUEST) // 4
        word = self.host.words[at]
        near = [word ^ 1, word ^ 2, word ^ 1 << self.random.randrange(32), word + 256, 0]
        self.host.words[at] = self.random.choice([*near, self.random.getrandbits(32)]) % (1 << 32)

    def write_a_reply(self) -> None:
        self.host.words[self.host.frame(self.lane(), 0) // 4] = self.random.getrandbits(32)

    def change_a_frame(self) -> None:
        """Under a call, maybe. The function stays a lawful one."""
        at = self.host.frame(self.lane(), self.random.randrange(4))
        function, integers = self.random.choice(self.calls)
        struct.pack_into(
            f"<Q{len(integers)}q", self.host.memory, at + FUNCTION, function, *integers
        )
        if not integers:
            struct.pack_into("<q", self.host.memory, at + INTEGER, self.callback)

    def ring(self) -> None:
        bells = self.random.randbytes(self.random.randrange(1, 300))
        with contextlib.suppress(OSError):
            self.host.doorbell.send(bells)

    def stop_for_a_moment(self) -> None:
        self.host.process.send_signal(signal.SIGSTOP)
        time.sleep(0.002)
        self.host.process.send_signal(signal.SIGCONT)

    def wait(self) -> None:
        time.sleep(self.random.random() * 0.002)

    def steps(self) -> list[Callable[[], None]]:
        lawful = [self.call_lawfully, self.answer_lawfully, self.answer_lawfully, self.wait]
        return [
            *lawful,
            *lawful,
            self.call_at_any_depth,
            self.return_from_any_depth,
            self.write_a_word,
            self.write_a_reply,
            self.change_a_frame,
            self.ring,
            self.stop_for_a_moment,
        ]


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """What a process has used, all its threads together."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def attack(library: Path, seed: int) -> None:
    random = Random(seed)
    with Host(spin_ns=random.choice([0, 50_000])) as host:
        attacker = Attacker(host, library, random)
        assert host.call(attacker.functions["plus_one"], 1) == 2
        if random.random() < 0.5:
            host.post(LANES, 0)  # a guest lane that is listened on
        steps = attacker.steps()
        for _ in range(random.randrange(1, 120)):
            if host.process.poll() is not None:
                return
            random.choice(steps)()
        time.sleep(0.05)
        if host.process.poll() is None:
            before = cpu_seconds(host.process)
            time.sleep(0.2)
            if host.process.poll() is None:
                assert cpu_seconds(host.process) - before < 0.15, "it keeps a processor busy"
        host.doorbell.close()
        host.process.wait(30)


def test_a_worker_survives_no_host_and_keeps_nobody_busy(library: Path) -> None:
    until = time.monotonic() + SECONDS
    for seed in range(SEED, SEED + CASES):
        if time.monotonic() > until:
            break
        try:
            attack(library, seed)
        except (AssertionError, subprocess.TimeoutExpired, WorkerEnded) as error:
            raise AssertionError(f"again: FERRY_SEED={seed} FERRY_CASES=1") from error


def test_a_host_that_closes_at_once_leaves_no_worker(library: Path) -> None:
    """Before the worker serves, while it opens a library, and amid a callback."""
    for moment in range(3):
        with Host() as host:
            if moment > 0:
                functions = host.library(library)
                host.post(0, 0, functions["twice"], (host.callback(0), 1))
            if moment > 1:
                assert host.reply(0) == (0, 1, BACK)
            host.doorbell.close()
            assert host.process.wait(30) in (0, 250)
