"""``batch``: a function over tuples of arguments, whatever their types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from libferry import _core
from libferry.errors import RowErrors


def batch(function: _core.Function, rows: Iterable[Sequence[object]]) -> list[object]:
    """Call ``function`` once for each tuple of arguments, in order.

    A worker is sent many calls at once. ``errno`` is then that of none of them.

    Returns:
        The results.

    Raises:
        RowErrors: rows failed; the others were called, and their results are in the error.
    """
    results, errors = function.call_rows(tuple(tuple(row) for row in rows))
    if errors:
        first = next(iter(errors))
        raise RowErrors(
            f"call {function.__name__} for {len(results)} rows",
            f"{len(errors)} failed, the first of them row {first}: {errors[first]}",
            hint="error.errors has the error of each row, error.results the other results",
            errors=errors,
            results=results,
        )
    return results
