"""What rules look at: one file, and what its target's loader would do with it.

To read a file's header costs little, its symbols more, and to resolve it more again. So
nothing is read before a rule asks for it, and what one rule asked for is there for the next.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, cast

from libferry.audit.selection import Selection
from libferry.binary.model import Binary
from libferry.binary.recognise import read
from libferry.errors import FerryError
from libferry.loader.model import Node, Options, Resolution

if TYPE_CHECKING:
    from libferry.binary.elf.view import ElfView
    from libferry.binary.macho.view import MachOView
    from libferry.binary.pe.view import PeView
    from libferry.target.model import Target
    from libferry.target.system import System


FORMATS = {"linux": "elf", "windows": "pe", "macos": "macho"}


@dataclass(frozen=True)
class Settings:
    """What is asked of the files; the same for all of one run, and picklable.

    Attributes:
        loading: how the library is loaded, and by which program.
        selection: the rules that are asked.
        exports: the names that the library's contract has; None without a contract.
        together: the paths of other libraries that are loaded into the same process.
        strict: whether a warning is a reason to say no.
    """

    loading: Options = field(default_factory=Options)
    selection: Selection = field(default_factory=Selection)
    exports: frozenset[str] | None = None
    together: tuple[str, ...] = ()
    strict: bool = False


@dataclass(frozen=True)
class Seen:
    """What a check has seen; it becomes a ``Finding``.

    Attributes:
        subject: the library, symbol, segment or path that it is about.
        message: what is wrong, one line.
        evidence: plain data.
        fix: what to type next; empty for what the rule says.
        rule: the id, if the check has several.
        severity: if it is not the rule's.
    """

    subject: str
    message: str
    evidence: dict[str, object] = field(default_factory=dict)
    fix: str = ""
    rule: str = ""
    severity: str = ""


class Other(NamedTuple):
    """Another library of the process: the target's path, and what it says."""

    path: str
    binary: Binary


class Subject:
    """One file in front of the rules.

    Attributes:
        file: the path, as the user knows it.
        binary: what it says of itself.
        system: where it shall run; None if only the file itself is judged.
    """

    def __init__(
        self, file: str, binary: Binary, system: System | None, settings: Settings
    ) -> None:
        self.file = file
        self.binary = binary
        self.system = system
        self.settings = settings

    @property
    def target(self) -> Target | None:
        """Where it shall run."""
        return self.system.target if self.system else None

    @property
    def elf(self) -> ElfView | None:
        """What an ELF file says; None for other files."""
        return cast("ElfView", self.binary.view) if self.binary.format == "elf" else None

    @property
    def pe(self) -> PeView | None:
        """What a PE file says; None for other files."""
        return cast("PeView", self.binary.view) if self.binary.format == "pe" else None

    @property
    def macho(self) -> MachOView | None:
        """What a Mach-O file says; None for other files."""
        return cast("MachOView", self.binary.view) if self.binary.format == "macho" else None

    @property
    def at_home(self) -> bool:
        """Whether the target's system has files of this format."""
        return self.target is None or FORMATS[self.target.os] == self.binary.format

    @cached_property
    def resolution(self) -> Resolution | None:
        """What the target's loader would do with it.

        Raises:
            FerryError: the host program, or what the system has, cannot be read.
        """
        if self.system is None or self.binary.kind == "object" or not self.at_home:
            return None
        from libferry.loader import resolve

        return resolve(self.binary, self.system, self.settings.loading)

    @property
    def resolution_root(self) -> Node:
        """What is asked for, with what it needs below; only if there is a resolution."""
        assert self.resolution is not None
        return self.resolution.root

    @cached_property
    def by_path(self) -> dict[str, Node]:
        """Everything below what is asked for, by path, the first of each."""
        found: dict[str, Node] = {}
        for node in self.resolution_root.walk():
            found.setdefault(node.path, node)
        return found

    @cached_property
    def not_there(self) -> dict[str, Node]:
        """What was looked for and not found, by the name that was asked for."""
        found: dict[str, Node] = {}
        for node in self.resolution_root.walk():
            if node.state in ("missing", "unknown"):
                found.setdefault(node.name, node)
        return found

    @cached_property
    def others(self) -> tuple[Other, ...]:
        """The other libraries of the process: the program's, this one's, and those beside it."""
        nodes = () if self.resolution is None else (*self.resolution.scope, *self.resolution.order)
        root = self.resolution.root.binary if self.resolution else self.binary
        others: dict[str, Binary] = {
            node.path: node.binary
            for node in nodes
            if node.binary is not None and node.binary is not root
        }
        for file in self.settings.together:
            if os.path.abspath(file) != os.fspath(self.binary.path):
                with suppress(FerryError):  # a report of its own
                    others.setdefault(file, read(file))
        return tuple(Other(path, binary) for path, binary in others.items())
