"""What is to be checked: a tree of native files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

INSIDE = "!/"
"""Between the path of an archive and the path in it."""

Kind = Literal["file", "directory", "wheel", "zip", "tar", "deb", "rpm", "image", "system"]


@dataclass(frozen=True, slots=True)
class Item:
    """One native file.

    Attributes:
        file: where it is on this machine, perhaps in a folder that goes away.
        shown: the path that the user knows: ``foo.whl!/pkg/_x.so``.
    """

    file: Path
    shown: str


@dataclass(frozen=True)
class Tree:
    """What a user gave, opened.

    Attributes:
        kind: what it was.
        shown: as the user wrote it.
        root: the folder that the items are in.
        items: the native files, sorted by the path that is shown; a file that has several
            names by hard links is there once.
        content: the digest of what it was unpacked from; "" if it was not.
        target: the name of the target that it says it is for, or None.
        whole: whether ``root`` is a whole system, with a loader of its own.
        installs: whether paths below ``root`` are those that the files have once installed,
            as in a ``.deb``.
        directories: folders of it that its own code gives to Windows' ``AddDllDirectory``.
    """

    kind: Kind
    shown: str
    root: Path
    items: tuple[Item, ...]
    content: str = ""
    target: str | None = None
    whole: bool = False
    installs: bool = False
    directories: tuple[str, ...] = ()
