"""Change a name in the dynamic string table where it is.

String tables share: a linker stores ``foo.so.1`` once for itself and for the end of
``libfoo.so.1``, and a needed library's name once for ``DT_NEEDED`` and for its versions.
Whoever overwrites a name changes it for all of them. So all offsets into the table are
collected first, and a name is overwritten only if nobody else's name has a byte of it.
"""

from __future__ import annotations

from libferry.edit.elf.file import NAMED_TAGS, ElfFile


def offsets(file: ElfFile) -> list[tuple[object, int]]:
    """(who, offset) of all names that the loader reads from the table."""
    found: list[tuple[object, int]] = [
        (entry.at, entry.value) for entry in file.dynamic() if entry.tag in NAMED_TAGS
    ]
    found += [(at, row[0]) for at, row in file.symbols() if row[0]]
    found += file.version_names()
    return found


def is_ours_alone(file: ElfFile, at: int, allowed: set[object]) -> bool:
    """Whether nobody but those allowed reads a byte of the string at ``at``."""
    size = len(file.raw_string(at))
    for who, start in offsets(file):
        if who in allowed and start == at:
            continue
        if start <= at + size and start + len(file.raw_string(start)) >= at:
            return False
    return True


def overwrite(file: ElfFile, at: int, new: str, allowed: set[object]) -> bool:
    """Put a name in the place of another, if it fits and nobody else has a part in it.

    Args:
        at: the old name's offset in the string table.
        new: the new name.
        allowed: those that shall read the new name: the places of their offsets.
    """
    raw = new.encode("utf-8", "surrogateescape")
    size = len(file.raw_string(at))
    if len(raw) > size or not is_ours_alone(file, at, allowed):
        return False
    file.put(file.strings_at + at, raw.ljust(size, b"\0"))
    return True


def blank(file: ElfFile, at: int) -> None:
    """Overwrite a name that nobody reads any more: it may be a path of the build machine."""
    if at and is_ours_alone(file, at, set()):
        file.put(file.strings_at + at, bytes(len(file.raw_string(at))))
