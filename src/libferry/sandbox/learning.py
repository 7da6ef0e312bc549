"""Learn from a workload what a library does, and write the profile that covers it.

``libferry learn -- COMMAND`` runs the command with ``LIBFERRY_LEARN`` set to a folder. A
sandboxed load in it, or in any process that it starts, then lets everything pass that
``pure`` does not allow, notes it down, and leaves what it noted in that folder at its end.
The profile is what all of them noted, beside ``pure``.

A workload is no attacker: whoever learns from a library runs it without a sandbox, once.
"""

from __future__ import annotations

import atexit
import json
import os
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libferry import _core
from libferry.errors import DeclarationError
from libferry.sandbox import calls, policy
from libferry.sandbox.acts import Act, Grant, quoted
from libferry.sandbox.needs import need
from libferry.sandbox.places import Places

VARIABLE = "LIBFERRY_LEARN"
BASE = "pure"
SEVERAL = 8  # files in a folder: with more, the folder is meant

_SUFFIX = ".grants.json"


def folder() -> Path | None:
    """Where this process leaves what it learns; None if it does not learn."""
    value = os.environ.get(VARIABLE)
    return Path(value) if value else None


@dataclass(frozen=True, eq=False)
class Pupil:
    """A worker whose acts are noted down.

    Attributes:
        library: its library, for messages.
        own: the audit architecture of its code.
        where: which files ``pure`` would have opened to it.
        leaves_at: the folder for what was noted.
    """

    library: str
    own: int
    where: Places
    leaves_at: Path

    def watch(self, session: _core.Session) -> None:
        """Say that nothing is forbidden, and keep the session until it has told all."""
        # not logged: a program that configures no logging must be told, too
        warnings.warn(
            f"{VARIABLE} is set: {self.library} is NOT confined, what it does is only noted down",
            RuntimeWarning,
            stacklevel=2,
        )
        atexit.register(self.leave, session)

    def leave(self, session: _core.Session) -> None:
        """Leave what the worker did that ``pure`` does not allow. Twice is fine."""
        atexit.unregister(self.leave)
        notices = session.notices()
        if session.notices_lost:
            warnings.warn(
                f"{self.library} did too much: {session.notices_lost} acts are lost",
                RuntimeWarning,
                stacklevel=2,
            )
        grants = grants_of([Act.noticed(notice, self.own) for notice in notices], self.where)
        rows = [[grant.table, grant.key, grant.value] for grant in grants]
        with tempfile.NamedTemporaryFile(
            "w", dir=self.leaves_at, suffix=_SUFFIX, delete=False, encoding="utf-8"
        ) as file:
            json.dump({"library": self.library, "grants": rows}, file)


def grants_of(acts: Sequence[Act], where: Places) -> list[Grant]:
    """What a profile beside ``pure`` has to grant for these acts.

    Args:
        acts: all that was told.
        where: the files that ``pure`` opens.
    """
    code = any(act.name in calls.PROTECTION_CALLS and act.phase == policy.SERVING for act in acts)
    grants: dict[Grant, None] = {Grant("", "code", True): None} if code else {}
    phases = where.phases
    for act in acts:
        if act.phase == policy.STARTING or act.name in calls.PROTECTION_CALLS:
            continue
        if act.path is not None:
            open_to = phases[policy.LOADING if code else act.phase]
            if _covered(act.path, act.access, open_to) or _only_looked(act):
                continue
            if not _is_text(act.path):
                warnings.warn(
                    f"{act.path!r} is no text, and a profile cannot name it",
                    RuntimeWarning,
                    stacklevel=2,
                )
                continue
        grants.update(dict.fromkeys(act.grants(done=True)))
    implied = _implied(grants)
    return [grant for grant in grants if grant.value not in implied]


def _implied(grants: Iterable[Grant]) -> set[object]:
    """The system calls that the grants bring with them."""
    with_network = any(grant.table == "network" for grant in grants)
    with_writing = any(grant.key == "write" for grant in grants)
    words = {grant.key for grant in grants if grant.value is True}
    names: list[str] = [name for name in ("processes", "code") if name in words]
    names += ["network"] * with_network + ["write"] * with_writing
    return {rule for name in names for rule in need(name).allow}


def _covered(path: str, access: int, places: Mapping[str, int]) -> bool:
    granted = 0
    while True:
        granted |= places.get(path, 0)
        if path in ("/", ""):
            return not access & ~granted
        path = os.path.dirname(path)


def _is_text(path: str) -> bool:
    """Whether TOML, which is UTF-8, can have that name."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _only_looked(act: Act) -> bool:
    """Whether it looked for what is not there, or at a folder: a sandbox shows those."""
    return act.access == calls.LOOK and not os.path.isfile(act.path or "")


def collect(left_at: Path) -> tuple[list[Grant], list[str]]:
    """The grants that were left in a folder, and the libraries they are for.

    Raises:
        DeclarationError: what was left there cannot be read.
    """
    grants: dict[Grant, None] = {}
    libraries: dict[str, None] = {}
    for file in sorted(left_at.glob(f"*{_SUFFIX}")):
        try:
            left = json.loads(file.read_text(encoding="utf-8"))
            libraries[str(left["library"])] = None
            grants.update(dict.fromkeys(Grant(*row) for row in left["grants"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DeclarationError(
                f"read what was learnt, {file.name}",
                str(error),
                hint="run it again, and let nothing else write to that folder",
            ) from None
    return list(grants), sorted(libraries)


def profile_text(grants: Iterable[Grant], libraries: Iterable[str]) -> str:
    """The smallest profile with these grants, as TOML; the same for the same grants."""
    tables: dict[str, dict[str, set[Any]]] = {}
    for grant in grants:
        tables.setdefault(grant.table, {}).setdefault(grant.key, set()).add(grant.value)
    names = ", ".join(os.path.basename(library) for library in sorted(libraries))
    lines = [
        f"description = {quoted(f'Learnt from what {names} did.')}",
        f"inherits = {quoted(BASE)}",
    ]
    lines += [f"{key} = true" for key in sorted(tables.pop("", {}))]
    for table in sorted(tables):
        lines += ["", f"[{table}]"]
        keys = tables[table]
        if table == "files":
            keys = _files(keys)
        for key in sorted(keys):
            lines += _entry(key, keys[key])
    return "\n".join(lines) + "\n"


def _entry(key: str, values: set[Any]) -> list[str]:
    if values == {True}:
        return [f"{key} = true"]
    if "any" in values and len(values) > 1:
        named = values - {"any"}
        # a socket was made, which is "any" until it is known for what
        values = named if all(isinstance(value, int) for value in named) else {"any"}
    ordered = sorted(values, key=lambda value: (isinstance(value, str), value))
    return [f"{key} = [", *(f"    {quoted(value)}," for value in ordered), "]"]


def _files(keys: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Lists of files: folders instead of many files, and nothing that a folder has."""
    result: dict[str, set[str]] = {}
    for key, paths in keys.items():
        by_folder: dict[str, set[str]] = {}
        for path in paths:
            by_folder.setdefault(os.path.dirname(path), set()).add(path)
        merged = set()
        for parent, inside in by_folder.items():
            merged |= {parent} if len(inside) > SEVERAL and parent != "/" else inside
        result[key] = {path for path in merged if not _inside(path, merged)}
    # who may write somewhere may read there
    written = result.get("write", set())
    if "read" in result:
        result["read"] = {
            path for path in result["read"] if path not in written and not _inside(path, written)
        }
    return {key: paths for key, paths in result.items() if paths}


def _inside(path: str, folders: set[str]) -> bool:
    while (above := os.path.dirname(path)) != path:
        if above in folders:
            return True
        path = above
    return False
