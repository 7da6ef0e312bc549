"""Search paths, needed names, soname and interpreter: in place, where there is room.

Each function does what it can and says whether that was all; what is left is for
``growing``.
"""

from __future__ import annotations

from dataclasses import replace

from libferry.binary.elf.layout import (
    DT_NEEDED,
    DT_RPATH,
    DT_RUNPATH,
    DT_SONAME,
    EM_MIPS,
    PT_INTERP,
)
from libferry.edit.changes import Changes
from libferry.edit.elf import strings, versions
from libferry.edit.elf.file import Dynamic, ElfFile

_SEARCH = (DT_RPATH, DT_RUNPATH)


def remove_search_path(file: ElfFile) -> bool:
    """Leave both kinds of search path out."""
    found = [entry for entry in file.dynamic() if entry.tag in _SEARCH]
    if found and file.machine == EM_MIPS:
        return False  # DT_MIPS_RLD_MAP_REL counts from its own place, so entries cannot move
    for entry in reversed(found):
        _remove(file, entry)
    return True


def set_search_path(file: ElfFile, path: str, tag_name: str) -> bool:
    """Put another search path in the place of the one that is there."""
    tag = DT_RPATH if tag_name == "rpath" else DT_RUNPATH
    found = [entry for entry in file.dynamic() if entry.tag in _SEARCH]
    for entry in found:
        if not strings.overwrite(file, entry.value, path, {entry.at}):
            continue
        file.set_entry(entry, tag, entry.value)
        for other in reversed(found):
            if other is not entry:
                _remove(file, other)
        return True
    return False


def remove_needed(file: ElfFile, name: str) -> bool:
    """Leave a needed library out, and what is asked of its versions.

    glibc's loader ends the process at a version need of a library that is not loaded (an
    assertion in elf/dl-version.c), so the one cannot go without the other.
    """
    if file.machine == EM_MIPS:
        return False
    for need in file.needed_versions():
        if need.library == name:
            versions.drop(file, name, need.version)
    for entry in reversed(_needed(file, name)):
        _remove(file, entry)
    return True


def replace_needed(file: ElfFile, old: str, new: str) -> bool:
    """Put another library's name in the place of one, also where its versions are asked."""
    readers = [(entry.at, entry.value) for entry in _needed(file, old)]
    readers += [
        (group + 4, row[2]) for group, row in file.version_groups() if file.string(row[2]) == old
    ]
    return _overwrite_all(file, readers, new)


def set_soname(file: ElfFile, name: str) -> bool:
    """Put another name in the place of the library's own.

    Its base version has the same name, which nobody compares with anything.
    """
    found = [entry for entry in file.dynamic() if entry.tag == DT_SONAME]
    if not found:
        return False
    entry = found[-1]
    sharing = {place for place, offset in file.version_names() if offset == entry.value}
    return strings.overwrite(file, entry.value, name, {entry.at, *sharing})


def set_interpreter(file: ElfFile, path: str) -> bool:
    """Put another loader's path in the place of the old one."""
    for segment in file.segments:
        if segment.type == PT_INTERP:
            raw = path.encode("utf-8", "surrogateescape")
            if len(raw) >= segment.file_size:
                return False
            file.put(segment.offset, raw.ljust(segment.file_size, b"\0"))
            return True
    return False


def apply(file: ElfFile, changes: Changes) -> Changes:
    """Do what has room; give what is left."""
    left: dict[str, object] = {}
    if changes.remove_search_path and remove_search_path(file):
        left["remove_search_path"] = False
    if changes.search_path is not None and set_search_path(
        file, changes.search_path, changes.search_tag
    ):
        left["search_path"] = None
    if changes.soname is not None and set_soname(file, changes.soname):
        left["soname"] = None
    if changes.interpreter is not None and set_interpreter(file, changes.interpreter):
        left["interpreter"] = None
    left["replace_needed"] = tuple(
        pair for pair in changes.replace_needed if not replace_needed(file, *pair)
    )
    left["remove_needed"] = tuple(
        name for name in changes.remove_needed if not remove_needed(file, name)
    )
    return replace(changes, **left)  # type: ignore[arg-type]


def _needed(file: ElfFile, name: str) -> list[Dynamic]:
    return [
        entry
        for entry in file.dynamic()
        if entry.tag == DT_NEEDED and file.string(entry.value) == name
    ]


def _remove(file: ElfFile, entry: Dynamic) -> None:
    file.remove_entry(entry)
    strings.blank(file, entry.value)


def _overwrite_all(file: ElfFile, readers: list[tuple[int, int]], new: str) -> bool:
    """All or nothing: half of a name's users with the new one would not load."""
    raw = new.encode("utf-8", "surrogateescape")
    allowed: set[object] = {place for place, _ in readers}
    places = {offset for _, offset in readers}
    fit = all(
        len(raw) <= len(file.raw_string(at)) and strings.is_ours_alone(file, at, allowed)
        for at in places
    )
    return bool(places) and fit and all(strings.overwrite(file, at, new, allowed) for at in places)
