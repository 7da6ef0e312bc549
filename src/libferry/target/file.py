"""A target in a TOML file: what ``libferry target describe`` writes, and what you may write.

    name = "our-box"
    title = "The box in the basement"
    os = "linux"
    cpu = "aarch64"
    loader = "glibc"
    version = "2.28"
    page_size = 65536
    default_paths = ["/lib64", "/usr/lib64"]

    [given."libz.so.1"]
    path = "/lib64/libz.so.1"
    versions = ["ZLIB_1.2.9"]

The keys are the attributes of ``Target`` and ``Given``. What is left out and follows from
the CPU and the loader is filled in: bits, endian, interpreter, platform, lib.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, get_args

from libferry import tables
from libferry.errors import LibraryNotFound, TargetError
from libferry.target.loaders import INTERPRETERS, Interpreter
from libferry.target.model import Given, Loader, Os, Target

Fail = Callable[[str, str], NoReturn]

_KEYS: tables.Kinds = {
    "name": str,
    "title": str,
    "os": str,
    "cpu": str,
    "bits": int,
    "endian": str,
    "loader": str,
    "version": str,
    "interpreter": str,
    "isa": list,
    "abi": str,
    "page_size": int,
    "default_paths": list,
    "lib": str,
    "platform": str,
    "given": dict,
    "facts": dict,
    "sources": dict,
}
_MUST = ("os", "cpu", "loader", "version")
_GIVEN_KEYS: tables.Kinds = {"path": str, "versions": list, "exports": list, "source": str}
_CHOICES = {"os": get_args(Os), "loader": get_args(Loader), "endian": ("little", "big")}
_LARGEST = 1 << 26  # bytes: a whole system with its exports is a fifth of that


def load(path: Path) -> Target:
    """The target that a file describes.

    Raises:
        LibraryNotFound: there is no such file.
        TargetError: it is no description; the message names the key.
    """
    tried = f"read the target {path}"

    def fail(happened: str, hint: str) -> NoReturn:
        raise TargetError(tried, happened, hint=hint)

    try:
        with open(path, "rb") as file:
            raw = file.read(_LARGEST + 1)
    except FileNotFoundError as error:
        raise LibraryNotFound(
            tried, "there is no such file", hint="see what is known: libferry target list"
        ) from error
    except OSError as error:
        fail((error.strerror or str(error)).lower(), "give a file that you may read")
    if len(raw) > _LARGEST:
        fail(f"it has more than {_LARGEST} bytes", "describe it without --exports")
    try:
        table = tomllib.loads(raw.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        fail(f"it is not TOML: {error}", "see libferry target describe for one that is")
    return _target(tables.check("", table, _KEYS, fail), path.stem, fail)


def _target(table: Mapping[str, Any], stem: str, fail: Fail) -> Target:
    for key in _MUST:
        if key not in table:
            fail(f"{key} is missing", f"it must have: {', '.join(_MUST)}")
    for key, allowed in _CHOICES.items():
        if key in table and table[key] not in allowed:
            fail(f"{key} is {table[key]!r}", f"one of: {', '.join(allowed)}")
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9}){0,5}", table["version"]):
        fail(f"version is {table['version']!r}", 'numbers with dots, such as "2.28"')
    if table.get("bits", 64) not in (32, 64):
        fail(f"bits is {table['bits']}", "32 or 64")
    page_size = table.get("page_size", 4096)
    if page_size < 1 or page_size & (page_size - 1):
        fail(f"page_size is {page_size}", "bytes, a power of two: 4096, 16384 or 65536")
    known = _interpreter(table)
    if "bits" not in table and known is None:
        fail("bits is missing", f"nothing is known of the CPU {table['cpu']!r} with this loader")
    default_paths = tuple(_texts("default_paths", table.get("default_paths", []), fail))
    return Target(
        name=table.get("name", stem),
        title=table.get("title", table.get("name", stem)),
        os=table["os"],
        cpu=table["cpu"],
        bits=table.get("bits") or (known.bits if known else 64),
        endian=table.get("endian") or (known.endian if known else "little"),
        loader=table["loader"],
        version=tuple(map(int, table["version"].split("."))),
        interpreter=table.get("interpreter", known.path if known else None),
        isa=frozenset(_texts("isa", table.get("isa", []), fail)),
        abi=table.get("abi", known.abi if known else ""),
        page_size=page_size,
        default_paths=default_paths,
        lib=table.get("lib", default_paths[0].lstrip("/") if default_paths else "lib"),
        platform=table.get("platform", known.platform if known else ""),
        given={name: _given(name, one, fail) for name, one in table.get("given", {}).items()},
        facts=table.get("facts", {}),
        sources=tables.check(
            "sources", table.get("sources", {}), dict.fromkeys(table.get("sources", {}), str), fail
        ),
    )


def _interpreter(table: Mapping[str, Any]) -> Interpreter | None:
    """The one row that fits; the interpreter, or else the abi, says which of several."""
    for one in INTERPRETERS:
        if (one.cpu, one.loader) != (table["cpu"], table["loader"]):
            continue
        if one.abi == table.get("abi", one.abi) and one.path == table.get("interpreter", one.path):
            return one
    return next(
        (one for one in INTERPRETERS if (one.cpu, one.loader) == (table["cpu"], table["loader"])),
        None,
    )


def _given(name: str, table: object, fail: Fail) -> Given:
    key = f"given.{json.dumps(name)}"
    checked = tables.check(key, table, _GIVEN_KEYS, fail)
    if "path" not in checked:
        fail(f"{key}.path is missing", "say where the library lies there")
    lists = {
        which: frozenset(_texts(f"{key}.{which}", checked[which], fail))
        for which in ("versions", "exports")
        if which in checked
    }
    return Given(
        name.rpartition("/")[2], checked["path"], **lists, source=checked.get("source", "")
    )


def _texts(key: str, values: Iterable[object], fail: Fail) -> Iterable[str]:
    for value in values:
        if not isinstance(value, str):
            fail(f"{key} has {value!r} in it", "a list of text")
        yield value


def dump(target: Target) -> str:
    """The file that ``load`` makes the same target of."""
    lines = [
        f"{key} = {_toml(value)}"
        for key, value in {
            "name": target.name,
            "title": target.title,
            "os": target.os,
            "cpu": target.cpu,
            "bits": target.bits,
            "endian": target.endian,
            "loader": target.loader,
            "version": ".".join(map(str, target.version)),
            "interpreter": target.interpreter,
            "isa": sorted(target.isa),
            "abi": target.abi,
            "page_size": target.page_size,
            "default_paths": list(target.default_paths),
            "lib": target.lib,
            "platform": target.platform,
            "facts": dict(target.facts),
            "sources": dict(target.sources),
        }.items()
        if value is not None
    ]
    for name, given in sorted(target.given.items()):
        lines += ["", f"[given.{_toml(name)}]", f"path = {_toml(given.path)}"]
        for key, names in (("versions", given.versions), ("exports", given.exports)):
            if names is not None:
                lines.append(f"{key} = {_toml(sorted(names))}")
        if given.source:
            lines.append(f"source = {_toml(given.source)}")
    return "\n".join([*lines, ""])


def _toml(value: object) -> str:
    """A value in TOML; its strings with escapes are JSON's, but for U+007F."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_toml(str(key))} = {_toml(one)}" for key, one in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, (list, tuple, set, frozenset)):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool) or not isinstance(value, str):
        return json.dumps(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
