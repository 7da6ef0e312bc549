"""``$ORIGIN``, ``$LIB`` and ``$PLATFORM`` in search paths and in names of needed libraries.

The rules are finer than a search and replace. ``$ORIGINAL`` is no token, since a name goes
on as far as letters, digits and underscores do; ``${ORIGIN}x`` is one. What is no known
token stays as it is, dollar and all. A token that is known but has no value (``$PLATFORM``
on a CPU without) empties the whole path, which is then left out.

In a set-user-ID program ``$ORIGIN`` only counts at the start of a path, and only if what
comes out is below one of the system's own folders.

Source: glibc ``elf/dl-load.c``, ``is_dst`` and ``_dl_dst_substitute``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_TOKEN = re.compile(
    r"\$(?:\{(?P<curly>ORIGIN|PLATFORM|LIB)\}|(?P<plain>ORIGIN|PLATFORM|LIB)(?![A-Za-z0-9_]))"
)


def expand(text: str, values: Mapping[str, str], trusted: Sequence[str] | None = None) -> str:
    """Replace the tokens in one path; "" if it cannot be used.

    Args:
        text: the path.
        values: of each token; empty if it has none.
        trusted: the system's folders, if the program is set-user-ID.
    """
    if "$" not in text:
        return text
    unusable = False
    from_origin = False

    def replaced(match: re.Match[str]) -> str:
        nonlocal unusable, from_origin
        name = match["curly"] or match["plain"]
        if name == "ORIGIN":
            from_origin = True
            alone = match.start() == 0 and text[match.end() : match.end() + 1] in ("", "/")
            unusable |= trusted is not None and not alone
        unusable |= not values.get(name)
        return values.get(name, "")

    path = _TOKEN.sub(replaced, text)
    if unusable or (from_origin and trusted is not None and not _is_below(path, trusted)):
        return ""
    return path


def _is_below(path: str, folders: Sequence[str]) -> bool:
    """``is_trusted_path_normalize``: by name alone, without looking at links."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    normal = "/" + "/".join(parts) + "/"
    return any(normal.startswith(folder.rstrip("/") + "/") for folder in folders)
