"""Insist that an edit did what was asked, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from libferry.binary.elf.layout import (
    DT_NEEDED,
    DT_RPATH,
    DT_RUNPATH,
    DT_SONAME,
    DT_VERNEED,
    PF_X,
    SHN_ABS,
    STV_HIDDEN,
)
from libferry.edit.changes import Changes
from libferry.edit.elf.exports import GLOBAL_BINDINGS, chosen
from libferry.edit.elf.facts import Facts, Symbol
from libferry.edit.elf.file import DT_VERDEFNUM, DT_VERNEEDNUM
from libferry.edit.elf.versions import VER_FLG_WEAK

_VERSION_NUMBERS = (DT_VERDEFNUM, DT_VERNEED, DT_VERNEEDNUM)


def expected(before: Facts, changes: Changes) -> Facts:
    """What the file has to be when the changes are made."""
    renamed = dict(changes.rename)
    dropped = set(changes.drop_versions)
    dropped |= {(lib, version) for lib, version, _ in before.needs if lib in changes.remove_needed}
    replaced = dict(changes.replace_needed)
    gone = {f"{library}:{version}" for library, version in dropped}

    def library(name: str) -> str:
        return replaced.get(name, name)

    def version(text: str) -> str:
        if text in gone:
            return "1"
        name, colon, rest = text.partition(":")
        return library(name) + colon + rest if colon else text

    is_chosen = chosen(changes)

    def symbol(row: Symbol) -> Symbol:
        name, info, other, section, value, size, wanted = row
        exported = section and info >> 4 in GLOBAL_BINDINGS and name
        if exported and is_chosen(name) and not (section == SHN_ABS and not value):
            info, other = info & 15, other & ~3 | STV_HIDDEN
        return renamed.get(name, name), info, other, section, value, size, version(wanted)

    def reference(text: str) -> str:
        name, at, wanted = text.partition("@")
        return renamed.get(name, name) + at + version(wanted)

    weak = set(changes.weaken_versions)
    return replace(
        before,
        symbols=sorted(map(symbol, before.symbols)),
        relocations=sorted((at, k, reference(n), add) for at, k, n, add in before.relocations),
        needs=sorted(
            (library(lib), ver, flags | VER_FLG_WEAK if (lib, ver) in weak else flags)
            for lib, ver, flags in before.needs
            if (lib, ver) not in dropped
        ),
        names=_names(before, changes),
        interpreter=(
            before.interpreter
            if changes.interpreter is None
            else changes.interpreter.encode("utf-8", "surrogateescape")
        ),
        stack=[flags & ~PF_X for flags in before.stack]
        if changes.clear_execstack
        else before.stack,
    )


def _names(before: Facts, changes: Changes) -> list[tuple[int, str]]:
    replaced = dict(changes.replace_needed)
    names = [
        (tag, replaced.get(name, name) if tag == DT_NEEDED else name)
        for tag, name in before.names
        if not (tag == DT_NEEDED and name in changes.remove_needed)
    ]
    if changes.remove_search_path or changes.search_path is not None:
        names = [row for row in names if row[0] not in (DT_RPATH, DT_RUNPATH)]
    if changes.search_path is not None:
        tag = DT_RPATH if changes.search_tag == "rpath" else DT_RUNPATH
        names.append((tag, changes.search_path))
    if changes.soname is not None:
        names = [row for row in names if row[0] != DT_SONAME] + [(DT_SONAME, changes.soname)]
    return [(DT_NEEDED, name) for name in reversed(changes.add_needed)] + names


def differences(wanted: Facts, after: Facts) -> list[str]:
    """What is not as it has to be, in words; empty if all is well."""
    found = []
    for what, one, other in (
        ("symbols", wanted.symbols, after.symbols),
        ("relocations", wanted.relocations, after.relocations),
        ("version needs", wanted.needs, after.needs),
        ("interpreter", wanted.interpreter, after.interpreter),
        ("notes", wanted.notes, after.notes),
        ("executable stack", wanted.stack, after.stack),
        ("thread-local storage", _without_offsets(wanted), _without_offsets(after)),
        ("other entries", _tags(wanted), _tags(after)),
    ):
        if one != other:
            found.append(f"{what}: {_first(one, other)}")
    # the order of the needed libraries counts, that of the other names does not
    if _needed(wanted) != _needed(after):
        found.append(f"needed libraries: {_first(_needed(wanted), _needed(after))}")
    if sorted(wanted.names) != sorted(after.names):
        found.append(f"names: {_first(wanted.names, after.names)}")
    lost = set(after.unfindable) - set(wanted.unfindable)
    if lost:
        found.append(f"exports that cannot be found: {', '.join(sorted(lost)[:3])}")
    return found + list(_memory(wanted, after))


def _needed(facts: Facts) -> list[str]:
    return [name for tag, name in facts.names if tag == DT_NEEDED]


def _tags(facts: Facts) -> list[tuple[int, int]]:
    return [row for row in facts.tags if row[0] not in _VERSION_NUMBERS]


def _without_offsets(facts: Facts) -> list[tuple[int, ...]]:
    return [(row.address, row.file_size, row.size, row.alignment) for row in facts.segments]


def _first(one: object, other: object) -> str:
    if isinstance(one, list) and isinstance(other, list):
        lacking = [row for row in one if row not in other][:1]
        more = [row for row in other if row not in one][:1]
        return f"expected {lacking or 'no more'}, found {more or 'no more'}"
    return f"expected {one!r}, found {other!r}"


def _memory(wanted: Facts, after: Facts) -> list[str]:
    """Compare all that is loaded and no table, address by address."""
    found = []
    tables = wanted.tables + after.tables
    for (start, flags), contents in wanted.memory.items():
        for (low, their_flags), theirs in after.memory.items():
            if low <= start and start + len(contents) <= low + len(theirs):
                same = theirs[start - low : start - low + len(contents)]
                if _without(contents, start, tables) != _without(same, start, tables):
                    found.append(f"contents of the segment at {start:#x}")
                if their_flags != flags:
                    found.append(f"permissions of the segment at {start:#x}")
                break
        else:
            if _without(contents, start, tables).strip(b"\0"):
                found.append(f"the segment at {start:#x} is no longer loaded whole")
    return found


def _without(contents: bytes, start: int, tables: list[tuple[int, int]]) -> bytes:
    """The same with zeros for the tables, which are compared by what they mean."""
    out = bytearray(contents)
    for address, size in tables:
        low, high = max(address - start, 0), min(address + size - start, len(out))
        if low < high:
            out[low:high] = bytes(high - low)
    return bytes(out)
