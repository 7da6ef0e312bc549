"""What ``load`` can be asked for: the kind of each argument, before anything is done.

Whether arguments go together is said where they meet: in ``loading``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from types import NoneType

from libferry.contract import Header
from libferry.errors import ArgumentTypeError
from libferry.sandbox import Profile


def _several(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes)


def _kinds(*kinds: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, kinds)


_PATHS = (str, os.PathLike, NoneType)

# each argument that is not checked by whoever uses it: what it may be, and how to say that
_KINDS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "path": (_kinds(str, os.PathLike), "give a path, or a bare name such as 'libz.so.1'"),
    "header": (_kinds(*_PATHS, Header), "give C declarations as text, or the path of a file"),
    "contract": (_kinds(*_PATHS), "give the path of a TOML file"),
    "sysroot": (_kinds(*_PATHS), "give the path of a folder with the target's C library"),
    "profile": (_kinds(*_PATHS, Profile), "give a name such as 'pure', or a TOML file's path"),
    "include": (_several, "give folders, in a list"),
    "define": (_kinds(Mapping, NoneType), "give macros by name: {'NDEBUG': None, 'SIZE': 8}"),
    "require": (
        lambda value: isinstance(value, str) or _several(value),
        "give 'all', or the names of layers in a list",
    ),
    "initialise": (
        lambda value: value is None or callable(value),
        "give a callable that takes the library: lambda lib: lib.setup(7)",
    ),
}


def check_kinds(tried: str, **arguments: object) -> None:
    """Refuse what is of no use for its argument.

    Raises:
        ArgumentTypeError: one is of another kind.
    """
    for name, value in arguments.items():
        fits, hint = _KINDS[name]
        if not fits(value):
            raise ArgumentTypeError(tried, f"{name} is {value!r:.80}", hint=hint)
