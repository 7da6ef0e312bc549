"""The words for what the C core finds wrong.

The core says *that* an argument is refused, by a short code; the table here says
what that means and what to do, in terms of the declaration.
"""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, Any, NoReturn

from libferry import _core
from libferry.abi import Integer, Real
from libferry.abi.types import spell
from libferry.errors import (
    ArenaFull,
    ArgumentTypeError,
    ArgumentValueError,
    ChannelError,
    DeadlineExceeded,
    FerryError,
    LibraryClosed,
    LibraryCrashed,
    NestedTooDeep,
    TooManyCallbacks,
)
from libferry.runtime import dumps, events, output
from libferry.runtime.crash import again, crash, fault_of
from libferry.runtime.showing import kind, show
from libferry.sandbox import violation

if TYPE_CHECKING:
    from libferry.contract import Signature

# code of pack.c -> (error, what happened, hint)
_ARGUMENTS: dict[str, tuple[type[FerryError], str, str]] = {
    "not an integer": (
        ArgumentTypeError,
        "{kind} is not an integer",
        "pass an int",
    ),
    "not a bool": (ArgumentTypeError, "{value} is not a bool", "pass True, False, 0 or 1"),
    "not a number": (ArgumentTypeError, "{kind} is not a number", "pass a float or an int"),
    "does not fit": (
        ArgumentValueError,
        "{value} does not fit in {ctype}{range}",
        "check the value, or declare a wider type if the library's is wider",
    ),
    "not a pointer": (
        ArgumentTypeError,
        "{kind} cannot be passed as {ctype}",
        "pass bytes, a bytearray, a numpy array, array.array('i', ...), what lib.new made, a "
        "Buffer, a Pointer or None; an address that "
        "you know to be right becomes a Pointer by lib.cast(type, address)",
    ),
    "no buffer": (
        ArgumentTypeError,
        "{kind} gives no contiguous memory for {ctype}",
        "pass bytes, a bytearray, a contiguous numpy array or a Buffer",
    ),
    "not bytes": (
        ArgumentTypeError,
        "a str cannot be encoded: the library was loaded with encoding=None",
        "pass bytes, or load it with encoding='utf-8'",
    ),
    "not str": (
        ArgumentTypeError,
        "bytes cannot be passed as {ctype}",
        "pass a str: wide strings are encoded for the target",
    ),
    "read-only": (
        ArgumentTypeError,
        "{kind} is read-only and {ctype} may be written to",
        "pass a bytearray or a Buffer; if the function only reads, declare the parameter const",
    ),
    "read-only str": (
        ArgumentTypeError,
        "a str is read-only and {ctype} may be written to",
        "pass a bytearray or a Buffer; if the function only reads, declare the parameter const",
    ),
    "not contiguous": (
        ArgumentTypeError,
        "{kind} does not lie in memory row after row",
        "pass numpy.ascontiguousarray(...) of it, or, to a library that counts columns first as "
        "Fortran does, array.T of an array made with order='F'",
    ),
    "other elements": (
        ArgumentTypeError,
        "the items of {kind} are not what {ctype} points to",
        "convert the array to that type first, for example with astype",
    ),
    "objects": (
        ArgumentTypeError,
        "the items of {kind} are Python objects, which C must not touch",
        "convert the array to numbers first, for example with astype",
    ),
    "overlaps": (
        ArgumentValueError,
        "{kind} overlaps with another argument that is written to",
        "use views of one Buffer: those are shared memory, not copies",
    ),
    "embedded NUL": (
        ArgumentValueError,
        "{value} has a NUL inside, where the C string would end",
        "if it is data with a length, declare the parameter const void * or const unsigned char *",
    ),
    "cannot be encoded": (
        ArgumentValueError,
        "{value} cannot be encoded for {ctype}",
        "check the text, or load the library with the encoding it expects",
    ),
    "not kept": (
        ArgumentTypeError,
        "{kind} would be gone before C reads it as {ctype}",
        "give what stays: None, a Buffer, a Pointer, a Callback; memory of lib.buffer() lives "
        "as long as you keep it",
    ),
    "released": (
        ArgumentValueError,
        "the callback was released",
        "release it after its last use, or make a new one",
    ),
    "freed Buffer": (
        ArgumentValueError,
        "the Buffer was freed",
        "free it after its last use, or make a new one",
    ),
    "other library": (
        ArgumentTypeError,
        "{value} belongs to another library",
        "its address means nothing here; if the two share one process and one heap, "
        "lib.cast(type, pointer.address) says so",
    ),
    "other type": (
        ArgumentTypeError,
        "{value} cannot be passed as {ctype}",
        "pass a pointer of that type; pointer.cast(type) overrides the check",
    ),
}


def _range(ctype: object) -> str:
    if isinstance(ctype, Integer):
        low = -(1 << (8 * ctype.size - 1)) if ctype.signed else 0
        return f", {low} to {low + (1 << (8 * ctype.size)) - 1}"
    return f" of {ctype.size} bytes" if isinstance(ctype, Real) else ""


# What the services do, in words: nobody called a function of that name.
_SERVICES = {
    "open": "open the library",
    "symbol": "look for a symbol",
    "length": "read a string",
    "copy": "read the library's memory",
    "errno_of": "look for errno",
    "callback": "set a callback",
    "map": "map a function",
    "map_queue": "map a function",
    "store": "write to the library's memory",
}


def _call(function: _core.Function | _core.Callback) -> str:
    if isinstance(function, _core.Callback):
        return f"return from {function.signature.name}"
    name = function.__name__
    return _SERVICES[name] if function.service else f"call {name}"


def argument(
    owner: _core.Function | _core.Callback, index: int, value: object, code: str
) -> NoReturn:
    """Raise for one refused argument, or (-1) for what a callback returned."""
    signature: Signature = owner.signature
    error, happened, hint = _ARGUMENTS[code]
    if isinstance(owner, _core.Callback) or index < 0:
        ctype, place = signature.result, f"return from {signature.name}"
    else:
        parameter = signature.parameters[index]
        name = f" ({parameter.name})" if parameter.name else ""
        ctype, place = parameter.type, f"{_call(owner)}, argument {index + 1}{name}"
    if code == "other library":
        happened, hint = _stranger(owner, value) or (happened, hint)
    raise error(
        place,
        happened.format(
            value=show(value),
            kind=kind(value),
            ctype=spell(ctype),
            range=_range(ctype),
        ),
        hint=f"{hint}; declared: {signature}",
    )


def _stranger(owner: _core.Function | _core.Callback, value: Any) -> tuple[str, str] | None:
    """The words for what belongs to this library, but to a worker that is gone."""
    home = getattr(owner.session.services_of, "home", None)
    theirs = _core.library_of(value) if isinstance(value, _core.Aggregate) else value
    if home is None or theirs is None:
        return None
    happened, hint = home.stranger(theirs.session)
    return "{value} " + happened.replace("{", "{{").replace("}", "}}"), hint


def count(function: _core.Function, given: int, names: tuple[str, ...] | None) -> NoReturn:
    """Raise for a wrong number of arguments, or named ones."""
    signature: Signature = function.signature
    wanted = len(signature.parameters)
    happened = (
        f"C functions take no named arguments ({', '.join(names)})"
        if names
        else f"{given} argument{'s' * (given != 1)} given, {wanted} declared"
    )
    raise ArgumentTypeError(f"call {signature.name}", happened, hint=f"declared: {signature}")


# How each session that is over came to its end, for whoever calls it later.
_ends: weakref.WeakKeyDictionary[_core.Session, str] = weakref.WeakKeyDictionary()


_when: weakref.WeakKeyDictionary[_core.Session, str] = weakref.WeakKeyDictionary()


def when(session: _core.Session) -> str:
    """When the end of a session was noticed."""
    return _when.setdefault(session, time.strftime("%H:%M:%S"))


def gone(session: _core.Session, tried: str) -> LibraryCrashed:
    """The error of using a session whose worker is gone, for whatever reason."""
    error = _end_of(session, tried, "gone")
    assert isinstance(error, LibraryCrashed)
    return error


def ended(
    session: _core.Session, function: _core.Function | _core.Callback | None, code: str
) -> NoReturn:
    """Raise for a call on a session that is over, or that just ended."""
    tried = _call(function) if function is not None else "use the library"
    if code == "closed" or (code == "died" and session.closed):
        raise LibraryClosed(tried, "the library is closed", hint="load it again")
    if code == "forked":
        raise LibraryClosed(
            tried,
            "this process is a fork, and the library belongs to its parent",
            hint="load the library after the fork, once in each process",
        )
    if code == "nested":
        raise NestedTooDeep(
            tried,
            "calls and callbacks are nested 32 deep",
            hint="return from some before making more",
        )
    if code == "stack":
        raise NestedTooDeep(
            tried,
            "calls and callbacks nested in each other have nearly used up this thread's stack",
            hint="return from some before making more; threading.stack_size() gives threads more",
        )
    if code == "pending":
        raise NestedTooDeep(
            tried,
            "a call of this thread is pending, and the library takes one at a time",
            hint="await that one first",
        )
    if code == "busy":
        raise DeadlineExceeded(
            tried,
            f"no turn within {function.timeout_ns / 1e9:g} s: other calls have the library",  # type: ignore[union-attr]
            hint="they go on, and nothing was called; wait for them, or end one by its own timeout",
        )
    if code == "callbacks":
        raise TooManyCallbacks(
            tried,
            "4,096 callbacks are in use",
            hint="release those that C no longer calls: callback.release()",
        )
    if code == "died" and session in _ends:
        code = "gone"  # an inner call has told
    error = _end_of(session, tried, code, _allowed(function))
    _ends.setdefault(session, f"{error.happened}, in: {tried}")
    _when.setdefault(session, time.strftime("%H:%M:%S"))
    raise error


def _allowed(function: _core.Function | _core.Callback | None) -> int:
    """Nanoseconds that what was called might take; 0 for ever."""
    if not isinstance(function, _core.Function):
        return 0
    # a service makes several calls, of which the last has only what is left
    return function.session.services_of.timeout_ns if function.service else function.timeout_ns


def _end_of(session: _core.Session, tried: str, code: str, allowed_ns: int = 0) -> FerryError:
    error = _describe(session, tried, code, allowed_ns)
    events.lost(session, error)
    return error


def _describe(session: _core.Session, tried: str, code: str, allowed_ns: int) -> FerryError:
    if code == "expired":
        return DeadlineExceeded(
            tried,
            "no answer within the timeout"
            + (f" of {allowed_ns / 1e9:g} s" if allowed_ns else "")
            + "; its worker was ended",
            hint=f"{again(session)}; give it a longer timeout if the call may take that long",
        )
    if code == "violated":
        return ChannelError(
            tried,
            "the worker wrote a reply word that no lawful worker writes, and was ended",
            hint="the library has damaged or attacked its worker; do not trust what it returned "
            "before; " + again(session),
        )
    fault = fault_of(session)
    error = violation.explained(
        crash(session, tried), session, fault.system_call if fault is not None else None
    )
    if code == "gone" and session in _ends:
        error.happened = f"its worker is gone since an earlier call ({_ends[session]})"
        error.place = ""  # of that call
    dumps.keep(session, error)
    pipes = output.of(session)
    if pipes:
        error.output = pipes.last()
    return error


def arena(session: _core.Session, size: int) -> NoReturn:
    """Raise for a request that the arena cannot hold."""
    raise ArenaFull(
        f"find {size:,} bytes of shared memory",
        f"the arena has {session.arena_free:,} free, and no piece that large"
        if session.arena_free
        else "the system gave no memory",
        hint="free Buffers that are no longer used, or load the library with a larger arena=",
    )
