"""How long the audit of a whole system takes: `python -m bench.auditing`.

The system is made from this machine's: its loader, its configuration and all its libraries
for the machine's own CPU, and copies of them in other folders until there are 5,000. Each
copy is another file to the audit; what it needs is found by the cache of the loader, as it
is for the original. A cold run is one without kept answers, the files being in memory; for
the warm one nothing has changed since.

    python -m bench.auditing [NUMBER [FOLDER]]
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from libferry.audit.inputs.native import find
from libferry.binary import read
from libferry.errors import FerryError

GOAL_COLD, GOAL_WARM = 20.0, 1.0  # seconds, 5,000 libraries on 2 CPUs
LIBRARIES = ("usr/lib", "lib", "lib64")
CONFIGURATION = ("etc/ld.so.cache", "etc/ld.so.conf", "etc/os-release", "usr/lib/os-release")


def build(root: Path, number: int) -> int:
    """Make a root file system with so many libraries; give how many there are."""
    here = Path("/")
    for name in ("lib", "lib64"):
        if (here / name).is_symlink():
            (root / name).symlink_to(os.readlink(here / name))
    for name in CONFIGURATION:
        if (here / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(here / name, root / name)
    libraries = list(filter(is_own, find("/usr/lib/x86_64-linux-gnu")))
    libraries += filter(is_own, find("/usr/lib64"))
    for file in libraries:
        place(Path(file), root / file.lstrip("/"))
    for link in Path("/usr/lib/x86_64-linux-gnu").rglob("*.so*"):
        if link.is_symlink():
            copy = root / str(link).lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.symlink_to(os.readlink(link))
    if (here / "usr/lib64").is_dir():
        for link in Path("/usr/lib64").iterdir():
            if link.is_symlink():
                (root / "usr/lib64").mkdir(parents=True, exist_ok=True)
                (root / "usr/lib64" / link.name).symlink_to(os.readlink(link))
    made, copy_number = len(libraries), 0
    while made < number:
        for file in libraries[: number - made]:
            place(Path(file), root / f"opt/copy{copy_number}" / file.lstrip("/"))
            made += 1
        copy_number += 1
    return made


def is_own(file: str) -> bool:
    """Whether a file is a library for this machine's CPU."""
    try:
        binary = read(file)
    except FerryError:
        return False
    return binary.format == "elf" and binary.kind == "library" and binary.cpu == "x86_64"


def place(file: Path, to: Path) -> None:
    """Copy a file, without taking the room twice where the file system can do that."""
    to.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "--reflink=auto", file, to], check=True)


def audit(root: Path, cache: Path) -> tuple[float, float, str]:
    """Seconds by the clock, seconds of CPU, and the last line."""
    command = [sys.executable, "-m", "libferry", "check", str(root)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, done.stdout.strip().rpartition("\n")[2] or done.stderr


def main() -> None:
    """Build, audit twice, print."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    given = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory(prefix="libferry-bench-", dir=given) as scratch:
        root = Path(scratch) / "root"
        root.mkdir()
        made = build(root, number)
        for _ in find(str(root)):  # into memory
            pass
        for name, goal in (("cold", GOAL_COLD), ("warm", GOAL_WARM)):
            wall, cpu, last = audit(root, Path(scratch) / "cache")
            verdict = "reached" if wall <= goal * made / 5000 else "missed"
            print(f"{name}: {made} libraries in {wall:.2f} s ({cpu:.2f} s of CPU), goal {verdict}")
            print(f"  {last}")


if __name__ == "__main__":
    main()
