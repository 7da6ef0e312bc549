"""Read the files of messages; see the room's own page for what they hold."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
ERRNO_FILE = "errno.toml"

_LISTS = ("names", "numbers", "messages", "check", "commands")


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that a loader says.

    Attributes:
        id: in kebab-case; with ``loader`` it is unique.
        system: ``linux``, ``windows`` or ``macos``.
        loader: ``glibc``, ``musl``, ``windows``, ``dyld`` or ``kernel``.
        names: of the code, such as ``ERROR_BAD_EXE_FORMAT``.
        numbers: of the code: Win32, NTSTATUS, HRESULT; without a sign.
        errno: the name in errno.toml, if the number is that one's, or "".
        messages: patterns, in which ``{name}`` stands for any text.
        translated: the same in other languages, by locale.
        said_by: who says it.
        when: what the loader was doing.
        meaning: in plain words.
        check: what to look at, in order.
        commands: what to run next; may have the message's ``{name}``.
        rule: the audit's rule of the same thing, or "".
        general: whether it only introduces another message, which says more.
        source: where it says so: file and version, or documentation page.
    """

    id: str
    system: str
    loader: str
    meaning: str
    source: str
    names: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    errno: str = ""
    messages: tuple[str, ...] = ()
    translated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    said_by: str = ""
    when: str = ""
    check: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    rule: str = ""
    general: bool = False

    def patterns(self) -> Iterator[str]:
        """All that it may read like, in any language."""
        yield from self.messages
        for patterns in self.translated.values():
            yield from patterns


@cache
def entries() -> tuple[Entry, ...]:
    """All entries of all files."""
    files = sorted(file for file in FOLDER.glob("*.toml") if file.name != ERRNO_FILE)
    return tuple(entry for file in files for entry in _read(file))


def _read(file: Path) -> Iterator[Entry]:
    with open(file, "rb") as opened:
        data = tomllib.load(opened)
    for row in data["entry"]:
        values: dict[str, Any] = {"system": data["system"], "loader": data["loader"], **row}
        for name in _LISTS:
            values[name] = tuple(values.get(name, ()))
        translated = values.get("translated", {})
        values["translated"] = {locale: tuple(texts) for locale, texts in translated.items()}
        yield Entry(**values)
