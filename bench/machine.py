"""What the numbers were measured on, without which they mean little."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
from pathlib import Path

from .build import NotAvailableError, cffi_module

PACKAGES = ["libferry", "cffi", "msl-loadlib", "ziglang"]


def describe() -> dict[str, str]:
    """Describe this machine, as lines of a table."""
    about = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", about, re.MULTILINE)
    guest = re.search(r"^flags\s*:.*\bhypervisor\b", about, re.MULTILINE)
    return {
        "date": datetime.date.today().isoformat(),
        "CPU": (model[1] if model else platform.machine()) + (", virtual" if guest else ""),
        "CPUs for this process": str(len(os.sched_getaffinity(0))),
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(_versions()),
        "cffi's compiler": _cffi_compiler(),
        "load average at the start": f"{os.getloadavg()[0]:.2f}",
    }


def _versions() -> list[str]:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} not installed")
    return found


def _cffi_compiler() -> str:
    try:
        return cffi_module()[1]
    except NotAvailableError as error:
        return f"not available: {error}"
