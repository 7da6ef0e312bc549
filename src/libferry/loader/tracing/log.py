"""Read what glibc's loader writes when ``LD_DEBUG`` is set.

Each line begins with a process number, a colon and a tab; indentation says what belongs to
what. There is no specification: the texts are those of ``elf/dl-load.c``, ``dl-lookup.c``,
``dl-version.c``, ``dl-init.c`` and ``rtld.c``, the same from glibc 2.17 to 2.43 but for the
namespace in brackets, which some lines of some versions lack.

    file=libz.so.1 [0];  needed by ./prog [0]
    find library=libz.so.1 [0]; searching
     search cache=/etc/ld.so.cache
      trying file=/lib/x86_64-linux-gnu/libz.so.1

A log may have millions of lines, so it is given as events, one at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_LONGEST_LINE = 1 << 16  # a search path is one line
_TRIES_AT_MOST = 10_000  # of one library

_RELOCATION = "(relocation dependency)"
_LINE = re.compile(r"\s*(\d+):\t(.*)")
_ASKED = re.compile(r"file=(.*?)(?: \[\d+\])?;  (needed|dynamically loaded) by (.*?)(?: \[\d+\])?$")
_TRY = re.compile(r"  trying file=(.*)")
_MADE = re.compile(r"file=(.*?)(?: \[\d+\])?;  generating link map")
_INIT = re.compile(r"calling (pre)?init: (.*?)(?: \[\d+\])?$")
_GLOBAL = re.compile(r"add (.*?)(?: \[\d+\])? to global scope$")
_BOUND = re.compile(
    r"binding file (.*?)(?: \[\d+\])? to (.*?)(?: \[\d+\])?: "
    r"(normal|protected) symbol `(.*?)'(?: \[(.*)\])?$"
)


@dataclass
class Asked:
    """A library was asked for that was not loaded yet.

    Attributes:
        name: as it was asked for.
        by: whose need it is.
        dlopened: whether ``dlopen`` asked.
        tried: the files that were tried, in order.
        loaded: whether one of them was taken.
    """

    name: str
    by: str
    dlopened: bool
    tried: list[str] = field(default_factory=list)
    loaded: bool = False


@dataclass(frozen=True)
class Initialised:
    """A library's initialisers were called."""

    path: str


@dataclass(frozen=True)
class Bound:
    """A reference was bound to a definition."""

    user: str
    provider: str
    symbol: str
    version: str | None


@dataclass(frozen=True)
class MadeGlobal:
    """``dlopen`` gave a library's symbols to all."""

    path: str


@dataclass(frozen=True)
class Started:
    """All is loaded and the program gets control."""


Event = Asked | Initialised | Bound | MadeGlobal | Started


def events(lines: Iterable[str], process: int) -> Iterator[Event]:
    """What one process's loader did, in its order.

    An ``Asked`` is given when the next thing begins, since only then it is complete.
    """
    asked: Asked | None = None
    for line in lines:
        hit = _LINE.match(line[:_LONGEST_LINE])
        if hit is None or int(hit[1]) != process:
            continue
        text = hit[2]
        if tried := _TRY.match(text):
            if asked is not None and len(asked.tried) < _TRIES_AT_MOST:
                asked.tried.append(tried[1])
        elif _MADE.match(text):
            if asked is not None:
                asked.loaded = True
        elif text.endswith(_RELOCATION):
            continue  # what is there is kept as long as its user
        elif found := _ASKED.match(text):
            if asked is not None:
                yield asked
            asked = Asked(found[1], found[3], found[2] != "needed")
        elif event := _other(text):
            if asked is not None:
                yield asked
                asked = None
            yield event
    if asked is not None:
        yield asked


def _other(text: str) -> Event | None:
    if found := _BOUND.match(text):
        return Bound(found[1], found[2], found[4], found[5])
    if found := _GLOBAL.match(text):
        return MadeGlobal(found[1])
    if found := _INIT.match(text):
        return Initialised(found[2])
    return Started() if text.startswith("transferring control:") else None
