"""What an error looks like at the terminal, and which exit code it is."""

from __future__ import annotations

from libferry import errors
from libferry.cli import output
from libferry.errors import FerryError

NO = 1
UNKNOWN = 2


class UsageError(FerryError):
    """The command line itself cannot be followed."""


# 1: the answer is no. We looked, or tried, and that is how it is.
# 2: we could not find out. The question did not get as far as the library.
EXIT_CODES: dict[type[FerryError], int] = {
    # there is nothing that could have been asked
    errors.LibraryNotFound: UNKNOWN,
    errors.BadBinary: UNKNOWN,
    errors.BadArchive: UNKNOWN,
    errors.TargetError: UNKNOWN,
    errors.AuditStopped: UNKNOWN,
    # the question cannot be understood
    UsageError: UNKNOWN,
    errors.SettingsError: UNKNOWN,
    errors.DeclarationError: UNKNOWN,
    # it is understood, and no, such a function cannot be called
    errors.UnsupportedDeclaration: NO,
    # the file was read, and no, it does not run here, load here, or export that
    errors.NoRunner: NO,
    errors.LoadError: NO,
    errors.SymbolNotFound: NO,
    # no, the declared function does not take these arguments
    errors.ArgumentTypeError: NO,
    errors.ArgumentValueError: NO,
    # the library was called, and no, it did not survive, answer in time, or behave
    errors.LibraryCrashed: NO,
    errors.SandboxViolation: NO,
    errors.DeadlineExceeded: NO,
    errors.ChannelError: NO,
    errors.LibraryClosed: NO,
    errors.CallFailed: NO,
    errors.RowErrors: NO,
    errors.NestedTooDeep: NO,
    errors.UnexpectedCode: NO,
    errors.SandboxUnavailable: NO,
    # this machine ran out before the library was asked
    errors.ArenaFull: UNKNOWN,
    errors.TooManyCallbacks: UNKNOWN,
    errors.NoDump: UNKNOWN,
    errors.NamespacesFull: UNKNOWN,
    errors.PoolFull: UNKNOWN,
    # the file was looked at, and no, it cannot be changed so
    errors.EditFailed: NO,
    errors.Signed: NO,
    # no editor, and no loader that tells
    errors.EditorMissing: UNKNOWN,
    errors.NotTraceable: UNKNOWN,
    # no compiler, no library to ask
    errors.BuildError: UNKNOWN,
}


def exit_code(error: FerryError) -> int:
    """The exit code for ``error``: that of the nearest class in the table."""
    return next((EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES), NO)


def show(error: FerryError, *, as_json: bool) -> int:
    """Tell the user about ``error``, and give its exit code."""
    if as_json:
        output.write_json(error.as_dict())
    else:
        output.remark("error", str(error), "bold red")
        if isinstance(error, errors.LibraryCrashed):
            for number, frame in enumerate(error.backtrace):
                output.remark(f"#{number}", str(frame), "bold")
            if error.dump is not None:
                output.remark("dump", str(error.dump), "bold")
            elif error.dump_problem:
                output.remark("no dump", error.dump_problem, "bold")
        output.remark("hint", error.hint, "bold cyan")
    return exit_code(error)


def cannot_write(error: OSError) -> UsageError:
    """Say that the answer could not be delivered."""
    return UsageError(
        "write the answer", error.strerror or str(error), hint="send the output elsewhere"
    )


def from_click(error: Exception) -> UsageError:
    """Say what the option parser found wrong in the way that we say things."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "libferry"
    message: str = getattr(error, "format_message", error.__str__)()
    return UsageError(command, message.rstrip("."), hint=f"see {command} --help")
