"""A worker that does not come to be, or that nobody waits for, leaves nothing behind."""

from __future__ import annotations

import gc
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import libferry as ferry
from libferry.runtime import output, worker
from tests.processes import children

from .conftest import Compile

SOURCE = """
#include <stdio.h>
int add(int a, int b) { return a + b; }
void say(void) { fputs("hello\\n", stderr); }
void stuck(void) { for (;;) ; }
"""
HEADER = "int add(int a, int b); void say(void); void stuck(void);"


@pytest.fixture(scope="module")
def small(compile_c: Compile) -> Path:
    return compile_c(SOURCE)


def descriptors() -> int:
    """Without the bells of threads that read output: one may be about to end."""
    links = (os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
    return sum("eventfd" not in os.readlink(link) for link in links if os.path.lexists(link))


@pytest.fixture
def balanced(small: Path) -> Iterator[None]:
    """Nothing more than before: no process, not even a dead one, and hardly a descriptor.

    Ctrl-C between a descriptor's making and its first name, which Python allows, costs one.
    """
    ferry.load(small, header=HEADER, isolation="worker").close()  # what is made once
    processes, before = children(), descriptors()
    yield
    until = time.monotonic() + 5
    while (children() != processes or descriptors() > before + 1) and time.monotonic() < until:
        gc.collect()
        time.sleep(0.01)
    assert children() == processes
    assert descriptors() <= before + 1


class Interrupt:
    """Ctrl-C at one line of a function: what ``sys.settrace`` takes."""

    def __init__(self, function: Callable[..., Any], line: int) -> None:
        self.code = function.__code__
        self.line = line  # of those that it runs
        self.came = False

    def __call__(self, frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code is self.code and event == "line":
            self.line -= 1
            if self.line == 0:
                self.came = True
                raise KeyboardInterrupt
        return self


@pytest.mark.usefixtures("balanced")
@pytest.mark.parametrize(
    "function",
    [worker.Worker._begin, worker.Worker._spawn, output.Pipes.started],
    ids=lambda function: function.__qualname__,
)
def test_ctrl_c_at_any_line_leaves_no_process(small: Path, function: Callable[..., Any]) -> None:
    header = ferry.load(small, header=HEADER)._ferry_header
    line, came = 1, True
    while came:
        interrupt = Interrupt(function, line)
        sys.settrace(interrupt)
        try:
            with ferry.load(small, header=header, isolation="worker") as lib:
                lib.add(1, 2)
        except KeyboardInterrupt:
            assert interrupt.came
        finally:
            sys.settrace(None)
        came = interrupt.came
        line += 1
    with ferry.load(small, header=header, isolation="worker", output="capture") as lib:
        lib.say()
        assert [line.text for line in lib.output] == ["hello"]


@pytest.mark.usefixtures("balanced")
def test_with_few_descriptors_there_is_an_error_and_no_rest(small: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    errors: list[ferry.NoRunner] = []
    try:
        for more in range(1, 40):
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + more, hard))
            try:
                ferry.load(small, header=HEADER, isolation="worker").close()
                break
            except ferry.NoRunner as error:
                errors.append(error)
            except (ferry.FerryError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                continue  # before there is anything of a worker
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert any("Too many open files" in error.happened for error in errors)


@pytest.mark.usefixtures("balanced")
def test_without_a_thread_to_read_its_output_it_is_not_started(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", full)
        with pytest.raises(ferry.NoRunner, match="can't start new thread"):
            ferry.load(small, isolation="worker", output=print)
    with ferry.load(small, header=HEADER, isolation="worker", output="capture") as lib:
        lib.say()
        assert lib.output[0].text == "hello"


@pytest.mark.usefixtures("balanced")
def test_ctrl_c_while_a_stuck_worker_is_closed_ends_it(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lib = ferry.load(small, header=HEADER, isolation="worker")

    def call() -> None:
        with pytest.raises(ferry.LibraryClosed):
            lib.stuck()

    stuck = threading.Thread(target=call)
    stuck.start()
    time.sleep(0.2)

    def interrupted(_: object, timeout: float | None = None) -> int:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr("libferry.runtime.process.Process.wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lib.close()
    stuck.join(20)
    assert not stuck.is_alive()
