"""What a project asks of its libraries, written down once.

In ``pyproject.toml``::

    [tool.libferry.check]
    target = "kylin-v10-server-arm64"
    ignore = ["unstripped"]

    [tool.libferry.check.per-file-ignores]
    "vendor/*.so" = ["security"]

or the same in ``libferry.toml``, as ``[check]``. The nearest of these files counts, from
the current folder upwards; a ``pyproject.toml`` that says nothing of libferry is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from libferry import tables
from libferry.audit.rules import RULES
from libferry.audit.selection import Selection
from libferry.errors import SettingsError

GROUPS = tuple(dict.fromkeys(rule.group for rule in RULES.values()))

_KEYS: tables.Kinds = {
    "target": str,
    "sysroot": str,
    "host": str,
    "contract": str,
    "select": list,
    "ignore": list,
    "per-file-ignores": dict,
    "strict": bool,
    "baseline": str,
}


@dataclass(frozen=True)
class Config:
    """The settings of one file; None where it says nothing.

    Attributes:
        path: the file; None if there is none.
        target, host: as on the command line.
        sysroot, contract, baseline: paths; relative ones are meant from the file.
        selection: the rules that are asked.
        strict: whether a warning is a reason to say no.
    """

    path: Path | None = None
    target: str | None = None
    host: str | None = None
    sysroot: Path | None = None
    contract: Path | None = None
    baseline: Path | None = None
    selection: Selection = field(default_factory=Selection)
    strict: bool = False


def find_config(folder: Path) -> Config:
    """The nearest settings, from a folder upwards; empty ones if there are none.

    Raises:
        SettingsError: a file says something of libferry that means nothing.
    """
    folder = folder.absolute()
    for parent in (folder, *folder.parents):
        for name in ("libferry.toml", "pyproject.toml"):
            path = parent / name
            if path.is_file() and (found := _read(path)) is not None:
                return found
    return Config()


def read_config(path: Path) -> Config:
    """The settings in one file.

    Raises:
        SettingsError: it cannot be read, has none, or says something that means nothing.
    """
    found = _read(path)
    if found is None:
        raise SettingsError(
            f"read the settings in {path}",
            "it says nothing of libferry check",
            hint="write a table [check]; in pyproject.toml [tool.libferry.check]",
        )
    return found


def _read(path: Path) -> Config | None:
    def fail(happened: str, hint: str) -> NoReturn:
        raise SettingsError(f"read the settings in {path}", happened, hint=hint)

    try:
        text = path.read_text(encoding="utf-8")
        if path.name == "pyproject.toml" and "libferry" not in text:
            return None
        import tomllib  # late: most runs have no settings

        whole: dict[str, Any] = tomllib.loads(text)
    except OSError as error:
        fail((error.strerror or str(error)).lower(), "give a file that can be read")
    except ValueError as error:
        fail(f"it is no TOML: {error}", "see https://toml.io")
    if path.name == "pyproject.toml":
        tool = whole.get("tool", {})
        table = tool.get("libferry", {}) if isinstance(tool, dict) else {}
        key = "tool.libferry"
    else:
        table, key = whole, ""
    tables.check(key, table, {"check": dict}, fail)
    if "check" not in table:
        return None
    key = f"{key}.check" if key else "check"
    check = tables.check(key, table["check"], _KEYS, fail)
    return _config(path, check, key)


def _config(path: Path, check: dict[str, Any], key: str) -> Config:
    def place(name: str) -> Path | None:
        return path.parent / check[name] if name in check else None

    tried = f"read {key} in {path}"
    per_file = tuple(
        (pattern, words(names, f"{tried}: {pattern!r}"))
        for pattern, names in check.get("per-file-ignores", {}).items()
    )
    return Config(
        path=path,
        target=check.get("target"),
        host=check.get("host"),
        sysroot=place("sysroot"),
        contract=place("contract"),
        baseline=place("baseline"),
        selection=Selection(
            words(check.get("select", []), f"{tried}: select"),
            words(check.get("ignore", []), f"{tried}: ignore"),
            per_file,
        ),
        strict=check.get("strict", False),
    )


def words(names: object, tried: str) -> frozenset[str]:
    """Ids and groups, each of which there is; also as ``a,b``.

    Raises:
        SettingsError: there is no such rule.
    """
    if not isinstance(names, Iterable) or isinstance(names, str | bytes):
        raise SettingsError(tried, f"this is {names!r}", hint="give a list of rules and groups")
    found = set()
    for name in names:
        if not isinstance(name, str):
            raise SettingsError(
                tried, f"{name!r} is no rule", hint="give names of rules and groups"
            )
        for word in name.split(","):
            if word not in RULES and word not in GROUPS:
                hint = tables.near(word, (*RULES, *GROUPS), "see libferry check --rules")
                raise SettingsError(tried, f"there is no rule or group {word!r}", hint=hint)
            found.add(word)
    return frozenset(found)
