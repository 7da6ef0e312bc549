"""An audit that is ended before it is done: at once, and nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from tests.loader.bare import NEEDED, library

FILES = 6000  # much longer than the test waits


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_audit_ends_when_it_is_told_to(tmp_path: Path, number: signal.Signals) -> None:
    archive, scratch = tmp_path / "many.tar", tmp_path / "scratch"
    scratch.mkdir()
    (tmp_path / "one.so").write_bytes(library([(NEEDED, f"libgone{n}.so") for n in range(50)]))
    with tarfile.open(archive, "w") as tar:
        for count in range(FILES):
            tar.add(tmp_path / "one.so", f"lib/lib{count}.so")
    command = [sys.executable, "-m", "libferry", "check", str(archive), "--jobs", "2", "--no-cache"]
    process = subprocess.Popen(
        command,
        env=os.environ | {"TMPDIR": str(scratch)},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while len(_in_session(process.pid)) < 3 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    began = time.monotonic()
    process.send_signal(number)
    process.wait(60)
    assert time.monotonic() - began < 5
    assert _in_session(process.pid) == []
    assert os.listdir(scratch) == []


def _in_session(session: int) -> list[int]:
    """The processes of a session that have not ended: proc_pid_stat(5), fields 3 and 6."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(name))
    return found
