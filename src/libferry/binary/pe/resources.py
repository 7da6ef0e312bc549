"""The manifest in a PE file.

Resources are a tree of three levels: kind, name, language. The loader looks for one kind
itself: the manifest, an XML document that says from which side-by-side assemblies
libraries come. In a program it has the name 1, in a library 2; a manifest of another
name is the program's own business.

Specification: Microsoft, "PE Format", "The .rsrc Section".
"""

from __future__ import annotations

from struct import Struct

from libferry.binary.pe.image import DIRECTORY_RESOURCE, IMAGE_FILE_DLL, Image
from libferry.binary.window import Window

DIRECTORY_TABLE = Struct("<12xHH")  # entries with a name, entries with a number
ENTRY = Struct("<II")  # number, or offset of the name; offset of what it is
DATA = Struct("<II8x")  # RVA, size
NOT_A_LEAF = 1 << 31
ENTRIES_AT_MOST = 4096

# winuser.h: RT_MANIFEST, CREATEPROCESS_ and ISOLATIONAWARE_MANIFEST_RESOURCE_ID
RT_MANIFEST = 24
MANIFEST_OF_PROGRAM, MANIFEST_OF_LIBRARY = 1, 2
MANIFEST_AT_MOST = 1 << 20


def manifest(image: Image) -> bytes | None:
    """Give the XML of the manifest that the loader looks at, or None."""
    where = image.directory(DIRECTORY_RESOURCE)
    if where is None:
        return None
    tree = image.at(where[0], "the resources")
    name = MANIFEST_OF_LIBRARY if image.characteristics & IMAGE_FILE_DLL else MANIFEST_OF_PROGRAM
    at = 0
    for number in (RT_MANIFEST, name, None):
        found = _entry(tree, at, number)
        if found is None:
            return None
        at = found & ~NOT_A_LEAF
        if bool(found & NOT_A_LEAF) == (number is None):
            return None  # the tree is deeper or less deep than it has to be
    rva, size = tree.unpack(DATA, at, "the place of the manifest")
    what = "the manifest"
    if size > MANIFEST_AT_MOST:
        raise image.window.bad(f"{what} has {size} bytes, more than any real one")
    return image.at(rva, what).bytes(0, size, what)


def _entry(tree: Window, at: int, number: int | None) -> int | None:
    """Find the entry of a table that has this number; the first of all, if that is None."""
    what = "a table of resources"
    named, numbered = tree.unpack(DIRECTORY_TABLE, at, what)
    if named + numbered > ENTRIES_AT_MOST:
        raise tree.bad(f"{what} has {named + numbered} entries, more than any real one", at=at)
    size = (named + numbered) * ENTRY.size
    raw = tree.bytes(at + DIRECTORY_TABLE.size, size, what)
    for key, place in ENTRY.iter_unpack(raw):
        if number is None or key == number:
            return int(place)
    return None
