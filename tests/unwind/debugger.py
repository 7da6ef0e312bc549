"""gdb's opinion of a crash, and the fault of that very process."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.unwind.crashes import Crash, built, command, read

_FRAME = re.compile(r"^#\d+\s+(?:(0x[0-9a-f]+) in (\S+)|<signal handler called>)", re.M)

# without glibc's debug information, which would show inlined functions as frames
_SETTINGS = (
    "set debuginfod enabled off",
    "set debug-file-directory /nonexistent",
    "set print frame-info location-and-address",
    "set backtrace past-main on",
    "set backtrace past-entry on",
    "handle SIGSEGV SIGABRT stop pass",
    "handle SIGUSR1 nostop pass",
)


def crashed_under_gdb(
    abi: str, how: str, folder: Path, *options: str
) -> tuple[Crash, list[tuple[int, str]]]:
    """Let the program crash under gdb; give its fault, and gdb's frames.

    A frame is its address and its function, ``??`` if gdb knows none, and the frame that
    a signal handler returns to is 0. gdb stops at the crash, tells its frames, and lets the
    program's own handler go on.
    """
    program = built(abi, "-g0", *options)
    output = folder / "output"
    run = f"run {how} > {output}"
    steps = (*_SETTINGS, f"file {command(abi, program)[0]}", run, "bt", "continue")
    words = [word for step in steps for word in ("-ex", step)]
    done = subprocess.run(
        ["gdb", "-nx", "-batch", *words], capture_output=True, text=True, timeout=120, check=False
    )
    frames = [(int(at or "0", 16), name) for at, name in _FRAME.findall(done.stdout)]
    return read(output.read_text(), abi), frames
