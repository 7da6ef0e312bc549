"""What a test may ask of the machine, and what happens where the machine has it not.

Many tests need more than Python: another CPU's C library, Wine, a compiler. Such a
test says so, with the command that brings it:

    @pytest.mark.needs("/usr/lib32/libz.so.1", install="apt-get install lib32z1")

and is skipped where it is missing, the command being the reason. Several names are
alternatives. A name with a slash is a file, from the project's root if relative; one
with .so. in it a library that the system's loader finds; any other is a program on PATH or
beside this Python, or a Python module.

A skip is easily overlooked, and a machine for continuous integration has everything.
So there, with FERRY_NO_SKIP=1, a skipped test fails. The one exception has a name of
its own: a test with the mark ``ordinary_user`` may still skip if root runs it, since
permissions do not bind root.

No test may hang: one that takes longer than TEST_SECONDS ends the whole run with the
stacks of all threads, since what hangs inside C code cannot be made to fail.
"""

from __future__ import annotations

import ctypes
import faulthandler
import importlib.util
import os
import shutil
import signal
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TextIO

import pytest

ROOT = Path(__file__).parents[1]
TEST_SECONDS = 600
NO_SKIP = os.environ.get("FERRY_NO_SKIP") == "1"


def pytest_configure(config: pytest.Config) -> None:
    # nothing is captured yet: this is where the stacks can be read when the process is gone
    config.stash[STDERR] = os.fdopen(os.dup(2), "w")
    config.addinivalue_line(
        "markers",
        "needs(*alternatives, install): skip unless one of these files, programs or "
        "modules exists; install is the command that brings it",
    )
    config.addinivalue_line(
        "markers",
        "ordinary_user: checks permissions, so it may skip as root even with FERRY_NO_SKIP=1",
    )


STDERR = pytest.StashKey[TextIO]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    stderr = item.config.stash[STDERR]
    faulthandler.dump_traceback_later(TEST_SECONDS, exit=True, file=stderr)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """A shell's background job ignores SIGINT, and so would all that the tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def is_loadable(soname: str) -> bool:
    try:
        ctypes.CDLL(soname)
    except OSError:
        return False
    return True


def exists(thing: str) -> bool:
    if "/" in thing:
        return (ROOT / thing).exists()
    if ".so." in thing:
        return is_loadable(thing)
    beside = os.path.dirname(sys.executable)
    return bool(
        shutil.which(thing) or shutil.which(thing, path=beside) or importlib.util.find_spec(thing)
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for need in item.iter_markers("needs"):
        if not any(map(exists, need.args)):
            pytest.skip(f"needs {' or '.join(need.args)}: {need.kwargs['install']}")


def forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if NO_SKIP and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{reason}\n(FERRY_NO_SKIP=1 makes this skip a failure)"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if not (item.get_closest_marker("ordinary_user") and os.geteuid() == 0):
        forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Forbid the skip of a whole module, too."""
    report = yield
    forbid_skip(report)
    return report
