"""_core.spawn: a child with these descriptors and nothing else of ours."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from libferry import _core
from libferry.runtime.process import Process

from .. import processes
from . import plans

ROOT = Path(__file__).parents[2]
SHELL = b"/bin/sh"
EARLIER: set[int] = set()  # other tests' workers


def run(
    script: str, descriptors: Mapping[int, int] | None = None, plan: bytes | None = None
) -> tuple[int, str]:
    """A shell script's exit status and all that it wrote."""
    reading, writing = os.pipe()
    try:
        given = {1: writing, 2: writing} | dict(descriptors or {})
        pid, pidfd, listener = _core.spawn([SHELL, b"-c", script.encode()], [], given, plan)
    finally:
        os.close(writing)
    with open(reading) as output:
        said = output.read()
    os.close(pidfd)
    assert listener == -1
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said


def children() -> list[int]:
    """Every process that these tests have made, zombies too."""
    return sorted(processes.children() - EARLIER)


def test_it_has_its_arguments_its_environment_and_no_other() -> None:
    reading, writing = os.pipe()
    environment = [b"A=1", b"B=two words"]
    pid, pidfd, _ = _core.spawn([b"/usr/bin/env"], environment, {1: writing}, None)
    os.close(writing)
    with open(reading) as output:
        assert output.read() == "A=1\nB=two words\n"
    assert os.waitpid(pid, 0)[1] == 0
    os.close(pidfd)


def test_streams_that_are_not_given_are_dev_null() -> None:
    assert run("readlink /proc/self/fd/0") == (0, "/dev/null\n")


def test_every_other_descriptor_is_closed() -> None:
    inherited = os.dup(0)
    os.set_inheritable(inherited, True)
    try:
        _, listed = run("echo /proc/self/fd/*")
    finally:
        os.close(inherited)
    # the shell has one more: the folder that it reads
    assert len(listed.split()) <= 4


def test_descriptors_may_swap_their_numbers() -> None:
    one, other = os.memfd_create("one"), os.memfd_create("other")
    _, said = run(f"readlink /proc/self/fd/{one} /proc/self/fd/{other}", {one: other, other: one})
    assert [line.split(":")[1].split()[0] for line in said.splitlines()] == ["other", "one"]
    os.close(one)
    os.close(other)


def test_one_descriptor_may_have_several_numbers() -> None:
    memory = os.memfd_create("same")
    _, said = run("readlink /proc/self/fd/7 /proc/self/fd/900", {7: memory, 900: memory})
    assert said.count("same") == 2
    os.close(memory)


def test_signals_are_as_in_a_new_process() -> None:
    ignored = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        _, said = run("cat /proc/self/status")
    finally:
        signal.signal(signal.SIGUSR1, ignored)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    status = dict(line.split(":", 1) for line in said.splitlines())
    assert {int(status[name], 16) for name in ("SigBlk", "SigIgn", "SigCgt")} == {0}


def test_it_has_a_session_of_its_own() -> None:
    # proc_pid_stat(5): the sixth number is the session
    _, said = run("set -- $(cat /proc/$$/stat); echo $1 $6")
    pid, session = said.split()
    assert pid == session
    assert int(session) != os.getsid(0)


def test_what_cannot_be_executed_is_told() -> None:
    with pytest.raises(_core.SpawnError) as caught:
        _core.spawn([b"/no/such/program"], [], {}, None)
    assert (caught.value.kind, caught.value.step, caught.value.errno) == ("EXEC", None, 2)
    assert caught.value.filename == b"/no/such/program"
    assert children() == []


@pytest.mark.parametrize("number", [12345, 1 << 19])
def test_a_descriptor_that_is_none_is_told(number: int) -> None:
    with pytest.raises(_core.SpawnError) as caught:
        _core.spawn([SHELL], [], {4: number}, None)
    assert (caught.value.kind, caught.value.errno) == ("DESCRIPTORS", 9)
    assert children() == []


def test_wrong_values_are_refused() -> None:
    wrong: tuple[tuple[Any, ...], ...] = (
        ([], [], {}, None),
        ([b"a\0b"], [], {}, None),
        ([b"a"], [], {-1: 0}, None),
        ([b"a"], [], {0: 1 << 40}, None),
    )
    for arguments in wrong:
        with pytest.raises(ValueError):
            _core.spawn(*arguments)
    wrong = ((["a"], [], {}, None), ([b"a"], 5, {}, None), ([b"a"], [], {"a": 0}, None))
    for arguments in wrong:
        with pytest.raises(TypeError):
            _core.spawn(*arguments)


def test_this_process_stays_as_it_was() -> None:
    """The child changes itself in our memory: may others still look at us (prctl(2))?"""
    libc = ctypes.CDLL(None)
    before = libc.prctl(3, 0, 0, 0, 0), os.getpid(), signal.pthread_sigmask(signal.SIG_BLOCK, ())
    run("true")
    after = libc.prctl(3, 0, 0, 0, 0), os.getpid(), signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert after == before


def test_two_thousand_leave_nothing_behind() -> None:
    def held() -> tuple[int, int]:
        maps = Path("/proc/self/maps").read_text().count("\n")
        return len(os.listdir("/proc/self/fd")), maps

    for count in range(2000):
        pid, pidfd, _ = _core.spawn([b"/bin/true"], [], {}, None)
        os.waitpid(pid, 0)
        os.close(pidfd)
        if count == 50:
            before = held()
    assert held() == before
    assert children() == []


def test_eight_threads_spawn_at_once() -> None:
    """While others allocate, fork and run programs."""
    failures: list[BaseException] = []
    stop = threading.Event()

    def spawn() -> None:
        try:
            for _ in range(40):
                status, said = run("echo $$; exit 3")
                assert (status, said.strip().isdigit()) == (3, True)
        except BaseException as error:
            failures.append(error)

    def disturb() -> None:
        while not stop.is_set():
            subprocess.run(["/bin/true"], check=True)
            bytearray(1 << 22)

    threads = [threading.Thread(target=spawn) for _ in range(8)]
    other = threading.Thread(target=disturb)
    for thread in (*threads, other):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    other.join()
    assert failures == []
    assert children() == []


INTERRUPTED = """
import os, signal, sys, threading
from libferry import _core
fifo = sys.argv[1]
# opening a FIFO that nobody writes to takes for ever: a step that does
step = b"\\6\\0\\0\\0" + (len(fifo) + 1).to_bytes(4, "little") + fifo.encode() + b"\\0"
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    _core.spawn([b"/bin/true"], [], {}, step + bytes(-len(step) % 8))
except KeyboardInterrupt:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        print("alone")
"""


def test_ctrl_c_while_spawning_leaves_no_process(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "fifo")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("alone\n", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to become somebody who is limited")
def test_no_room_for_another_process_is_told() -> None:
    program = (
        "import resource; from libferry import _core; from tests.native import plans\n"
        "plans.be_nobody(); resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))\n"
        "try: _core.spawn([b'/bin/true'], [], {}, None)\n"
        "except _core.SpawnError as error: print(error.kind, error.errno)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert (done.stdout, done.stderr) == ("CLONE 11\n", "")


def shell(script: bytes) -> Process:
    pid, pidfd, _ = _core.spawn([SHELL, b"-c", script], [b"PATH=/usr/bin:/bin"], {}, None)
    return Process(pid, pidfd)


def without_pidfd(process: Process) -> Process:
    """The same process, as a kernel before 5.3 has it."""
    return Process(process.pid, -1)


@pytest.fixture(params=[lambda process: process, without_pidfd], ids=["pidfd", "no pidfd"])
def as_known(request: pytest.FixtureRequest) -> Callable[[Process], Process]:
    made: Callable[[Process], Process] = request.param
    return made


def test_a_process_is_waited_for(as_known: Callable[[Process], Process]) -> None:
    process = as_known(shell(b"exit 7"))
    assert process.wait() == 7
    assert (process.returncode, process.poll(), process.wait(0)) == (7, 7, 7)
    assert children() == []


def test_a_process_is_killed(as_known: Callable[[Process], Process]) -> None:
    process = as_known(shell(b"exec sleep 100"))
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.kill()  # nothing: its number may be another's by now


def test_who_waits_in_several_threads_hears_the_same(
    as_known: Callable[[Process], Process],
) -> None:
    process = as_known(shell(b"sleep 0.2; exit 5"))
    codes: list[int] = []
    threads = [threading.Thread(target=lambda: codes.append(process.wait())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [5] * 8


def test_a_process_that_somebody_else_reaped_has_ended(
    as_known: Callable[[Process], Process],
) -> None:
    process = as_known(shell(b"exit 5"))
    os.waitpid(process.pid, 0)
    assert process.wait() == 0  # as subprocess has it


# asm-generic/unistd.h; all newer than Linux 4.19: pidfd_send_signal, pidfd_open, close_range,
# pidfd_getfd, mount_setattr, Landlock's three
NEWER = (424, 434, 436, 438, 442, 444, 445, 446)
OLD_KERNEL = """
import os
from libferry import _core
from tests.native.test_confine import *
known = _core.kernel()
print(*(known[name] for name in ("landlock", "user_notification", "seccomp")))
print("mount" in known["namespaces"])
inherited = os.dup(0)
os.set_inheritable(inherited, True)
status, said = run("echo /proc/self/fd/*; exit 3")
print(status, len(said.split()) <= 4)
plan = plans.namespaces(plans.NEWUSER | plans.NEWNS | plans.NEWPID) + new_root("/tmp", *SYSTEM)
print(run("echo x > /usr/new", plan=plan)[1].rpartition(": ")[2])
"""


def test_an_old_kernel_does_without_what_it_has_not() -> None:
    """A filter stands in for one: what came after 4.19 is unknown (ENOSYS, 38)."""
    filtering = plans.seccomp(dict.fromkeys(NEWER, plans.ERRNO | 38))
    reading, writing = os.pipe()
    python = [os.fsencode(sys.executable), b"-c", OLD_KERNEL.encode()]
    folders = os.fsencode(os.pathsep.join([str(ROOT), *sys.path]))
    pid, pidfd, _ = _core.spawn(
        python,
        [b"PYTHONPATH=" + folders, b"PATH=/usr/bin:/bin"],
        {1: writing, 2: writing},
        plans.step("NO_NEW_PRIVS") + filtering,
    )
    os.close(writing)
    with open(reading) as output:
        said = output.read()
    os.waitpid(pid, 0)
    os.close(pidfd)
    mounts = "mount" in _core.kernel()["namespaces"]
    assert said.splitlines()[:3] == ["0 False True", str(mounts), "3 True"]
    assert not mounts or said.splitlines()[3] == "Read-only file system"
