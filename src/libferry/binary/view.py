"""The format's own view of a file, which ``Binary`` asks for all that is read late.

What one format does not have is empty here, so that each view says only what is its
own. A view keeps no file open (see ``Binary``); what it has read, it keeps.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from libferry.binary.model import (
    Debug,
    Dependency,
    Export,
    GoBuild,
    Import,
    Segment,
    Signature,
    Tls,
    VersionNeed,
)
from libferry.binary.opening import open_window
from libferry.binary.window import Stamp, Window


class View:
    """What ``ElfView``, ``PeView`` and ``MachOView`` have in common; see ``Binary``."""

    def __init__(self, path: Path, stamp: Stamp) -> None:
        self.path = path
        self._stamp = stamp

    def open(self) -> Window:
        """Open the file once more, if it is still the same; for a ``with`` block."""
        return open_window(self.path, expect=self._stamp)

    @cached_property
    def exports(self) -> tuple[Export, ...]:
        """What the file offers to others, in its order."""
        return ()

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """What it wants from others."""
        return ()

    @cached_property
    def dependencies(self) -> tuple[Dependency, ...]:
        """The libraries it asks for, and how."""
        return ()

    @cached_property
    def versions_needed(self) -> tuple[VersionNeed, ...]:
        """The symbol versions that those must have."""
        return ()

    @cached_property
    def versions_given(self) -> tuple[str, ...]:
        """The symbol versions that it has."""
        return ()

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """What is mapped."""
        return ()

    @cached_property
    def tls(self) -> Tls | None:
        """Its thread-local storage."""
        return None

    @cached_property
    def debug(self) -> Debug:
        """Its identity, and where its debugging information is."""
        return Debug(None, None, stripped=False)

    @cached_property
    def signature(self) -> Signature | None:
        """The signature inside."""
        return None

    @cached_property
    def minimum_os(self) -> str | None:
        """The oldest system it is for."""
        return None

    @cached_property
    def go(self) -> GoBuild | None:
        """How Go built it."""
        return None

    @cached_property
    def compilers(self) -> tuple[str, ...]:
        """What compilers wrote of themselves."""
        return ()

    def facts(self) -> dict[str, object]:
        """What only this format has, as data that ``json.dumps`` can write."""
        return {}
