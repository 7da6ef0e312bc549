"""What an audit answers: yes, no or unknown for each file, why, and what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from libferry.audit.model import Finding
from libferry.loader.model import State

if TYPE_CHECKING:
    from libferry.loader.model import Resolution


@dataclass(frozen=True, slots=True)
class Edge:
    """One library that another asks for, and what the loader makes of that.

    Attributes:
        requester: the target's path of who asks.
        name: as it is asked for.
        path: the target's path of what is found, or None.
        state, how: as in ``loader.Node``.
    """

    requester: str
    name: str
    path: str | None
    state: State
    how: str


@dataclass(frozen=True)
class FileReport:
    """What is known of one file.

    It can be pickled, without its resolution: that has everything the loader looked at.

    Attributes:
        file: the path, as the user knows it.
        target: the name of the target; empty if only the file itself was judged.
        answer: whether it will do there; None if that could not be found out.
        reason: why, in one line that begins with the answer.
        findings: errors first.
        needs: what the loader loads for it.
        facts: what the file says of itself, and what the audit worked out, as plain data.
        error: why it could not be read, as ``FerryError.as_dict`` gives it; or None.
        resolution: all that the loader did, in the process that asked it.
    """

    file: str
    target: str
    answer: bool | None
    reason: str
    findings: tuple[Finding, ...] = ()
    needs: tuple[Edge, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)
    error: Mapping[str, object] | None = None
    resolution: Resolution | None = field(default=None, compare=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "resolution": None}


@dataclass(frozen=True)
class Report:
    """What is known of all files that were asked about.

    Attributes:
        target: the name of the target; empty if only the files themselves were judged.
        files: in the order in which they were given or found.
        known: how many findings were left out because a baseline has them.
    """

    target: str
    files: tuple[FileReport, ...]
    known: int = 0

    @property
    def answer(self) -> bool | None:
        """No if it is no for one file; None if it could not be found out for one."""
        answers = {file.answer for file in self.files}
        return False if False in answers else None if None in answers else True

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Those of all files."""
        return tuple(finding for file in self.files for finding in file.findings)

    @property
    def resolution(self) -> Resolution | None:
        """That of the first file."""
        return self.files[0].resolution if self.files else None
