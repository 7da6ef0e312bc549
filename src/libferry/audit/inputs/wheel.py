"""What a wheel's name and its folders say of where it runs.

``numpy-2.1.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl``: the last part
are platform tags, here two names of one thing. A tag promises that the files load on the
oldest system that it names, so that system is what they are checked for.

A wheel for Windows has its DLLs in a folder beside the package, ``numpy.libs``, or in one
inside it, and code in ``__init__.py`` that gives the folder to ``os.add_dll_directory``.
We do not read that code; we take every folder that has DLLs for one.

What is in a wheel is loaded by Python. Extension modules refer to the interpreter's own
library and symbols, and a target, which is a system without Python, has neither. So what
Python itself brings is not missing.

Specification: PyPA, "Platform compatibility tags" (PEP 425, 513, 571, 599, 600, 656).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from libferry.audit.model import Finding
from libferry.target import list_targets

ALIASES = {  # PEP 600
    "manylinux1": "manylinux_2_5",
    "manylinux2010": "manylinux_2_12",
    "manylinux2014": "manylinux_2_17",
}


PYTHON_FLAGS = ("LOAD_LIBRARY_SEARCH_DEFAULT_DIRS", "LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR")
"""How Python loads an extension module (CPython 3.13, Python/dynload_win.c)."""

# What lies beside python.exe: CPython, PC/layout/main.py, get_layout (python3X.dll, the
# stable ABI's python3.dll, and all of vcruntime*.dll that the build has)
_PYTHON_DLL = re.compile(r"(python3\d*t?|vcruntime140(_1)?)\.dll", re.IGNORECASE)
# C API: names begin with Py or _Py; Mach-O puts an underscore in front
_PYTHON_SYMBOL = re.compile(r"_{0,2}Py[A-Z_]\w*")

_TAG = re.compile(r"(manylinux|musllinux|macosx)_(\d+)_(\d+)_(\w+)")

# what is known of each is in the target's own file
GLIBC = (
    ((2, 17), "centos-7"),
    ((2, 27), "ubuntu-18.04"),
    ((2, 28), "rocky-8"),
    ((2, 31), "debian-11"),
    ((2, 34), "rocky-9"),
    ((2, 35), "ubuntu-22.04"),
    ((2, 36), "debian-12"),
    ((2, 39), "ubuntu-24.04"),
    ((2, 41), "debian-13"),
)
MUSL = (((1, 2), "alpine-3.16"), ((1, 2), "alpine-3.21"))

_LINUX_CPUS = {"x86_64": "amd64", "aarch64": "arm64", "i686": "i386", "armv7l": "armhf"}
_LINUX_CPUS |= {"loongarch64": "loong64"}
_MACOS_CPUS = {"universal2": "arm64"}


def platforms(name: str) -> list[str]:
    """The platform tags in a wheel's name, aliases replaced by what they mean."""
    found = []
    for tag in name.removesuffix(".whl").rpartition("-")[2].split("."):
        start, _, cpu = tag.partition("_")
        found.append(f"{ALIASES[start]}_{cpu}" if start in ALIASES else tag)
    return list(dict.fromkeys(found))


def target_of(name: str) -> str | None:
    """The name of the target that a wheel's name promises; None for no particular one.

    A tag of Linux means a version of the C library. Its target is the system with the
    oldest one that is not older, if the wheel is for several then of the oldest of them.
    """
    if not name.endswith(".whl"):
        return None
    known = list_targets()
    for system, major, minor, cpu in sorted(_numbers(platforms(name))):
        if system == "macosx":
            start = f"macos-{major}" if major >= 11 else "macos-11"
            found = [f"{start}-{_MACOS_CPUS.get(cpu, cpu)}"]
        else:
            systems = MUSL if system == "musllinux" else GLIBC
            found = [
                f"{one}-{_LINUX_CPUS.get(cpu, cpu)}"
                for version, one in systems
                if version >= (major, minor)
            ]
        for one in found:
            if one in known:
                return one
    return None


def _numbers(tags: list[str]) -> Iterator[tuple[str, int, int, str]]:
    for tag in tags:
        if match := _TAG.fullmatch(tag):
            yield match[1], int(match[2]), int(match[3]), match[4]


def is_of_python(finding: Finding) -> bool:
    """Whether all that a finding says is that Python itself is not there."""
    if finding.rule == "missing-library":
        return _PYTHON_DLL.fullmatch(finding.subject) is not None
    if finding.rule in ("missing-symbol", "missing-symbol-later"):
        named = finding.evidence.get("symbols")
        symbols = named if isinstance(named, list) and named else [finding.subject]
        return all(_PYTHON_SYMBOL.fullmatch(str(symbol)) for symbol in symbols)
    return False


def added_folders(root: Path, names: list[str]) -> tuple[str, ...]:
    """The folders that have DLLs, as absolute paths."""
    folders = {posixpath.dirname(name) for name in names if name.lower().endswith(".dll")}
    return tuple(str(root / folder) for folder in sorted(folders))
