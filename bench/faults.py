"""Who is measured in docs/reliability.md: crashes, restarts, cold starts, and lives."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import libferry as ferry
from libferry.build import compile_library

from .build import OUTPUT, NotAvailableError
from .rounds import Contender, Run, Section
from .storm import HEADER, SOURCE

CRASHES = 200


def library(abi: str) -> Path:
    """The soak's library for one ABI."""
    suffix = ".dll" if abi.endswith("windows") else ".so"
    name = f"faults-{abi}"
    found = OUTPUT / f"{name}{suffix}"
    if not found.exists():
        OUTPUT.mkdir(parents=True, exist_ok=True)
        found = compile_library(SOURCE, abi, OUTPUT, name)
    return found


def opened(abi: str, **options: Any) -> Any:
    """A library in a worker, or why there is none here."""
    options = {"isolation": "worker"} | options
    try:
        return ferry.load(library(abi), header=HEADER, **options)
    except (ferry.NoRunner, ferry.SandboxUnavailable) as error:
        raise NotAvailableError(error.hint) from error


def warm(lib: Any) -> Any:
    """A library that has been called, as it would have been when it crashes."""
    for _ in range(100):
        lib.add(1, 2)
    return lib


# ---- a crash, and who tells of it ----


def _until_crashed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    try:
        call()
    except ferry.LibraryCrashed:
        return time.perf_counter() - began
    raise AssertionError("it did not crash")


def crash(name: str, abi: str) -> Contender:
    """From the call that faults to its typed error."""

    def open_(stack: ExitStack) -> Run:
        opened(abi).close()

        def run(count: int) -> float:
            with warm(opened(abi)) as lib:
                write_to = lib.write_to  # it is looked for now
                return _until_crashed(lambda: write_to(16))

        return run

    return Contender(name, open_)


def killed(name: str) -> Contender:
    """From the signal, sent by another thread, to the error of the call that waits."""

    def run(count: int) -> float:
        sent = 0.0
        with warm(opened("x86_64-sysv")) as lib:
            stay = lib.stay

            def kill() -> None:
                nonlocal sent
                time.sleep(0.002)
                sent = time.perf_counter()
                os.kill(lib.pid, signal.SIGKILL)

            killer = threading.Thread(target=kill)
            killer.start()
            _until_crashed(stay)
            told = time.perf_counter()
            killer.join()
        return told - sent

    return Contender(name, lambda _: run)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def process_pool(name: str) -> Contender:
    """From submitting a task that crashes to BrokenProcessPool, in a pool that is warm."""

    def run(count: int) -> float:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            pool.submit(os.getpid).result()
            began = time.perf_counter()
            try:
                pool.submit(_die).result()
            except BrokenProcessPool:
                return time.perf_counter() - began
        raise AssertionError("it did not crash")

    return Contender(name, lambda _: run)


def _serve(end: Any) -> None:
    end.send(None)
    end.recv()
    _die()


def pipe(name: str) -> Contender:
    """From a request that crashes to the pipe's EOFError, which has no cause in it."""

    def run(count: int) -> float:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        ours.recv()
        began = time.perf_counter()
        ours.send(None)
        try:
            ours.recv()
        except EOFError:
            return time.perf_counter() - began
        finally:
            process.join()
        raise AssertionError("it did not crash")

    return Contender(name, lambda _: run)


CRASH = Section(
    "crash",
    "From a crash to the error",
    "A fresh worker each time, called until it is warm; then a call writes to address 16, or "
    "another thread kills the worker while a call waits. The time ends when the caller has "
    "the exception. The peers' workers send themselves SIGSEGV.",
    None,
    [
        crash("libferry x86-64, a fault", "x86_64-sysv"),
        crash("libferry i386, a fault", "i386-sysv"),
        killed("libferry x86-64, kill -9"),
        pipe("multiprocessing Pipe, EOFError"),
        process_pool("ProcessPoolExecutor, BrokenProcessPool"),
    ],
    count=1,
    rounds=CRASHES,
)

# ---- the next answer ----


def _crash(lib: Any) -> None:
    _until_crashed(lambda: lib.write_to(16))


def restarted(name: str, **options: Any) -> Contender:
    """From the error to the next answer of the same library."""

    def open_(stack: ExitStack) -> Run:
        lib = stack.enter_context(warm(opened("x86_64-sysv", restart="next-call", **options)))

        def run(count: int) -> float:
            _crash(lib)
            if options.get("spare"):
                time.sleep(0.3)  # it is made meanwhile
            began = time.perf_counter()
            assert lib.add(1, 2) == 3
            return time.perf_counter() - began

        return run

    return Contender(name, open_)


def reloaded(name: str) -> Contender:
    """The same by hand: the library is loaded again."""

    def run(count: int) -> float:
        _crash(broken := opened("x86_64-sysv"))
        began = time.perf_counter()
        with opened("x86_64-sysv") as lib:
            assert lib.add(1, 2) == 3
            took = time.perf_counter() - began
        broken.close()
        return took

    return Contender(name, lambda _: run)


RESTART = Section(
    "restart",
    "From the error to the next answer",
    "The library is called again after it has crashed. By hand means that it is loaded again, "
    "with its header read again.",
    None,
    [
        restarted("libferry x86-64, restart="),
        restarted("libferry x86-64, restart= and spare=", spare=True),
        reloaded("libferry x86-64, by hand"),
    ],
    count=1,
    rounds=100,
)

# ---- the sandbox ----


# The kernel takes down the network namespace of the worker before, and lets nobody make one
# meanwhile.
PAUSE = 0.15  # seconds


def started(name: str, **options: Any) -> Contender:
    """From load() to the first answer."""

    def open_(stack: ExitStack) -> Run:
        opened("x86_64-sysv", **options).close()

        def run(count: int) -> float:
            time.sleep(PAUSE)
            began = time.perf_counter()
            with opened("x86_64-sysv", **options) as lib:
                assert lib.add(1, 2) == 3
                return time.perf_counter() - began

        return run

    return Contender(name, open_)


START = Section(
    "start",
    "From load() to the first answer",
    "Everything between: the file is read, the worker started and confined, the library "
    "opened, a function found and called. It is not the first load of the process, which also "
    "tries what the kernel has and compiles the filter. A spare is for the first call after a "
    "crash: from there on it counts.",
    None,
    [
        started("libferry, worker"),
        started("libferry, sandbox", isolation="sandbox"),
        restarted("libferry, sandbox and spare", isolation="sandbox", spare=True),
    ],
    count=1,
    rounds=100,
)


def called(name: str, **options: Any) -> Contender:
    """A hot call."""

    def open_(stack: ExitStack) -> Run:
        add = stack.enter_context(opened("x86_64-sysv", **options)).add

        def run(count: int) -> float:
            began = time.perf_counter()
            for _ in range(count):
                add(1, 2)
            return (time.perf_counter() - began) / count

        return run

    return Contender(name, open_)


HOT = Section(
    "hot",
    "A hot call, confined and not",
    "`add(1, 2)` again and again. The filter is asked by the kernel when the worker makes a "
    "system call, and a hot call makes none.",
    "libferry, worker",
    [called("libferry, worker"), called("libferry, sandbox", isolation="sandbox")],
    count=20_000,
    rounds=100,
)

# ---- the end of a host ----

ENDS = {
    "exit": "",
    "os._exit": "os._exit(0)",
    "kill -9": "os.kill(os.getpid(), signal.SIGKILL)",
    "kill -9 amid a call": "threading.Thread(target=lib.stay, daemon=True).start(); "
    "time.sleep(0.01); os.kill(os.getpid(), signal.SIGKILL)",
    "a fork lives on, kill -9": "os.fork() or time.sleep(5); os.kill(os.getpid(), signal.SIGKILL)",
}
HOSTS = 20
GONE_SECONDS = 10.0


def _is_gone(pid: int) -> bool:
    until = time.monotonic() + GONE_SECONDS
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except OSError:
            return True
        time.sleep(0.002)
    return False


def LIFE() -> list[list[str]]:  # noqa: N802 # beside the sections
    """End hosts in every way; what of theirs is left, in lines of a table."""
    lines = []
    for how, code in ENDS.items():
        survivors = files = 0
        for _ in range(HOSTS):
            with tempfile.TemporaryDirectory(prefix="life-") as folder:
                note, scratch = Path(folder) / "pid", Path(folder) / "tmp"
                scratch.mkdir()
                shared = set(os.listdir("/dev/shm"))
                script = (
                    "import os, signal, threading, time, libferry as ferry\n"
                    f"lib = ferry.load({str(library('x86_64-sysv'))!r}, header={HEADER!r},\n"
                    "                 isolation='worker')\n"
                    f"lib.add(1, 2); open({str(note)!r}, 'w').write(str(lib.pid))\n{code}\n"
                )
                environment = os.environ | {"TMPDIR": str(scratch)}
                command = [sys.executable, "-c", script]
                subprocess.run(command, env=environment, check=False, timeout=60)
                survivors += not _is_gone(int(note.read_text()))
                files += len(list(scratch.iterdir()))
                files += sum("ferry" in name for name in {*os.listdir("/dev/shm")} - shared)
        lines.append([how, str(HOSTS), str(survivors), str(files)])
    return lines
