"""The names that a PE file wants from others, and from whom.

For each library there is a descriptor with two arrays of the same numbers: the lookup
table, which stays as it is, and the address table, over which the loader writes what it
has found. Borland's linker leaves the first out; then the names are in the second. The
highest bit of a number says whether it is an ordinal or the RVA of a name, with a "hint",
a guess at where the name is in the other library's table, in front.

What is loaded late has descriptors and tables of its own. The loader does not look at
them: code that the linker put into the library does, when the function is first called.
Visual C++ 6 wrote addresses where everybody since writes RVAs, also inside the tables.

Specification: Microsoft, "PE Format", "The .idata Section" and "Delay-Load Import Tables".
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from libferry.binary.model import Dependency, Import
from libferry.binary.pe.image import DIRECTORY_DELAY_IMPORT, DIRECTORY_IMPORT, Image
from libferry.binary.window import Window

# "Import Directory Table": RVA of the lookup table, of the name, of the address table
IMPORT = Struct("<I8xII")
# "Delay-Load Directory Table": attributes; RVAs of the name, and of the name table
DELAY_IMPORT = Struct("<II8xI12x")
# Not in the specification: 0 in the attributes of Visual C++ 6
DELAY_IMPORT_HAS_RVAS = 1

# "Import Lookup Table": a number's format, and its bit for an ordinal
THUNKS = {32: (Struct("<I"), 1 << 31), 64: (Struct("<Q"), 1 << 63)}
THUNKS_AT_ONCE = 64
ORDINAL_BITS = 0xFFFF
HINT_SIZE = 2
IMPORTS_AT_MOST = 1 << 20

WHAT = "the import table"
WHAT_DELAYED = "the delay-load table"


def dependencies(image: Image) -> list[Dependency]:
    """Give the libraries that are imported, then those loaded late; each name once."""
    found: dict[str, Dependency] = {}
    for _, name, _ in _needed(image):
        text = image.string(name, "the name of an imported DLL")
        found.setdefault(text, Dependency(text))
    for _, name, _ in _delayed(image):
        text = image.string(name, "the name of a delay-loaded DLL")
        found.setdefault(text, Dependency(text, "delay"))
    return list(found.values())


def imports(window: Window) -> tuple[Import, ...]:
    """List what is imported, library by library; what is looked for late comes last."""
    image = Image(window)
    found: list[Import] = []
    for table, name, _ in _needed(image):
        library = image.string(name, "the name of an imported DLL")
        _read_thunks(image, found, library, table, 0, delay=False)
    for table, name, base in _delayed(image):
        library = image.string(name, "the name of a delay-loaded DLL")
        _read_thunks(image, found, library, table, base, delay=True)
    return tuple(found)


def _needed(image: Image) -> Iterator[tuple[int, int, int]]:
    """RVAs of the table and the name, and what has to be taken from the table's numbers."""
    for lookup, name, addresses in _rows(image, DIRECTORY_IMPORT, IMPORT, WHAT):
        if not name or not addresses:
            return
        yield lookup or addresses, name, 0


def _delayed(image: Image) -> Iterator[tuple[int, int, int]]:
    for attributes, name, table in _rows(image, DIRECTORY_DELAY_IMPORT, DELAY_IMPORT, WHAT_DELAYED):
        if not name:
            return
        base = 0 if attributes & DELAY_IMPORT_HAS_RVAS else image.base
        yield table - base, name - base, base


def _rows(image: Image, number: int, record: Struct, what: str) -> Iterator[tuple[int, ...]]:
    """Read the rows of a table; loaders go by its empty last row, not by its size."""
    where = image.directory(number)
    if where is None:
        return
    table = image.at(where[0], what)
    for offset in range(0, table.size, record.size):
        # Behind a section's bytes in the file, memory is filled with zeros.
        row = table.bytes(offset, min(record.size, table.size - offset), what)
        yield record.unpack(row.ljust(record.size, b"\0"))


def _read_thunks(
    image: Image, found: list[Import], library: str, rva: int, base: int, *, delay: bool
) -> None:
    what = f"the names imported from {library}"
    thunk, by_ordinal = THUNKS[image.bits]
    table = image.at(rva, what)
    at = 0
    while True:
        size = min(THUNKS_AT_ONCE * thunk.size, (table.size - at) // thunk.size * thunk.size)
        if size <= 0:
            return  # behind a section's bytes in the file there are zeros
        image.window.charge(size)  # many libraries may have one and the same table
        for (number,) in thunk.iter_unpack(table.bytes(at, size, what)):
            if not number:
                return
            if number & by_ordinal:
                ordinal = number & ORDINAL_BITS
                name = f"#{ordinal}"
                found.append(Import(name, "unknown", library, None, False, ordinal, delay))
            else:
                name = image.at(number - base, what).string(HINT_SIZE, what)
                found.append(Import(name, "unknown", library, None, False, None, delay))
        if len(found) > IMPORTS_AT_MOST:
            raise image.window.bad(f"it imports more than {IMPORTS_AT_MOST} names")
        at += size
