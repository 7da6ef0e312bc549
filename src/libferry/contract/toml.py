"""A contract beside a header: what FERRY_* says, for headers that one cannot change.

The file is TOML. It names the header, or holds the declarations itself, and says of
each function what its pointers are for; ``docs/contract.md`` describes it. Every key is
checked: a misspelled one would otherwise promise nothing and say so to nobody.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from libferry.abi import ABIS
from libferry.contract.attributes import Meaning
from libferry.contract.declarations import declare
from libferry.contract.header import Header, Lazy, Signature
from libferry.contract.meaning import Checker
from libferry.contract.preprocess import read_header
from libferry.contract.reader import Reader
from libferry.contract.tokens import Tokens, words_of
from libferry.errors import DeclarationError
from libferry.sandbox import Profile, profile_of
from libferry.tables import Kinds, check, near

V = TypeVar("V")

_LIBRARY: Kinds = {
    "header": str,
    "declarations": str,
    "include": list,
    "define": dict,
    "thread-safe": bool,
}
_FUNCTION: Kinds = {"error": str, "owned": str, "string": bool, "parameters": dict}
_PARAMETER: Kinds = {"direction": str, "length": (str, int), "string": bool, "owned": str}


@dataclass(frozen=True)
class Contract:
    """A contract file as read; ``header`` gives what it makes of a header.

    Attributes:
        path: the file.
        source: the header's path; None if the file names none.
        declarations: C declarations that the file holds itself.
        include, define: as ``read_header`` takes them.
        thread_safe: None if the file does not say.
        functions: what it says of each function, and of each parameter.
        sandbox: what the library needs beside a sandbox's profile; None if it says nothing.
    """

    path: Path
    source: Path | None = None
    declarations: str = ""
    include: tuple[Path, ...] = ()
    define: Mapping[str, str | int | None] = field(default_factory=dict)
    thread_safe: bool | None = None
    functions: Mapping[str, _Promise] = field(default_factory=dict)
    sandbox: Profile | None = None

    def header(self, abi_name: str, given: Header | None = None) -> Header:
        """What the library promises on one ABI.

        Args:
            abi_name: a key of ``libferry.abi.ABIS``.
            given: the header, if the caller has it; the contract then need not name one.

        Raises:
            DeclarationError: the header cannot be read, or the contract promises
                something of a function or parameter that is not declared.
        """
        if given is None and self.source is not None:
            given = read_header(
                self.source, abi_name, include=self.include, define=self.define or None
            )
        parts = [given] if given is not None else []
        if self.declarations:
            parts.append(_declared(self, abi_name, given))
        if not parts:
            _fail(self.path, "it has no declarations", "add header = 'file.h' to [library]")
        header = parts[0] if len(parts) == 1 else _joined(parts[1], parts[0])
        reader = Reader(ABIS[abi_name], Tokens(), header, strict=True)
        for name in self.functions:
            if name not in header.functions:
                _fail(
                    self.path,
                    f"functions.{name}: no such function is declared",
                    near(name, header.functions, "declare it in the header, or in declarations"),
                )

        def promised(name: str) -> Signature | None:
            signature = header.functions.get(name)
            promise = self.functions.get(name)
            if signature is None or promise is None:
                return signature
            return _kept(promise, signature, reader, self.path)

        functions: Mapping[str, Signature] = Lazy(
            lambda: header.functions.keys(), promised, lambda name: name in header.functions
        )
        for name in self.functions:
            functions[name]  # what it promises is checked now
        safe = header.thread_safe if self.thread_safe is None else self.thread_safe
        return replace(header, functions=functions, thread_safe=safe)


@dataclass(frozen=True)
class _Promise:
    """What a contract says of one function."""

    meanings: tuple[Meaning, ...]
    parameters: Mapping[str, tuple[Meaning, ...]]


def read_contract(path: str | os.PathLike[str]) -> Contract:
    """Read a contract file.

    Raises:
        DeclarationError: it cannot be read, is not TOML, or has a key that means nothing.
    """
    file = Path(path)
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # a TOML error is a ValueError
        happened = getattr(error, "strerror", None) or str(error) or "nested too deeply"
        _fail(file, happened, "give the path of a contract in TOML; docs/contract.md has one")
    _check(file, "", data, {"library": dict, "functions": dict, "sandbox": dict})
    library = data.get("library", {})
    _check(file, "library", library, _LIBRARY)
    folder = file.parent
    for value in library.get("include", []):
        if not isinstance(value, str):
            _fail(file, f"library.include: {value!r} is no folder", "give a list of folders")
    for name, value in library.get("define", {}).items():
        if isinstance(value, bool) or not isinstance(value, str | int):
            _fail(file, f"library.define.{name}: {value!r} is no macro", "give a text or a number")
    functions = {}
    for name, table in data.get("functions", {}).items():
        functions[name] = _promise(file, name, table)
    return Contract(
        file,
        folder / library["header"] if "header" in library else None,
        library.get("declarations", ""),
        tuple(folder / value for value in library.get("include", [])),
        library.get("define", {}),
        library.get("thread-safe"),
        functions,
        profile_of(data["sandbox"], file.name, folder) if "sandbox" in data else None,
    )


def _promise(file: Path, name: str, table: object) -> _Promise:
    key = f"functions.{name}"
    table = _check(file, key, table, _FUNCTION)
    parameters = {}
    for parameter, values in table.get("parameters", {}).items():
        where = f"{key}.parameters.{parameter}"
        parameters[parameter] = _parameter(file, where, values)
    meanings = []
    for kind in ("error", "owned"):
        if kind in table:
            place = f"{file.name}: {key}.{kind}"
            meanings.append(Meaning(kind, tuple(words_of(table[kind])), place))
    if table.get("string"):
        meanings.append(Meaning("string", (), f"{file.name}: {key}.string"))
    return _Promise(tuple(meanings), parameters)


def _parameter(file: Path, key: str, table: object) -> tuple[Meaning, ...]:
    table = _check(file, key, table, _PARAMETER)
    meanings = []
    direction = table.get("direction")
    if direction is not None:
        if direction not in ("in", "out", "inout"):
            _fail(file, f"{key}.direction is {direction!r}", "'in', 'out' or 'inout'")
        length = tuple(words_of(str(table.get("length", ""))))
        meanings.append(Meaning(direction, length, f"{file.name}: {key}"))
    elif "length" in table:
        _fail(file, f"{key} has a length and no direction", "add direction = 'in' or 'out'")
    if table.get("string"):
        meanings.append(Meaning("string", (), f"{file.name}: {key}.string"))
    if "owned" in table:
        words = tuple(words_of(table["owned"]))
        meanings.append(Meaning("owned", words, f"{file.name}: {key}.owned"))
    return tuple(meanings)


def _kept(promise: _Promise, signature: Signature, reader: Reader, file: Path) -> Signature:
    """The signature with what the contract promises of it."""
    checker = Checker(signature, reader)
    parameters = list(signature.parameters)
    positions = {p.name: i for i, p in enumerate(parameters) if p.name}
    positions |= {str(i + 1): i for i, p in enumerate(parameters) if not p.name}
    for name, meanings in promise.parameters.items():
        if name not in positions:
            _fail(
                file,
                f"functions.{signature.name}.parameters.{name}: it has no such parameter",
                near(name, positions, f"declared: {signature}"),
            )
        position = positions[name]
        parameters[position] = checker.parameter(parameters[position], meanings)
    checker.signature = replace(signature, parameters=tuple(parameters))
    return checker.function(promise.meanings)


def _declared(contract: Contract, abi_name: str, known: Header | None) -> Header:
    try:
        return declare(contract.declarations, abi_name, known if known is not None else ())
    except DeclarationError as error:
        _fail(contract.path, f"library.declarations: {error.happened}", error.hint)


def _joined(first: Header, second: Header) -> Header:
    """Two headers as one; the first comes first."""
    return Header(
        _chain(first.functions, second.functions),
        _chain(first.types, second.types),
        _chain(first.constants, second.constants),
        _chain(first.variables, second.variables),
        first.thread_safe and second.thread_safe,
    )


def _chain(first: Mapping[str, V], second: Mapping[str, V]) -> Mapping[str, V]:
    return Lazy(
        lambda: {**dict.fromkeys(second), **dict.fromkeys(first)},
        lambda name: first[name] if name in first else second.get(name),
        lambda name: name in first or name in second,
    )


def _check(file: Path, key: str, table: object, known: Kinds) -> dict[str, Any]:
    """The table, if it is one and has known keys of the right kind only."""
    checked: dict[str, Any] = check(key, table, known, partial(_fail, file))
    return checked


def _fail(file: Path, happened: str, hint: str) -> NoReturn:
    raise DeclarationError(f"read the contract {file.name}", happened, hint=hint)
