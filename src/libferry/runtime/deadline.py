"""How long a call may take: ``lib.f.within(0.5)``.

A call that takes longer ends its worker, since C cannot be called off. A call inside
this process cannot be ended at all.
"""

from __future__ import annotations

from libferry import _core
from libferry.errors import ArgumentTypeError, ArgumentValueError

LONGEST_TIMEOUT = 10**9  # seconds


def nanoseconds(seconds: float | None, tried: str) -> int:
    """A timeout as the C core counts it; 0 is none.

    Raises:
        ArgumentTypeError, ArgumentValueError: that is no time.
    """
    if seconds is None:
        return 0
    hint = f"give seconds, above zero and at most {LONGEST_TIMEOUT:,}; None is no timeout"
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ArgumentTypeError(tried, f"timeout is {seconds!r:.80}", hint=hint)
    if not 0 < seconds <= LONGEST_TIMEOUT:
        raise ArgumentValueError(tried, f"timeout is {seconds!r}", hint=hint)
    return max(1, int(seconds * 1e9))


def within(function: _core.Function, seconds: float | None) -> _core.Function:
    """The same function, whose calls may take ``seconds``; None is no limit.

    Raises:
        ArgumentTypeError: it is called in this process, or that is no time.
        ArgumentValueError: that is no time.
    """
    tried = f"call {function.__name__} with a timeout"
    timeout_ns = nanoseconds(seconds, tried)
    if function.session.channel is None:
        raise unending(tried)
    return function.timed(timeout_ns)


def unending(tried: str) -> ArgumentTypeError:
    """The error of a timeout where nothing could keep it."""
    return ArgumentTypeError(
        tried,
        "a call inside this process cannot be ended",
        hint="isolation='worker' gives it a process that can",
    )
