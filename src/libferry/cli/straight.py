"""A plain command line, understood without the option parser.

To import typer and to build its parser takes longer than ``libferry check FILE`` needs for
its answer. Yet it does nothing for a command line that is in order but sort its words: the
rest is help and what to say of mistakes. So the words are sorted here, by the same
declarations that typer reads, the annotations of the command; and whatever is not plain, be
it ``--help``, a mistake, or a way of writing that is right but rare (``-tT``, ``--``), is left
to typer, as is every other command.

The annotations are text until somebody evaluates them, and stand-ins take the places of
``typer`` and ``Annotated`` in them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

NAMES = ("check", "explain", "inspect")

# the types that are known: (what one word becomes, or None if there is none; a list of them?)
_KINDS: Mapping[Any, tuple[Callable[[str], object] | None, bool]] = {
    bool: (None, False),
    bool | None: (None, False),
    str: (str, False),
    str | None: (str, False),
    Path | None: (Path, False),
    list[str]: (str, True),
    list[str] | None: (str, True),
}


class _Said(NamedTuple):
    """What ``typer.Argument(...)`` or ``typer.Option(...)`` is told."""

    is_option: bool
    names: tuple[str, ...]


class _Parameter(NamedTuple):
    name: str
    kind: Any
    said: _Said


class _Annotated:
    def __class_getitem__(cls, kind_and_said: tuple[Any, _Said]) -> tuple[Any, _Said]:
        return kind_and_said


_STAND_INS = {
    "Annotated": _Annotated,
    "typer": SimpleNamespace(
        Argument=lambda *names, **_: _Said(False, names),
        Option=lambda *names, **_: _Said(True, names),
    ),
}


def command(words: Sequence[str]) -> Callable[[], int | None] | None:
    """What is to be run; None if that is for typer to say."""
    if not words or words[0] not in NAMES:
        return None
    given = values(words[0], words[1:])
    return None if given is None else partial(_module(words[0]).command, **given)


def values(name: str, words: Sequence[str]) -> dict[str, Any] | None:
    """What the parameters of a command are given; None if it is for typer to say."""
    parameters = _parameters(name)
    options = {option: (one, yes) for one in parameters for option, yes in _options(one)}
    given: dict[str, Any] = {}
    loose: list[str] = []
    left = iter(words)
    for word in left:
        if not word.startswith("-"):
            loose.append(word)
            continue
        option, equals, value = word.partition("=")
        if option not in options:
            return None
        one, yes = options[option]
        make, many = _KINDS[one.kind]
        if make is None:
            if equals or one.name in given:
                return None
            given[one.name] = yes
            continue
        if not equals:
            value = next(left, "")
        if not value or value.startswith("-") or (equals and not option.startswith("--")):
            return None
        if many:
            given.setdefault(one.name, []).append(make(value))
        elif one.name in given:
            return None
        else:
            given[one.name] = make(value)
    return _with_arguments(given, loose, parameters)


def _with_arguments(
    given: dict[str, Any], loose: list[str], parameters: Sequence[_Parameter]
) -> dict[str, Any] | None:
    (one,) = (parameter for parameter in parameters if not parameter.said.is_option)
    make, many = _KINDS[one.kind]
    assert make is not None
    if not all(loose) or (len(loose) > 1 and not many):
        return None
    if not loose:
        return given if one.kind == list[str] | None else None
    given[one.name] = list(map(make, loose)) if many else make(loose[0])
    return given


def _module(name: str) -> Any:
    return import_module(f"libferry.cli.{name}")


def _parameters(name: str) -> list[_Parameter]:
    module = _module(name)
    names = {**vars(module), **_STAND_INS}
    return [
        _Parameter(parameter, *eval(annotation, names))
        for parameter, annotation in module.command.__annotations__.items()
        if parameter != "return"
    ]


def _options(one: _Parameter) -> list[tuple[str, bool]]:
    """The words for a parameter, and for a flag whether they mean yes."""
    if not one.said.is_option:
        return []
    written = one.said.names or ("--" + one.name.replace("_", "-"),)
    found = []
    for name in written:
        yes, _, no = name.partition("/")
        found += [(yes, True), *([(no, False)] if no else [])]
    return found
