"""Everything libferry raises.

An error answers three questions, in this order: what was tried, what happened,
and what to do next. The first two are the message; the last is ``hint``, kept
apart so that a program can show it in its own place. A traceback shows it too,
as an exception note.

``FerryError`` is the base of them all and is never raised itself. Where Python
has a built-in exception with the same meaning, ours derives from both, so that
``except FileNotFoundError`` or ``hasattr`` work as a reader would expect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from libferry.audit.model import Finding
    from libferry.loader.model import Resolution


class FerryError(Exception):
    """Base of all errors of libferry.

    Attributes:
        tried: what was being done, as a short phrase.
        happened: what went wrong.
        hint: what to do next; never empty.
    """

    def __init__(self, tried: str, happened: str, *, hint: str) -> None:
        super().__init__(f"{tried}: {happened}")
        self.tried = tried
        self.happened = happened
        self.hint = hint
        self.add_note(f"hint: {hint}")

    def __str__(self) -> str:
        return f"{self.tried}: {self.happened}"

    def as_dict(self) -> dict[str, object]:
        """Give the error as plain data, as ``--json`` prints it."""
        return {
            "error": type(self).__name__,
            "tried": self.tried,
            "happened": self.happened,
            "hint": self.hint,
        }


class LibraryNotFound(FerryError, FileNotFoundError):
    """No file at that path, or no library of that name where the system looks."""


class BadBinary(FerryError, ValueError):
    """The file is not a library we can read: empty, text, truncated, malformed."""


class SettingsError(FerryError, ValueError):
    """What was asked of the audit means nothing: an unknown rule, a misspelled key."""


class BadArchive(BadBinary):
    """A package, archive or image that cannot be unpacked: damaged, hostile, too large."""


class TargetError(FerryError, ValueError):
    """The file does not describe a target: a misspelled key, a value of the wrong kind."""


class AuditStopped(FerryError):
    """An audit of many files could not be brought to its end."""


class NoRunner(FerryError):
    """The library is sound, but this machine has nothing that can host it."""


class LoadError(FerryError, OSError):
    """The library's own loader refused it, for example for a missing dependency.

    Attributes:
        resolution: what that loader does with it, as we predict it, with every place that
            it tries; None if that could not be predicted.
    """

    resolution: Resolution | None = None
    _audit: Callable[[], Sequence[Finding]] = staticmethod(tuple)

    def explain_by(self, resolution: Resolution, audit: Callable[[], Sequence[Finding]]) -> None:
        """Tell what the loader does, and have the findings made when somebody asks for them."""
        self.resolution, self._audit = resolution, audit

    @cached_property
    def findings(self) -> Sequence[Finding]:
        """What is wrong with it, for this system; empty if that could not be found out."""
        return self._audit()

    def as_dict(self) -> dict[str, object]:
        """Give the error as plain data, with the problems and the places tried."""
        problems: list[dict[str, object]] = []
        if self.resolution is not None:
            places = {
                node.name: node.tried for node in self.resolution.root.walk() if node.found is None
            }
            problems = [
                {
                    "id": one.id,
                    "library": one.library,
                    "subject": one.subject,
                    "message": one.message,
                    "tried": [
                        {"path": step.path, "source": step.source, "reason": step.reason}
                        for step in places.get(one.subject, ())
                    ],
                }
                for one in self.resolution.problems
            ]
        return {**super().as_dict(), "problems": problems}


class SymbolNotFound(FerryError, AttributeError):
    """The library exports no such name, or nobody has declared it."""


class DeclarationError(FerryError, ValueError):
    """The C declaration cannot be read, or says something we cannot do."""


class UnsupportedDeclaration(DeclarationError):
    """The C declaration is sound, but no call plan can be made for it yet."""


class ArgumentTypeError(FerryError, TypeError):
    """An argument has the wrong type, or there are too many or too few."""


class ArgumentValueError(FerryError, ValueError):
    """An argument has the right type but a value the C type cannot carry."""


class LibraryClosed(FerryError):
    """The library was closed before this call."""


class LibraryCrashed(FerryError):
    """The worker that hosted the library died.

    Attributes:
        signal: the signal's number on this system, or None.
        code: the exit code or Windows exception code, or None.
        address: the address whose access faulted, or None.
        program_counter: where the fault happened, in the worker, or None.
        function: the C function that was called, or None.
        arguments: what it was called with, as Python wrote it; None if nothing was called.
        registers: the CPU's registers at the fault, by name.
        thread: the system's number of the thread that faulted; 0 if it is not known.
        lane: the call in flight that it served; None if the thread was the library's own.
        output: the last lines that the library wrote to standard error.
        dump: the minidump of it, if ``load(dump=)`` asked for one; or None.
        dump_problem: why there is none, though it was asked for; else empty.
    """

    def __init__(
        self,
        tried: str,
        happened: str,
        *,
        hint: str,
        signal: int | None = None,
        code: int | None = None,
        address: int | None = None,
        program_counter: int | None = None,
    ) -> None:
        super().__init__(tried, happened, hint=hint)
        self.signal = signal
        self.code = code
        self.address = address
        self.program_counter = program_counter
        self.function: str | None = None
        self.arguments: tuple[str, ...] | None = None
        self.registers: Mapping[str, int] = {}
        self.thread = 0
        self.lane: int | None = None
        self.output: Sequence[str] = ()
        self.dump: Path | None = None
        self.dump_problem = ""
        self._unwind: Callable[[], Sequence[object]] = tuple
        self._place: str | None = None

    def explain_by(self, unwind: Callable[[], Sequence[object]]) -> None:
        """Have the backtrace made by ``unwind`` when somebody wants to see it."""
        self._unwind = unwind

    def dumped(self, dump: Path | None, problem: str) -> None:
        """Tell what became of the dump that was asked for."""
        self.dump, self.dump_problem = dump, problem
        self.add_note(self._dump_line())

    def _dump_line(self) -> str:
        return f"dump: {self.dump}" if self.dump is not None else f"no dump: {self.dump_problem}"

    @cached_property
    def backtrace(self) -> Sequence[object]:
        """The C functions that were running, innermost first; ``str`` of one is a line."""
        return self._unwind()

    @property
    def place(self) -> str:
        """Where it happened: ``libfoo.so+0x1234 (name+0x10)``; empty if it is not known."""
        if self._place is None:
            self._place = str(self.backtrace[0]) if self.backtrace else ""
        return self._place

    @place.setter
    def place(self, place: str) -> None:
        self._place = place

    def __str__(self) -> str:
        return super().__str__() + (f", in {self.place}" if self.place else "")

    def report(self) -> str:
        """All that is known, in lines."""
        lines = [str(self)]
        if self.function is not None:
            lines.append(f"called: {self.function}({', '.join(self.arguments or ())})")
        if self.thread:
            whose = "the library's own" if self.lane is None else f"of lane {self.lane}"
            lines.append(f"thread: {self.thread}, {whose}")
        if self.backtrace:
            lines.append("backtrace, innermost first:")
            lines += (f"  #{number:<3} {frame}" for number, frame in enumerate(self.backtrace))
        if self.registers:
            lines.append("registers:")
            width = 18 if max(self.registers.values()) >> 32 else 10
            named = [f"{name:>4} {value:#0{width}x}" for name, value in self.registers.items()]
            lines += (
                "  " + "  ".join(named[i : i + _IN_A_ROW]) for i in range(0, len(named), _IN_A_ROW)
            )
        if self.output:
            lines.append("last lines of its standard error:")
            lines += (f"  {line}" for line in self.output)
        if self.dump is not None or self.dump_problem:
            lines.append(self._dump_line())
        return "\n".join([*lines, f"hint: {self.hint}"])

    def as_dict(self) -> dict[str, object]:
        """Give the error as plain data; addresses in hexadecimal."""
        return {
            **super().as_dict(),
            "signal": self.signal,
            "code": self.code,
            "address": None if self.address is None else hex(self.address),
            "program_counter": None if self.program_counter is None else hex(self.program_counter),
            "function": self.function,
            "arguments": None if self.arguments is None else list(self.arguments),
            "thread": self.thread or None,
            "lane": self.lane,
            "backtrace": [str(frame) for frame in self.backtrace],
            "registers": {name: hex(value) for name, value in self.registers.items()},
            "output": list(self.output),
            "dump": None if self.dump is None else str(self.dump),
            "dump_problem": self.dump_problem or None,
        }


_IN_A_ROW = 4  # registers, in a report


class EditorMissing(FerryError):
    """The edit needs a program that is not installed."""


class EditFailed(FerryError):
    """The file could not be changed as asked; it is as it was."""


class Signed(FerryError):
    """The file is signed, and an edit would break the signature."""


class NotTraceable(FerryError):
    """The program's loader does not tell what it does."""


class BuildError(FerryError):
    """The source could not be compiled, or there is no compiler."""


class NoDump(FerryError):
    """The minidump could not be written."""


class SandboxViolation(LibraryCrashed):
    """The library did what its sandbox forbids, and its worker was ended.

    Attributes:
        syscall: the system call's name, such as ``openat``.
        path: the file or address it named, or None.
        allow: the line that would allow it, for a profile or a contract.
    """

    syscall: str = ""
    path: str | None = None
    allow: str = ""


class SandboxUnavailable(FerryError):
    """This system cannot enforce a layer of the sandbox that was required."""


class UnexpectedCode(FerryError):
    """Code was loaded, or about to be, that is not what was expected."""


class NamespacesFull(FerryError):
    """This process can hold no further namespace of the loader's."""


class PoolFull(FerryError):
    """All workers of a pool are busy, and as many callers as it lets wait are waiting."""


class DeadlineExceeded(FerryError, TimeoutError):
    """A call took longer than its timeout; its worker was ended."""


class ChannelError(FerryError):
    """The worker broke the protocol of the channel and was ended."""


class ArenaFull(FerryError, MemoryError):
    """The memory shared with the worker has no room for this."""


class NestedTooDeep(FerryError, RecursionError):
    """Calls and callbacks were nested deeper than the channel has frames for."""


class TooManyCallbacks(FerryError):
    """All entry thunks of a worker are in use."""


class RowErrors(FerryError):
    """Some rows of a bulk call failed; all of them were called.

    Attributes:
        errors: the error of each row that failed, by its number.
        results: the results of all rows; what the failed ones returned, or None.
    """

    def __init__(
        self,
        tried: str,
        happened: str,
        *,
        hint: str,
        errors: Mapping[int, Exception],
        results: object,
    ) -> None:
        super().__init__(tried, happened, hint=hint)
        self.errors = errors
        self.results = results


class CallFailed(FerryError):
    """A function returned what its contract says is an error.

    Attributes:
        result: what it returned.
        message: what the library's own message function says of it, or None.
    """

    def __init__(
        self, tried: str, happened: str, *, hint: str, result: object, message: str | None
    ) -> None:
        super().__init__(tried, happened, hint=hint)
        self.result = result
        self.message = message
