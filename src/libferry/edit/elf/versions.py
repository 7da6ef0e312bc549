"""Ask for a symbol version no longer, or only if it is there.

A version need is two things: a ``vernaux`` in the list of what the library must have, and
its number beside each symbol that is wanted in that version. ``VER_FLG_WEAK`` in the first
lets the loader go on without it. To drop it, the entry is taken out of its list, and the
symbols get the number 1, "any": they are then bound to whatever has the name.

Specification: LSB Core, 10.7.4 "Version Needs"; glibc elf/dl-version.c.
"""

from __future__ import annotations

from libferry.binary.elf.layout import DT_VERDEF, DT_VERNEED, DT_VERSYM
from libferry.edit.elf.file import DT_VERNEEDNUM, ElfFile, NeededVersion

VER_FLG_WEAK = 2
VER_NDX_GLOBAL = 1


def weaken(file: ElfFile, library: str, version: str) -> bool:
    """Let the version be missing; whether it was asked for at all."""
    found = _needs(file, library, version)
    for need in found:
        flags = file.numbers(file.vernaux, need.at)[1]
        file.put(need.at + 4, file.half.pack(flags | VER_FLG_WEAK))
    return bool(found)


def drop(file: ElfFile, library: str, version: str) -> bool:
    """Ask for it no longer; whether it was asked for at all."""
    found = _needs(file, library, version)
    for need in found:
        _forget_number(file, need.index)
        _unlink(file, need)
    return bool(found)


def _needs(file: ElfFile, library: str, version: str) -> list[NeededVersion]:
    return [
        need
        for need in file.needed_versions()
        if (need.library, need.version) == (library, version)
    ]


def _forget_number(file: ElfFile, number: int) -> None:
    at = file.version_numbers_at()
    if at is None:
        return
    for index in range(file.count):
        place = at + 2 * index
        if file.numbers(file.half, place)[0] & 0x7FFF == number:
            file.put(place, file.half.pack(VER_NDX_GLOBAL))


def _unlink(file: ElfFile, need: NeededVersion) -> None:
    """Take one entry out of the list of its library, and an empty list out of theirs."""
    group = file.numbers(file.verneed, need.group)
    places = [other.at for other in file.needed_versions() if other.group == need.group]
    step = file.numbers(file.vernaux, need.at)[4]
    index = places.index(need.at)
    if len(places) == 1:
        _unlink_group(file, need.group)
        return
    file.put(need.group + 2, file.half.pack(group[1] - 1))
    if index == 0:
        file.put(need.group + 8, file.word.pack(group[3] + step))
    else:
        before = places[index - 1]
        whole = need.at + step - before if step else 0
        file.put(before + 12, file.word.pack(whole))


def _unlink_group(file: ElfFile, at: int) -> None:
    groups = file.version_groups()
    places = [place for place, _ in groups]
    index, step = places.index(at), groups[places.index(at)][1][4]
    entries = {entry.tag: entry for entry in file.dynamic()}
    if len(groups) == 1:
        # With numbers and neither needs nor definitions, glibc would look into a list of
        # versions that it never made.
        useless = [DT_VERNEEDNUM, DT_VERNEED]
        if DT_VERDEF not in file.tags:
            useless.append(DT_VERSYM)
        for tag in useless:
            file.remove_entry(next(e for e in file.dynamic() if e.tag == tag))
        return
    file.set_entry(entries[DT_VERNEEDNUM], DT_VERNEEDNUM, len(groups) - 1)
    if index == 0:
        file.set_entry(entries[DT_VERNEED], DT_VERNEED, entries[DT_VERNEED].value + step)
        file.tags = {entry.tag: entry.value for entry in file.dynamic()}
    else:
        before = places[index - 1]
        file.put(before + 12, file.word.pack(at + step - before if step else 0))
    file.tags = {entry.tag: entry.value for entry in file.dynamic()}
