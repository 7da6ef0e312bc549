"""The newest version that a file needs of each library, and which symbols make it so.

glibc, libstdc++ and libgcc name the releases in which a symbol came: ``GLIBC_2.34``,
``GLIBCXX_3.4.30``, ``CXXABI_1.3.13``, ``GCC_4.2.0``. The newest of these that a file asks for
is the oldest release that it runs on, and a handful of symbols usually decides it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from libferry.binary.model import Binary

# "GLIBC_2.34", "GLIBCXX_3.4.30"; not GLIBC_PRIVATE, and not what other libraries call theirs
_NODE = re.compile(r"(GLIBC|GLIBCXX|CXXABI|GCC|GFORTRAN|GOMP|OPENSSL)_(\d+(?:\.\d+)*)")

SHOWN_SYMBOLS = 3


@dataclass(frozen=True)
class Floor:
    """What a file needs at least of one library.

    Attributes:
        family: ``GLIBC``, ``GLIBCXX``, …
        number: the newest version of it that is needed.
        library: whose it is.
        symbols: the imports that need just this one.
    """

    family: str
    number: tuple[int, ...]
    library: str
    symbols: tuple[str, ...]

    @property
    def version(self) -> str:
        """The version's name in the file."""
        return f"{self.family}_{'.'.join(map(str, self.number))}"

    @property
    def because(self) -> str:
        """The symbols in words; empty if nothing but the version is asked for."""
        shown = ", ".join(self.symbols[:SHOWN_SYMBOLS])
        more = len(self.symbols) - SHOWN_SYMBOLS
        return f"{shown} and {more} more" if more > 0 else shown

    def as_dict(self) -> dict[str, object]:
        """The same as plain data."""
        return {"version": self.version, "library": self.library, "symbols": list(self.symbols)}


def parse(version: str) -> tuple[str, tuple[int, ...]] | None:
    """Family and number of a version's name, if it is of one that counts releases."""
    match = _NODE.fullmatch(version)
    return (match[1], tuple(map(int, match[2].split(".")))) if match else None


def floors(binary: Binary) -> list[Floor]:
    """The newest version of each family that is needed, in the file's order.

    Raises:
        BadBinary: the tables of versions or symbols are damaged.
    """
    newest: dict[str, tuple[tuple[int, ...], str]] = {}
    for need in binary.versions_needed:
        parsed = parse(need.version)
        if parsed and not need.weak:
            family, number = parsed
            if family not in newest or number > newest[family][0]:
                newest[family] = number, need.library
    return [
        Floor(family, number, library, symbols_of(binary, _name(family, number)))
        for family, (number, library) in newest.items()
    ]


def symbols_of(binary: Binary, version: str) -> tuple[str, ...]:
    """The imports that ask for a version, by name."""
    return tuple(sorted({one.name for one in binary.imports if one.version == version}))


def _name(family: str, number: tuple[int, ...]) -> str:
    return f"{family}_{'.'.join(map(str, number))}"
