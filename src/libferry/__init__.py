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
    ChannelError,
    DeadlineExceeded,
    DeclarationError,
    FerryError,
    LibraryClosed,
    LibraryCrashed,
    LibraryNotFound,
    LoadError,
    NoRunner,
    SymbolNotFound,
    UnsupportedDeclaration,
)
from libferry.runtime import Buffer, Library, Out, Pointer, load

__version__ = "0.1.0"

__all__ = [
    "ArenaFull",
    "ArgumentTypeError",
    "ArgumentValueError",
    "BadBinary",
    "Buffer",
    "ChannelError",
    "DeadlineExceeded",
    "DeclarationError",
    "FerryError",
    "Library",
    "LibraryClosed",
    "LibraryCrashed",
    "LibraryNotFound",
    "LoadError",
    "NoRunner",
    "Out",
    "Pointer",
    "SymbolNotFound",
    "UnsupportedDeclaration",
    "inspect",
    "load",
]
