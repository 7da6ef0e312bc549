"""What a wheel's name and its folders say of where it runs.

``numpy-2.1.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl``: the last part
are platform tags, here two names of one thing. A tag promises that the files load on the
oldest system that it names, so that system is what they are checked for.

A wheel for Windows has its DLLs in a folder beside the package, ``numpy.libs``, or in one
inside it, and code in ``__init__.py`` that gives the folder to ``os.add_dll_directory``.
We do not read that code; we take every folder that has DLLs for one.

Specification: PyPA, "Platform compatibility tags" (PEP 425, 513, 571, 599, 600, 656).
"""

from __future__ import annotations

import posixpath
from pathlib import Path

ALIASES = {  # PEP 600
    "manylinux1": "manylinux_2_5",
    "manylinux2010": "manylinux_2_12",
    "manylinux2014": "manylinux_2_17",
}


def platforms(name: str) -> list[str]:
    """The platform tags in a wheel's name, aliases replaced by what they mean."""
    found = []
    for tag in name.removesuffix(".whl").rpartition("-")[2].split("."):
        start, _, cpu = tag.partition("_")
        found.append(f"{ALIASES[start]}_{cpu}" if start in ALIASES else tag)
    return list(dict.fromkeys(found))


def target_of(name: str) -> str | None:
    """The name of the target that a wheel's name promises, as far as there is one."""
    return None


def added_folders(root: Path, names: list[str]) -> tuple[str, ...]:
    """The folders that have DLLs, as absolute paths."""
    folders = {posixpath.dirname(name) for name in names if name.lower().endswith(".dll")}
    return tuple(str(root / folder) for folder in sorted(folders))
