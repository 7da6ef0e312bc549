"""The files of a target, as its loader sees them.

A loader asks three things of the files: is there one at this path, is it one that I have
already, and what does it say. A ``System`` answers them for this machine, for a copy of
another one's root (a sysroot, in which absolute links stay inside), and for a target that
is only described, where all that is known are the libraries it is delivered with.

Paths are the target's. What is being carried there (the library in question and what lies
beside it) is seen at the path that it has here, unless that is a folder of the system.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from libferry.binary.model import Binary
from libferry.target.model import Given, Target


@dataclass(frozen=True)
class Found:
    """A file that the target has.

    Attributes:
        path: as it was asked for.
        real: without symbolic links.
        identity: equal for equal files; glibc and musl compare device and inode.
        file: where it is on this machine; None if the target is only described.
        given: what is known of it if ``file`` is None.
    """

    path: str
    real: str
    identity: object
    file: Path | None
    given: Given | None = None


class System(Protocol):
    """What loaders ask."""

    @property
    def target(self) -> Target:
        """Whose files these are."""

    @property
    def complete(self) -> bool:
        """Whether a file that is not found is surely not there; no, if only described."""

    def find(self, path: str) -> Found | None:
        """The regular file at an absolute path, or None."""

    def is_directory(self, path: str) -> bool:
        """Whether there is a folder at an absolute path."""

    def data(self, path: str) -> bytes | None:
        """The contents of a file that is no library (``/etc/ld.so.cache``), or None."""

    def read(self, found: Found) -> Binary:
        """What the file says of itself; kept, so that asking again costs nothing.

        Raises:
            BadBinary: it is no library, or damaged; or there is only a ``Given``.
        """

    def path_of(self, file: Path) -> str:
        """The target's path of a file of this machine."""
