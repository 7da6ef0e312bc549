"""``batch``: a function over tuples of arguments, whatever their types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from libferry import _core
from libferry.errors import ArgumentTypeError, RowErrors
from libferry.runtime import crash


def batch(function: _core.Function, rows: Iterable[Sequence[object]]) -> list[Any]:
    """Call ``function`` once for each tuple of arguments, in order.

    A worker is sent many calls at once. ``errno`` is then that of none of them.

    Returns:
        The results.

    Raises:
        RowErrors: rows failed; the others were called, and their results are in the error.
        ArgumentTypeError: ``rows`` are no tuples of arguments.
    """
    tuples = _tuples(function.__name__, rows)
    with crash.in_rows(function.__name__, len(tuples)):
        results, errors = function.call_rows(tuples)
    check(function.__name__, results, errors)
    return results


def _tuples(name: str, rows: Iterable[Sequence[object]]) -> tuple[tuple[object, ...], ...]:
    hint = "give a list of tuples: one for each call, with all its arguments"
    if not isinstance(rows, Iterable):
        raise ArgumentTypeError(f"call {name} for rows", f"{rows!r:.80} is no list", hint=hint)
    made = []
    for number, row in enumerate(rows):
        if not isinstance(row, Iterable):
            raise ArgumentTypeError(
                f"call {name} for rows", f"row {number} is {row!r:.80}, and no tuple", hint=hint
            )
        made.append(tuple(row))
    return tuple(made)


def gather(function: Callable[..., object], rows: Iterable[Sequence[object]]) -> list[Any]:
    """The same for what is no plain C function, one call after the other."""
    results: list[object] = []
    errors: dict[int, Exception] = {}
    name = getattr(function, "__name__", "a function")
    for number, row in enumerate(_tuples(name, rows)):
        results.append(None)
        try:
            results[number] = function(*row)
        except Exception as error:
            errors[number] = error
    check(name, results, errors)
    return results


def check(name: str, results: Any, errors: Mapping[int, Exception]) -> None:
    """Raise if rows failed."""
    if not errors:
        return
    first = next(iter(errors))
    raise RowErrors(
        f"call {name} for {len(results)} rows",
        f"{len(errors)} failed, the first of them row {first}: {errors[first]}",
        hint="error.errors has the error of each row, error.results the other results",
        errors=errors,
        results=results,
    )
