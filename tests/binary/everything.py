"""Everything that can be read of a file, one part after the other.

A part that is damaged does not hide the others. Anything but our own error goes through.
"""

from __future__ import annotations

import contextlib
from collections import deque
from functools import cached_property
from pathlib import Path

from libferry.binary import Binary, read
from libferry.binary.elf.view import ElfView
from libferry.binary.view import View
from libferry.errors import BadBinary


def parts(kind: type[View] | type[Binary]) -> list[str]:
    """The names of what is read late."""
    return [
        name
        for name in dir(kind)
        if not name.startswith("_")
        and isinstance(getattr(kind, name), property | cached_property)
        and name not in ("all_slices",)  # each is read by itself
    ]


def read_everything(path: Path) -> None:
    """Read all parts of the file, in all its slices."""
    try:
        first = read(path)
    except BadBinary:
        return
    for cpu in (None, *first.slices[:4]):
        try:
            binary = read(path, cpu) if cpu else first
            view = binary.view
        except BadBinary:
            continue
        for source, names in ((binary, parts(Binary)), (view, parts(type(view)))):
            for name in names:
                with contextlib.suppress(BadBinary):
                    getattr(source, name)
        if isinstance(view, ElfView):
            with contextlib.suppress(BadBinary):
                deque(view.relocations(), maxlen=0)
        with contextlib.suppress(BadBinary):
            view.facts()
