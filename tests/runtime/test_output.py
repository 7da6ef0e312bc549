"""What a library writes to its standard streams: passed on, kept, told, logged."""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import libferry as ferry

from .sides import SIDES, Side, opened
from .test_life import ended

HEADER = """
int puts(const char *text); ssize_t write(int file, const void *data, size_t size);
void abort(void); int fork(void); void exit(int code); unsigned sleep(unsigned seconds);
"""


def loaded(**options: Any) -> ferry.Library:
    return ferry.load("libc.so.6", header=HEADER, isolation="worker", **options)


@pytest.fixture
def captured() -> Iterator[ferry.Library]:
    with loaded(output="capture") as lib:
        yield lib


def eventually(true: Callable[[], object]) -> bool:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if true():
            return True
        time.sleep(0.01)
    return False


def descriptors() -> int:
    gc.collect()  # a library's go with the last reference to it
    return len(os.listdir("/proc/self/fd"))


def host(script: str, redirection: str = "") -> subprocess.CompletedProcess[bytes]:
    """Run Python with ``lib``, its streams as a shell opens them."""
    load = "import os, sys, time, libferry as ferry\n"
    load += f"lib = ferry.load('libc.so.6', isolation='worker', header={HEADER!r})\n"
    command = ["sh", "-c", f'exec "$0" -c "$1" {redirection}', sys.executable, load + script]
    return subprocess.run(command, capture_output=True, timeout=60)


# ---- standard error is passed on ----


def test_standard_error_arrives_unchanged() -> None:
    data = bytes(range(256)) * 300 + b"no end"
    done = host("lib.write(2, bytes(range(256)) * 300 + b'no end', 76806)\nlib.close()")
    assert (done.returncode, done.stderr, done.stdout) == (0, data, b"")


def test_standard_output_is_left_alone() -> None:
    done = host("lib.write(1, b'out', 3); lib.write(2, b'err', 3)")
    assert (done.stdout, done.stderr) == (b"out", b"err")


def test_the_last_words_arrive_though_nobody_closes_the_library() -> None:
    assert host("lib.write(2, b'last', 4)").stderr == b"last"


def test_a_standard_error_that_is_a_file_gets_all_of_it(tmp_path: Path) -> None:
    host("lib.write(2, b'x' * 100000, 100000)", f"2>{tmp_path / 'log'}")
    assert (tmp_path / "log").read_bytes() == b"x" * 100000


def test_a_host_without_standard_error_goes_on() -> None:
    done = host("lib.write(2, b'x', 1); print(list(lib.output)[-1:], flush=True)", "2>&-")
    assert (done.returncode, done.stdout) == (0, b"[]\n")


def test_a_file_that_got_the_number_of_standard_error_is_not_written_to(tmp_path: Path) -> None:
    script = f"precious = os.open({str(tmp_path / 'file')!r}, os.O_RDWR | os.O_CREAT)\n"
    script += "assert precious == 2\nlib.write(2, b'x' * 9, 9)\nlib.close()\n"
    # closed only now: what was opened before would have the number
    done = host("os.close(2)\n" + script)
    assert (done.returncode, (tmp_path / "file").read_bytes()) == (0, b"")


def test_who_reads_our_standard_error_may_go(tmp_path: Path) -> None:
    script = "read, write = os.pipe(); os.dup2(write, 2); os.close(write); os.close(read)\n"
    script += "import signal; signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
    assert host(script + "lib.write(2, b'x', 1); lib.close(); os._exit(42)").returncode == 42


def test_pytest_captures_it(capfd: pytest.CaptureFixture[str]) -> None:
    with loaded() as lib:
        lib.write(2, b"here", 4)
    assert capfd.readouterr().err == "here"


# ---- the lines of a crash ----


def test_a_crash_shows_what_was_written_just_before() -> None:
    with loaded() as lib:
        lib.write(2, b"one\ntwo\nassertion fai", 21)
        with pytest.raises(ferry.LibraryCrashed) as caught:
            lib.abort()
    assert caught.value.output == ("one", "two", "assertion fai")


def test_a_crash_shows_fifty_lines_of_bounded_length() -> None:
    text = b"".join(b"%d\n" % n for n in range(100)) + b"y" * 9000
    with loaded() as lib:
        lib.write(2, text, len(text))
        with pytest.raises(ferry.LibraryCrashed) as caught:
            lib.abort()
    assert caught.value.output == (*map(str, range(53, 100)), "y" * 4096, "y" * 4096, "y" * 808)


def test_binary_garbage_becomes_text_with_its_control_characters() -> None:
    with loaded() as lib:
        lib.write(2, b"\xff\x00\x1b[31m\xe4\xbd\xa0\r\n", 12)
        assert list(lib.output) == [("stderr", "�\0\x1b[31m你")]


def test_after_a_restart_a_crash_shows_what_the_new_worker_wrote() -> None:
    with loaded(restart="next-call", output="capture") as lib:
        for words in (b"first", b"second"):
            lib.write(2, words, len(words))
            with pytest.raises(ferry.LibraryCrashed) as caught:
                lib.abort()
            assert caught.value.output == (words.decode(),)
        lib.puts("third")
        assert [line.text for line in lib.output] == ["first", "second", "third"]


# ---- output="capture" ----


def test_both_streams_are_captured_by_the_time_a_call_returns(captured: ferry.Library) -> None:
    for n in range(100):
        captured.puts(f"line {n}")
    captured.write(2, b"oh\n", 3)
    lines = list(captured.output)
    assert lines.count(ferry.Line("stderr", "oh")) == 1
    assert [text for stream, text in lines if stream == "stdout"] == [
        f"line {n}" for n in range(100)
    ]


def test_captured_lines_go_nowhere_else(capfd: pytest.CaptureFixture[str]) -> None:
    with loaded(output="capture") as lib:
        lib.puts("a")
        lib.write(2, b"b\n", 2)
    assert capfd.readouterr() == ("", "")
    assert len(lib.output) == 2


def test_captured_lines_are_a_sequence_that_may_be_cleared(captured: ferry.Library) -> None:
    captured.puts("a")
    captured.puts("b")
    assert captured.output[-1].text == "b"
    assert [line.text for line in captured.output[:1]] == ["a"]
    captured.output.clear()
    assert not captured.output


@pytest.mark.parametrize("side", SIDES[2:4])
def test_both_streams_are_captured_from_workers_for_other_processors(side: Side) -> None:
    source = """#include <stdio.h>
    EXPORT void say(int n) { printf("n is %d\\n", n); fprintf(stderr, "not %d\\n", n + 1); }"""
    with opened(side, source, "void say(int n);", output="capture") as lib:
        lib.say(7)
        assert sorted(lib.output) == [("stderr", "not 8"), ("stdout", "n is 7")]


@pytest.mark.needs("/usr/lib/wine/wine64", install="apt-get install wine64")
@pytest.mark.needs(
    "/usr/lib/x86_64-linux-gnu/wine/i386-windows/msvcrt.dll", install="tools/setup-debian"
)
@pytest.mark.parametrize("folder", ["x86_64-windows", "i386-windows"])
def test_under_wine_both_streams_are_standard_error(folder: str) -> None:
    with ferry.load(
        f"/usr/lib/x86_64-linux-gnu/wine/{folder}/msvcrt.dll",
        header="int _write(int file, const void *data, unsigned size);",
        output="capture",
    ) as lib:
        lib._write(2, b"one\n", 4)
        lib._write(1, b"two\n", 4)
        assert list(lib.output) == [("stderr", "one"), ("stderr", "two")]


# ---- a callable, and the log ----


def test_a_callable_is_told_each_line_and_what_was_left_of_one() -> None:
    told = []
    with loaded(output=lambda stream, line: told.append((stream, line))) as lib:
        lib.puts("a")
        lib.write(2, b"b\n\nc", 4)
    assert [line for line in told if line[0] == "stdout"] == [("stdout", "a")]
    assert [line for line in told if line[0] == "stderr"] == [
        ("stderr", "b"),
        ("stderr", ""),
        ("stderr", "c"),
    ]


def test_a_callable_that_raises_is_reported_once_and_called_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", reported.append)
    told = []

    def bad(stream: str, line: str) -> None:
        told.append(line)
        raise SystemExit(line)

    with loaded(output=bad) as lib:
        lib.puts("a")
        lib.puts("b")
    assert told == ["a", "b"]
    assert [str(one.exc_value) for one in reported] == ["a"]


def test_a_callable_that_stalls_holds_up_its_own_library_alone() -> None:
    stalled, go = threading.Event(), threading.Event()

    def stall(stream: str, line: str) -> None:
        stalled.set()
        go.wait(60)

    told: list[str] = []
    with loaded(output=stall) as slow, loaded(output=lambda _, line: told.append(line)) as quick:
        slow.puts("a")
        assert stalled.wait(20)
        quick.puts("b")
        assert eventually(lambda: told == ["b"])
        writer = threading.Thread(target=slow.write, args=(2, b"x\n" * 200_000, 400_000))
        writer.start()
        writer.join(0.2)
        assert writer.is_alive()  # on its full pipe
        go.set()
        writer.join(60)
        assert not writer.is_alive()


class Owner:
    """What has a library, and listens to it."""

    def __init__(self) -> None:
        self.lib = loaded(output=self.hear)

    def hear(self, stream: str, line: str) -> None:
        self.lib.close()


def test_a_callable_may_close_its_library() -> None:
    owner = Owner()
    with suppress(ferry.LibraryClosed):  # it may be quicker than the answer
        owner.lib.puts("a")
    assert eventually(lambda: owner.lib.closed)
    assert ended(owner.lib.pid)


def test_a_callable_does_not_keep_what_nobody_else_holds() -> None:
    pid = Owner().lib.pid
    gc.collect()
    assert ended(pid)


def test_lines_may_go_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with loaded(output="log") as lib:
        lib.puts("100 %d")
        lib.write(2, b"b\n", 2)
    assert sorted(caplog.record_tuples) == [
        ("libferry.output.libc", logging.INFO, "100 %d"),
        ("libferry.output.libc", logging.WARNING, "b"),
    ]


@pytest.mark.parametrize("wish", ["nonsense", 5, b"log"])
def test_another_output_is_refused(wish: object) -> None:
    with pytest.raises(ferry.ArgumentTypeError, match="output is"):
        loaded(output=wish)


def test_in_this_process_there_is_nothing_to_capture() -> None:
    with pytest.raises(ferry.ArgumentTypeError, match=r"standard streams of this process"):
        ferry.load("libc.so.6", output="capture")
    with ferry.load("libc.so.6") as lib, pytest.raises(ferry.ArgumentTypeError, match="output"):
        print(lib.output)


# ---- a library that makes it hard ----

FLOOD = """
#include <string.h>
#include <unistd.h>
void flood(int megabytes, int byte) {
    static char block[1 << 20];
    memset(block, byte, sizeof block);
    for (int i = 0; i < megabytes; i++)
        for (size_t done = 0; done < sizeof block; done += write(2, block, sizeof block - done));
}
"""


@pytest.mark.parametrize("byte", [ord("\n"), ord("x"), 0])
def test_a_flood_takes_no_memory(compile_c: Any, byte: int) -> None:
    file = compile_c(FLOOD)
    header = "void flood(int megabytes, int byte);"
    with ferry.load(file, header=header, isolation="worker", output="capture") as lib:
        lib.flood(20, byte)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        lib.flood(40, byte)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert len(lib.output) <= 10_000
    assert after - before < 65536  # KiB


def test_a_standard_error_that_nobody_reads_holds_up_only_who_writes_there() -> None:
    script = """
read, write = os.pipe(); os.dup2(write, 2)
import threading
threading.Thread(target=lib.write, args=(2, b'x' * 10**6, 10**6), daemon=True).start()
time.sleep(0.3)
other = ferry.load('libc.so.6', isolation='worker', header='int puts(const char *);',
                   output='capture')
for n in range(20000): other.puts('a line of some length')
print(len(other.output), other.output[-1].text, flush=True)
other.close(); lib.close()
os._exit(42)
"""
    done = host(script)
    assert (done.returncode, done.stdout) == (42, b"10000 a line of some length\n")


def test_a_child_of_the_library_that_keeps_the_pipe_does_not_keep_us(compile_c: Any) -> None:
    source = """
    #include <unistd.h>
    int leave_child(void) {
        int child = fork();
        if (child == 0) { sleep(60); _exit(0); }
        return child;
    }
    """
    file = compile_c(source)
    gc.collect()
    before = descriptors()
    with ferry.load(file, header="int leave_child(void);", isolation="worker") as lib:
        child = lib.leave_child()
    del lib
    try:
        assert not ended(child, within=0)
        assert eventually(lambda: descriptors() <= before)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_fork_of_the_host_neither_reads_nor_keeps_it() -> None:
    told = []
    with loaded(output=lambda _, line: told.append(line)) as lib:
        child = os.fork()
        if child == 0:
            with loaded(output="capture") as own:
                own.puts("mine")
                os._exit(42 if [line.text for line in own.output] == ["mine"] else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
        lib.puts("after")
    assert told == ["after"]


def test_a_library_may_be_collected_while_the_thread_that_reads_is_being_started() -> None:
    """Whoever starts a thread waits for it, and the collector may come in its first steps."""
    done = host("""
import gc, threading
gc.disable()
cycle = [lib]
cycle.append(cycle)
try: lib.abort()
except ferry.LibraryCrashed: pass
del lib, cycle
while threading.active_count() > 1: time.sleep(0.01)  # there is nothing left to read
begin = threading.Thread._set_ident
def collect(thread):
    begin(thread)
    gc.collect()
threading.Thread._set_ident = collect
ferry.load("libc.so.6", isolation="worker").close()
print("goes on")
""")
    assert done.stdout.strip().endswith(b"goes on"), done.stderr


def test_many_lives_leave_no_descriptor_and_no_thread() -> None:
    def live(wish: Any) -> None:
        with loaded(output=wish) as lib:
            lib.write(2, b"x\n", 2)

    before = (0, 0)
    for _ in range(10):
        for wish in ("capture", lambda *_: None):
            live(wish)
        before = before if any(before) else (descriptors(), threading.active_count())
    assert eventually(lambda: (descriptors(), threading.active_count()) <= before)


# ---- the log of workers ----


def test_the_log_has_a_worker_from_its_start_to_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "libferry")
    with loaded() as lib:
        pid = lib.pid
    levels = [record.levelname for record in caplog.records]
    assert levels == ["DEBUG", "DEBUG"]
    assert f"libc: worker {pid} started in" in caplog.messages[0]
    assert f"libc: worker {pid} ended (exit code 0)" in caplog.messages[1]


def test_the_log_has_a_crash_once_and_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with loaded() as lib:
        for _ in range(3):
            with pytest.raises(ferry.LibraryCrashed):
                lib.abort()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert f"worker {lib.pid} was lost: call abort: " in record.message
    assert "\n" not in record.message


def test_the_log_has_a_missed_deadline(caplog: pytest.LogCaptureFixture) -> None:
    with loaded(timeout=0.05) as lib, pytest.raises(ferry.DeadlineExceeded):
        lib.sleep(60)
    (record,) = caplog.records
    assert f"worker {lib.pid} missed a deadline: call sleep: " in record.message


def test_the_log_has_a_restart(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "libferry")
    with loaded(restart="next-call") as lib:
        old = lib.pid
        with pytest.raises(ferry.LibraryCrashed):
            lib.abort()
        lib.puts("")
        assert [(record.levelname, record.message) for record in caplog.records[1:]] == [
            ("INFO", f"libc: worker {lib.pid} replaces worker {old}")
        ]
