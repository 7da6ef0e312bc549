"""Tables of a TOML file that somebody wrote: known keys, and values of the right kind.

Every key is checked: a misspelled one would otherwise promise nothing and say so to nobody.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

Kinds = Mapping[str, type | tuple[type, ...]]

_TYPES: dict[type, str] = {
    str: "text",
    bool: "true or false",
    list: "a list",
    dict: "a table",
    int: "a number",
}


def check(key: str, table: object, known: Kinds, fail: Callable[[str, str], NoReturn]) -> Any:
    """The table, if it is one and has known keys of the right kind only.

    Args:
        key: what it is called in its file; empty for the file itself.
        table: what was read.
        known: the keys that it may have, and the types of each.
        fail: raises, for what happened and a hint.
    """
    if not isinstance(table, dict):
        fail(f"{key} is not a table", f"write [{key}]")
    for name, value in table.items():
        full = f"{key}.{name}" if key else name
        if name not in known:
            fail(f"{full} means nothing", near(name, known, f"known: {', '.join(known)}"))
        kind = known[name]
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            wanted = " or ".join(_TYPES[one] for one in kinds)
            fail(f"{full} is {value!r}", f"give {wanted}")
    return table


def near(name: str, known: Iterable[str], otherwise: str) -> str:
    """A hint for a name that is not known."""
    found = difflib.get_close_matches(name, list(known), 3, 0.6)
    return f"near matches: {', '.join(found)}" if found else otherwise
