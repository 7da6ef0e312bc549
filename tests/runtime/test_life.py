"""A library's life: opened, closed, crashed, timed out, forked, abandoned."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import libferry as ferry

from .conftest import HEADER, Compile


def ended(pid: int, within: float = 10.0) -> bool:
    """Whether a process is gone, or a zombie that its parent has yet to reap."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.01)
    return False


def test_a_closed_library_refuses_and_closes_twice(lib: ferry.Library) -> None:
    add = lib.add
    lib.close()
    lib.close()
    assert lib.closed
    for use in (lambda: add(1, 2), lambda: lib.add(1, 2), lambda: lib.buffer(1)):
        with pytest.raises(ferry.LibraryClosed):
            use()


def test_closing_ends_the_worker(worker: ferry.Library) -> None:
    worker.close()
    assert ended(worker.pid)


def test_a_library_that_nobody_holds_ends_its_worker(library_file: Path) -> None:
    pid = ferry.load(library_file, isolation="worker").pid
    gc.collect()
    assert ended(pid)


def test_pointers_of_a_closed_library_refuse(worker: ferry.Library) -> None:
    text = worker.owned()
    worker.close()
    with pytest.raises(ferry.LibraryClosed):
        text.string()


@pytest.mark.parametrize("way", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)", "1"])
def test_no_worker_outlives_its_host(library_file: Path, way: str) -> None:
    script = (
        "import os, signal, sys, libferry as ferry\n"
        f"lib = ferry.load({str(library_file)!r}, isolation='worker')\n"
        f"print(lib.pid, flush=True)\n{way}\n"
    )
    host = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended(int(host.stdout))
    assert host.stderr == ""


STUBBORN = """
#include <signal.h>
#include <unistd.h>
static void __attribute__((destructor)) stay(void) { for (;;) pause(); }
void close_all(void) { for (int i = 0; i < 64; i++) close(i); }
void stop(void) { raise(SIGSTOP); }
"""


@pytest.mark.parametrize("act", ["close_all", "stop", "getpid"])
def test_not_even_one_that_hears_and_sees_nothing(compile_c: Compile, act: str) -> None:
    """It has closed the socket that tells it; it is stopped; its destructor never ends."""
    script = (
        "import os, signal, sys, threading, libferry as ferry\n"
        f"header = 'void close_all(void); void stop(void); int getpid(void);'\n"
        f"lib = ferry.load({str(compile_c(STUBBORN))!r}, header=header, isolation='worker')\n"
        f"threading.Thread(target=lib.{act}, daemon=True).start()\n"
        "import time; time.sleep(0.3)\n"
        "print(lib.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    host = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended(int(host.stdout))


def test_a_fork_cannot_use_its_parents_library(worker: ferry.Library) -> None:
    child = os.fork()
    if child == 0:
        try:
            worker.add(1, 2)
        except ferry.LibraryClosed as error:
            os._exit(42 if "fork" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    assert worker.add(1, 2) == 3


def test_a_fork_that_lives_on_does_not_keep_the_worker_alive(library_file: Path) -> None:
    script = (
        "import os, time, libferry as ferry\n"
        f"lib = ferry.load({str(library_file)!r}, isolation='worker')\n"
        "child = os.fork()\n"
        "if child == 0:\n    os.close(1); os.close(2); time.sleep(30); os._exit(0)\n"
        "print(lib.pid, child, flush=True); os._exit(0)\n"
    )
    host = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    pid, child = map(int, host.stdout.split())
    try:
        assert ended(pid)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_library_in_this_process_is_in_its_forks_too(library_file: Path) -> None:
    ferry.load(library_file, isolation="worker").close()
    with ferry.load(library_file, header=HEADER) as lib:
        child = os.fork()
        if child == 0:
            os._exit(lib.add(40, 2))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42


@pytest.mark.parametrize(
    ("function", "argument", "number"),
    [
        ("trap", None, signal.SIGTRAP),
        ("crash_at", 16, signal.SIGSEGV),
        ("divide", 0, signal.SIGFPE),
        ("stop", None, signal.SIGABRT),
    ],
)
def test_a_crash_is_an_error_with_its_signal(
    worker: ferry.Library, function: str, argument: int | None, number: signal.Signals
) -> None:
    call = worker[function]
    with pytest.raises(ferry.LibraryCrashed, match=number.name) as caught:
        call() if argument is None else call(argument)
    assert caught.value.signal == number
    assert caught.value.tried == f"call {function}"
    assert caught.value.program_counter
    if function == "crash_at":
        assert caught.value.address == argument
    with pytest.raises(ferry.LibraryCrashed):
        worker.add(1, 2)


def test_leaving_inside_a_call_is_an_error_with_the_exit_code(worker: ferry.Library) -> None:
    with pytest.raises(ferry.LibraryCrashed, match=r"exit\(7\)") as caught:
        worker.leave(7)
    assert caught.value.code == 7


def test_being_killed_from_outside_is_an_error(worker: ferry.Library) -> None:
    os.kill(worker.pid, signal.SIGKILL)
    assert ended(worker.pid)
    with pytest.raises(ferry.LibraryCrashed, match="SIGKILL"):
        worker.add(1, 2)


def test_buffers_stay_readable_after_a_crash(worker: ferry.Library) -> None:
    buffer = worker.buffer(4)
    worker.fill(buffer, 7, 4)
    with pytest.raises(ferry.LibraryCrashed):
        worker.stop()
    assert bytes(buffer) == b"\x07" * 4


def test_everybody_who_waits_learns_of_a_crash(worker: ferry.Library) -> None:
    outcomes: list[type] = []

    def wait() -> None:
        try:
            worker.pause_ms(60_000)
        except ferry.FerryError as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    with pytest.raises(ferry.LibraryCrashed):
        worker.stop()
    for thread in threads:
        thread.join(10)
    assert outcomes == [ferry.LibraryCrashed] * 4


def test_a_call_beyond_its_timeout_ends_the_worker(library_file: Path) -> None:
    with ferry.load(library_file, header=HEADER, isolation="worker", timeout=0.05) as lib:
        assert lib.add(1, 2) == 3
        with pytest.raises(ferry.DeadlineExceeded):
            lib.pause_ms(60_000)
        assert ended(lib.pid)
        with pytest.raises(ferry.LibraryCrashed):
            lib.add(1, 2)


def test_a_timeout_cannot_be_promised_in_process(library_file: Path) -> None:
    with pytest.raises(ferry.FerryError, match="cannot be ended") as caught:
        ferry.load(library_file, timeout=1.0)
    assert "isolation='worker'" in caught.value.hint


def test_ctrl_c_ends_a_stuck_call_and_not_the_interpreter(worker: ferry.Library) -> None:
    timer = threading.Timer(0.2, lambda: signal.raise_signal(signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        worker.pause_ms(60_000)
    timer.join()
    assert ended(worker.pid)


def test_loading_and_closing_leaves_nothing_open(library_file: Path) -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    ferry.load(library_file, isolation="worker").close()  # the watcher starts once
    gc.collect()
    before = open_files()
    for _ in range(20):
        with ferry.load(library_file, header=HEADER, isolation="worker") as lib:
            assert lib.add(1, 2) == 3
        del lib
    gc.collect()
    assert open_files() == before
    assert Path("/proc/self/maps").read_text().count("libferry-channel") == 0


def test_a_library_that_is_dropped_ends_in_good_order(compile_c: Compile, tmp_path: Path) -> None:
    """Its destructors run, whether the last reference goes or the collector finds it."""
    source = """
    #include <fcntl.h>
    static const char *path;
    int mark(const char *name) { static char kept[4096]; char *to = kept;
                                 while ((*to++ = *name++)); path = kept; return 0; }
    __attribute__((destructor)) static void leave(void) { if (path) open(path, O_CREAT, 0600); }
    """
    file = compile_c(source)
    for callback in (False, True):
        lib = ferry.load(file, header="int mark(const char *name);", isolation="worker")
        if callback:
            lib.callback("int (*)(int)", abs)
        lib.mark(str(tmp_path / f"left {callback}"))
        del lib
        for _ in range(500):
            gc.collect()
            if (tmp_path / f"left {callback}").exists():
                break
            time.sleep(0.01)
        else:
            raise AssertionError("its destructor did not run")
