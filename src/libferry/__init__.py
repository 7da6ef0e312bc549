"""libferry: call native libraries across the boundaries that stop them.

The daily handful is here; everything else is imported from its room
(``libferry.binary``, ``libferry.abi``, ``libferry.contract``, ``libferry.runtime``).
"""

from libferry.binary import read as inspect
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
    NoRunner,
    PoolFull,
    RowErrors,
    SandboxUnavailable,
    SandboxViolation,
    SymbolNotFound,
    TooManyCallbacks,
    UnexpectedCode,
    UnsupportedDeclaration,
)
from libferry.runtime import Array, Buffer, Callback, Library, Line, Out, Pointer, Struct, load

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
    "NamespacesFull",
    "NestedTooDeep",
    "NoRunner",
    "Out",
    "Pointer",
    "PoolFull",
    "RowErrors",
    "SandboxUnavailable",
    "SandboxViolation",
    "Struct",
    "SymbolNotFound",
    "TooManyCallbacks",
    "UnexpectedCode",
    "UnsupportedDeclaration",
    "inspect",
    "load",
]
