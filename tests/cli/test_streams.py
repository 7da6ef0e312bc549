"""How the command behaves with pipes, terminals and Ctrl-C."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time

import pytest

from tests.cli.conftest import COMMAND, LIBZ, NEEDS_LIBZ, ferry

SLEEP = ["call", "libc.so.6", "unsigned sleep(unsigned)", "60"]


def at_a_terminal(*words: str) -> str:
    """What a terminal receives."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        [*COMMAND, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ):
        os.close(theirs)
        parts = []
        try:
            while part := os.read(ours, 65536):
                parts.append(part)
        except OSError:  # a terminal whose last user is gone
            pass
    os.close(ours)
    return b"".join(parts).decode()


@NEEDS_LIBZ
def test_a_long_list_is_clipped_for_a_person_only() -> None:
    piped = ferry("inspect", LIBZ).out
    assert len(piped.splitlines()) > 80
    shown = at_a_terminal("inspect", LIBZ)
    assert len(shown.splitlines()) < 40
    assert "to see all: --exports" in shown
    assert len(at_a_terminal("inspect", LIBZ, "--exports").splitlines()) > 80


def test_a_terminal_gets_colour() -> None:
    assert "\x1b[1;31merror:\x1b[0m read /no/such" in at_a_terminal("inspect", "/no/such")


def test_a_library_cannot_send_control_characters_to_a_terminal() -> None:
    words = ["call", "libc.so.6", "char *strcpy(char *, const char *)", "out:32", "\x1b[2Jgone"]
    assert "\x1b[2J" not in at_a_terminal(*words)
    words[2:] = ["int setenv(const char *, const char *, int)", "\x1b[2J", "x", "one"]
    assert "\x1b[2J" not in at_a_terminal(*words)


def test_a_reader_that_left_early_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write) as pipe:
        ran = subprocess.run(
            [*COMMAND, "inspect", "libc.so.6"], stdout=pipe, stderr=subprocess.PIPE, check=False
        )
    assert (ran.returncode, ran.stderr) == (128 + signal.SIGPIPE, b"")


def test_a_full_disk_is_one() -> None:
    with open("/dev/full", "w") as full:
        for words in (["--version"], ["--help"], ["inspect", "libc.so.6"]):
            ran = subprocess.run([*COMMAND, *words], stdout=full, stderr=subprocess.PIPE, text=True)
            assert ran.returncode == 2
            assert ran.stderr.startswith("error: write the answer: No space left on device\nhint:")


@pytest.mark.parametrize(("isolation", "code"), [("worker", 130), ("in-process", -signal.SIGINT)])
def test_ctrl_c_ends_it_quietly(isolation: str, code: int) -> None:
    """A shell reports 130 for both: the kernel ends what is inside a C function here."""
    with subprocess.Popen(
        [*COMMAND, *SLEEP, "--isolation", isolation],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        time.sleep(1.5)  # until it sleeps
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (code, b"", b"")


def test_version_and_help_are_quick_and_plain() -> None:
    assert ferry("--version").out.startswith("libferry 0.")
    for command in ("call", "inspect", "doctor", "tour"):
        shown = ferry(command, "--help").out
        assert f"\n  libferry {command}" in shown, "an example"


def test_the_version_is_said_without_importing_what_only_some_need() -> None:
    ran = subprocess.run(
        [COMMAND[0], "-X", "importtime", *COMMAND[1:], "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rsplit("|", 1)[-1].strip() for line in ran.stderr.splitlines()}
    assert "libferry.cli" in imported
    assert not imported & {"numpy", "rich", "rich.console", "ziglang"}


def test_nothing_to_do_is_a_mistake_that_gets_help() -> None:
    ran = ferry()
    assert (ran.code, ran.out) == (2, "")
    assert "libferry tour" in ran.err
