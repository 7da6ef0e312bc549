"""Symbol versions: whether each library has the ones that are asked of it.

The loader compares lists of names before it binds a single symbol, which is why a program
built on a newer system fails at once with ``version `GLIBC_2.34' not found``. A library
without any versions is taken as it is, with a warning in ``ldd -v`` only.

Source: glibc ``elf/dl-version.c``, ``match_symbol`` and ``_dl_check_map_versions``.
"""

from __future__ import annotations

from libferry.loader.glibc import rules
from libferry.loader.glibc.mapping import Loaded, Process
from libferry.loader.model import Problem
from libferry.target.model import Target

RELR_NODE = "GLIBC_ABI_DT_RELR"


def check(one: Loaded, process: Process) -> list[Problem]:
    """What one library asks of the others and they do not have."""
    problems = []
    facts = one.facts
    version = process.places.version
    for library, wanted in facts.versions_needed:
        other = process.known(library)
        if other is None or other.facts.versions is None or wanted <= other.facts.versions:
            continue
        for name in sorted(wanted - other.facts.versions):
            message = f"{other.path}: version `{name}' not found (required by {one.path})"
            id, source = "missing-version", rules.VERSIONS
            if name == RELR_NODE:
                id, source = "relr-unsupported", rules.RELR.source
            elif _is_other_world(name, process.places.target):
                id = "loongarch-world"
            problems.append(Problem(id, one.path, name, message, "load", source))
    if facts.relr:
        marked = any(RELR_NODE in wanted for _, wanted in facts.versions_needed)
        if not rules.RELR.holds(version):
            if not marked:
                message = f"{one.path}: its packed relocations (DT_RELR) are not applied"
                problems.append(
                    Problem(
                        *("relr-unsupported", one.path, "DT_RELR", message, "load"),
                        rules.RELR.source,
                    )
                )
        elif (
            not marked
            and facts.versions_needed
            and any(name.startswith("libc.so.") for _, name in facts.needs)
        ):
            message = f"{one.path}: DT_RELR without {RELR_NODE} dependency"
            problems.append(
                Problem(
                    *("relr-unsupported", one.path, RELR_NODE, message, "load"),
                    rules.RELR.source,
                )
            )
    return problems


def _is_other_world(version: str, target: Target) -> bool:
    """Whether the library is for the other one of LoongArch's two systems."""
    world = rules.LOONGARCH_VERSIONS.get(version)
    return target.cpu == "loongarch64" and world is not None and world != target.abi
