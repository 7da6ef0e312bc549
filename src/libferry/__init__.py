"""libferry: call native libraries across the boundaries that stop them.

The daily handful is here; everything else is imported from its room
(``libferry.binary``, ``libferry.abi``, ``libferry.contract``, ``libferry.runtime``,
``libferry.sandbox``, ``libferry.guard``, ``libferry.unwind``, ``libferry.audit``).

To import all rooms takes longer than most questions about a file take to answer. So a
room is imported when the first of its names is asked for (PEP 562); the errors, which
any room may raise, are there at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from libferry.errors import (
    ArenaFull,
    ArgumentTypeError,
    ArgumentValueError,
    BadBinary,
    CallFailed,
    ChannelError,
    DeadlineExceeded,
    DeclarationError,
    FerryError,
    LibraryClosed,
    LibraryCrashed,
    LibraryNotFound,
    LoadError,
    NamespacesFull,
    NestedTooDeep,
    NoDump,
    NoRunner,
    PoolFull,
    RowErrors,
    SandboxUnavailable,
    SandboxViolation,
    SettingsError,
    SymbolNotFound,
    TooManyCallbacks,
    UnexpectedCode,
    UnsupportedDeclaration,
)

if TYPE_CHECKING:
    from libferry.audit.asking import check
    from libferry.binary import read as inspect
    from libferry.guard import LoadedFile, snapshot
    from libferry.runtime import (
        Array,
        Buffer,
        Callback,
        Library,
        Line,
        Out,
        Pointer,
        Pool,
        Struct,
        load,
    )
    from libferry.runtime.pool import pool

__version__ = "0.1.0"

__all__ = [
    "ArenaFull",
    "ArgumentTypeError",
    "ArgumentValueError",
    "Array",
    "BadBinary",
    "Buffer",
    "CallFailed",
    "Callback",
    "ChannelError",
    "DeadlineExceeded",
    "DeclarationError",
    "FerryError",
    "Library",
    "LibraryClosed",
    "LibraryCrashed",
    "LibraryNotFound",
    "Line",
    "LoadError",
    "LoadedFile",
    "NamespacesFull",
    "NestedTooDeep",
    "NoDump",
    "NoRunner",
    "Out",
    "Pointer",
    "Pool",
    "PoolFull",
    "RowErrors",
    "SandboxUnavailable",
    "SandboxViolation",
    "SettingsError",
    "Struct",
    "SymbolNotFound",
    "TooManyCallbacks",
    "UnexpectedCode",
    "UnsupportedDeclaration",
    "check",
    "inspect",
    "load",
    "pool",
    "snapshot",
]

# Which room has a name that is imported late, and what it is called there.
_FROM_ROOMS = {
    "check": ("audit.asking", "check"),
    "inspect": ("binary", "read"),
    **{name: ("guard", name) for name in ("LoadedFile", "snapshot")},
    **{
        name: ("runtime", name)
        for name in (
            *("Array", "Buffer", "Callback", "Library", "Line", "Out", "Pointer", "Pool"),
            *("Struct", "load", "pool"),
        )
    },
}
_ROOMS = frozenset(
    {
        *("abi", "audit", "binary", "build", "cli", "contract", "edit", "guard"),
        *("loader", "runtime", "sandbox", "target", "unwind"),
    }
)


def __getattr__(name: str) -> object:
    if name in _FROM_ROOMS:
        room, there = _FROM_ROOMS[name]
        value = getattr(import_module(f"{__name__}.{room}"), there)
        globals()[name] = value  # asked for once
        return value
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_FROM_ROOMS, *_ROOMS})
