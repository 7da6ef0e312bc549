"""What rules look at: one file, and what its target's loader would do with it.

To read a file's header costs little, its symbols more, and to resolve it more again. So
nothing is read before a rule asks for it, and what one rule asked for is there for the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from libferry.audit.selection import Selection
from libferry.loader.model import Node, Options, Resolution

if TYPE_CHECKING:
    from libferry.binary.model import Binary
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

    def process(self) -> Iterator[Node]:
        """All libraries of the process that have a file: the program's, then this one's."""
        if self.resolution is not None:
            for node in (*self.resolution.scope, *self.resolution.order):
                if node.binary is not None:
                    yield node
