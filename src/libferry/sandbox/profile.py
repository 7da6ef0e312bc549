"""A profile: what a library in a sandbox may do.

Profiles are TOML. Those that come with libferry lie in ``profiles/`` and are named by
their file's name; any other is named by its path. One may inherit another and then
adds to it. Every key is checked: a misspelled one would otherwise allow, or forbid,
something else than it says.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NoReturn

from libferry.errors import DeclarationError
from libferry.sandbox.rules import parse_errno, parse_rule
from libferry.tables import Kinds, check, near

SHIPPED = Path(__file__).parent / "profiles"
LIBRARY = "$LIBRARY"  # the library's own folder, in a list of files
ANY = "any"  # any port
LARGEST_PORT = 0xFFFF
_DEEPEST = 16  # profiles that inherit each other

_TOP: Kinds = {
    "description": str,
    "inherits": str,
    "syscalls": dict,
    "files": dict,
    "network": dict,
    "limits": dict,
    "environment": list,
    "processes": bool,
    "code": bool,
}
_SYSCALLS: Kinds = {"allow": list, "refuse": dict}
_FILES: Kinds = {"read": list, "write": list, "execute": list, "absent": list}
_NETWORK: Kinds = {"connect": list, "listen": list, "datagrams": bool}
# what a limit counts, and the words for it
_UNITS: dict[str, dict[str, int]] = {
    "memory": {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40},
    "cpu": {"s": 1, "min": 60, "h": 3600},
    "files": {},
    "processes": {},
    "file-size": {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40},
}
_LARGEST_LIMIT = 1 << 62


@dataclass(frozen=True)
class Profile:
    """What a library may do. Made by ``read_profile``, or by hand.

    Attributes:
        name: what it is called in messages.
        description: one sentence for people.
        allow: system calls that are simply made, as ``libferry.sandbox.rules`` reads them.
        refuse: system calls that fail quietly, and the error's name.
        read, write, execute: files, and folders with all that is in them, by absolute
            path; ``~`` is the user's home and ``$LIBRARY`` the library's folder.
        absent: files that may be asked for and are not there, whatever is.
        connect, listen: TCP ports, or ``("any",)``.
        datagrams: whether UDP may be used.
        limits: ``memory`` and ``file-size`` in bytes, ``cpu`` in seconds, ``files`` and
            ``processes`` in pieces.
        environment: names of variables that the library gets to see.
        processes: whether it may start processes.
        code: whether it may make executable memory once it is loaded.
    """

    name: str
    description: str = ""
    allow: tuple[str, ...] = ()
    refuse: Mapping[str, str] = field(default_factory=dict)
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    execute: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    connect: tuple[int | str, ...] = ()
    listen: tuple[int | str, ...] = ()
    datagrams: bool = False
    limits: Mapping[str, int] = field(default_factory=dict)
    environment: tuple[str, ...] = ()
    processes: bool = False
    code: bool = False

    @property
    def network(self) -> bool:
        """Whether it reaches out of the machine at all."""
        return bool(self.connect or self.listen or self.datagrams)

    def adding(self, more: Profile) -> Profile:
        """This profile and what another adds to it; what both name is as the other has it."""
        refused = {k: v for k, v in self.refuse.items() if k not in more.allow}
        allowed = tuple(rule for rule in self.allow if rule not in more.refuse)
        return replace(
            more,
            description=more.description or self.description,
            allow=_union(allowed, more.allow),
            refuse={**refused, **more.refuse},
            read=_union(self.read, more.read),
            write=_union(self.write, more.write),
            execute=_union(self.execute, more.execute),
            absent=_union(self.absent, more.absent),
            connect=_union(self.connect, more.connect),
            listen=_union(self.listen, more.listen),
            datagrams=self.datagrams or more.datagrams,
            limits={**self.limits, **more.limits},
            environment=_union(self.environment, more.environment),
            processes=self.processes or more.processes,
            code=self.code or more.code,
        )


def _union(first: Sequence[Any], second: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys((*first, *second)))


def shipped() -> list[str]:
    """The names of the profiles that come with libferry."""
    return sorted(file.stem for file in SHIPPED.glob("*.toml"))


def read_profile(profile: str | os.PathLike[str] | Profile) -> Profile:
    """A profile by its name or by its file's path.

    Raises:
        DeclarationError: there is none of that name, or it cannot be read.
    """
    if isinstance(profile, Profile):
        _check_made(profile)
        return profile
    text = os.fspath(profile)
    if not isinstance(text, str):
        _fail(repr(text), "that is no name", "give a name such as 'pure', or a path")
    if "/" in text or text.endswith(".toml") or isinstance(profile, os.PathLike):
        return _from_file(Path(text))
    return _by_name(text)


@cache
def _by_name(name: str) -> Profile:
    known = shipped()
    if name not in known:
        hint = near(name, known, f"there are {', '.join(known)}; or give a path")
        _fail(name, "there is no such profile", hint)
    return _from_file(SHIPPED / f"{name}.toml")


def _from_file(file: Path, seen: tuple[Path, ...] = ()) -> Profile:
    data = read_toml(file)
    name = file.stem
    own = profile_of(data, name, file.parent, top=_TOP)
    base = data.get("inherits")
    if base is None:
        return own
    seen = (*seen, file)
    if len(seen) > _DEEPEST:
        _fail(name, "profiles inherit each other in a circle, or too deeply", "break the circle")
    inherited = (
        _from_file(file.parent / base, seen)
        if "/" in base or base.endswith(".toml")
        else _by_name(base)
    )
    return inherited.adding(own)


def read_toml(file: Path) -> dict[str, Any]:
    """The tables of a profile's file.

    Raises:
        DeclarationError: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # a TOML error is a ValueError
        happened = getattr(error, "strerror", None) or str(error) or "nested too deeply"
        _fail(str(file), happened, "give the path of a profile in TOML; docs/sandbox.md has one")


def profile_of(
    data: Mapping[str, Any],
    name: str,
    folder: Path,
    *,
    top: Kinds | None = None,
) -> Profile:
    """What one file or table says, without what it inherits.

    Args:
        data: the table.
        name: what messages call it.
        folder: what paths without a slash in front are counted from.
        top: the keys it may have; None is for a part of another file, which neither
            inherits nor describes itself.

    Raises:
        DeclarationError: a key means nothing, or a value is not what it should be.
    """
    if top is None:
        top = {key: kind for key, kind in _TOP.items() if key not in ("inherits", "description")}
    _check(name, "", data, top)
    syscalls = _check(name, "syscalls", data.get("syscalls", {}), _SYSCALLS)
    files = _check(name, "files", data.get("files", {}), _FILES)
    network = _check(name, "network", data.get("network", {}), _NETWORK)
    limits = _check(name, "limits", data.get("limits", {}), dict.fromkeys(_UNITS, (int, str)))
    paths = {
        key: tuple(_path(name, f"files.{key}", one, folder) for one in files.get(key, ()))
        for key in _FILES
    }
    return Profile(
        name=name,
        description=data.get("description", ""),
        allow=tuple(_rule(name, "syscalls.allow", rule) for rule in syscalls.get("allow", ())),
        refuse={
            _rule(name, "syscalls.refuse", rule): _errno(name, f"syscalls.refuse.{rule}", error)
            for rule, error in syscalls.get("refuse", {}).items()
        },
        connect=_ports(name, "network.connect", network.get("connect", ())),
        listen=_ports(name, "network.listen", network.get("listen", ())),
        datagrams=network.get("datagrams", False),
        limits={key: _amount(name, key, value) for key, value in limits.items()},
        environment=tuple(_variable(name, one) for one in data.get("environment", ())),
        processes=data.get("processes", False),
        code=data.get("code", False),
        **paths,
    )


def _check_made(profile: Profile) -> None:
    """What a file is checked for, of a profile that was made by hand."""
    name = profile.name
    for rule in (*profile.allow, *profile.refuse):
        _rule(name, "allow, refuse", rule)
    for rule, error in profile.refuse.items():
        _errno(name, f"refuse {rule}", error)
    for key in _FILES:
        for path in getattr(profile, key):
            _path(name, key, path, Path("/"))
    for key in _NETWORK.keys() - {"datagrams"}:
        _ports(name, key, getattr(profile, key))
    for variable in profile.environment:
        _variable(name, variable)
    _check(name, "limits", dict(profile.limits), dict.fromkeys(_UNITS, int))
    for key, amount in profile.limits.items():
        _amount(name, key, amount)


def _rule(name: str, key: str, rule: object) -> str:
    if not isinstance(rule, str):
        _fail(name, f"{key}: {rule!r} is no system call", "give a name such as 'getpid'")
    try:
        parse_rule(rule)
    except ValueError as error:
        _fail(name, f"{key}: {error}", "such as 'getpid' or 'prctl(0 == PR_SET_NAME)'")
    return rule


def _errno(name: str, key: str, error: object) -> str:
    try:
        parse_errno(error if isinstance(error, str) else repr(error))
    except ValueError as wrong:
        _fail(name, f"{key}: {wrong}", "give the error that the call fails with")
    return str(error)


def _path(name: str, key: str, path: object, folder: Path) -> str:
    if not isinstance(path, str) or not path or "\0" in path:
        _fail(name, f"{key}: {path!r} is no path", "give files and folders, as text")
    if path.split("/", 1)[0] in (LIBRARY, "~"):
        return path
    return os.path.normpath(os.path.join(os.path.abspath(folder), path))


def _ports(name: str, key: str, ports: Sequence[object]) -> tuple[int | str, ...]:
    for port in ports:
        number = isinstance(port, int) and not isinstance(port, bool) and 0 < port <= LARGEST_PORT
        if not number and port != ANY:
            _fail(name, f"{key}: {port!r} is no port", f"a number up to {LARGEST_PORT}, or 'any'")
    return (ANY,) if ANY in ports else tuple(ports)  # type: ignore[arg-type]


def _variable(name: str, variable: object) -> str:
    if not isinstance(variable, str) or not variable or "=" in variable or "\0" in variable:
        _fail(name, f"environment: {variable!r} is no variable", "give names, such as 'TZ'")
    return variable


def _amount(name: str, key: str, value: int | str) -> int:
    """A limit: a number, or one with a unit."""
    units = _UNITS[key]
    amount = -1
    if isinstance(value, int):
        amount = value
    elif found := re.fullmatch(r"\s*(\d+)\s*([A-Za-z]+)\s*", value, re.ASCII):
        amount = int(found[1]) * units.get(found[2], -1)
    if not 0 < amount <= _LARGEST_LIMIT:
        _fail(
            name,
            f"limits.{key} is {value!r}",
            f"give a number with one of {', '.join(units)}" if units else "give a number",
        )
    return amount


def _check(name: str, key: str, table: object, known: Kinds) -> dict[str, Any]:
    """The table, if it is one and has known keys of the right kind only."""
    checked: dict[str, Any] = check(key, table, known, partial(_fail, name))
    return checked


def _fail(name: str, happened: str, hint: str) -> NoReturn:
    raise DeclarationError(f"read the profile {name}", happened, hint=hint)
