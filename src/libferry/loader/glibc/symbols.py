"""Symbols: whether somebody has each one that a library refers to.

A symbol is looked for in all libraries of the process that are in scope, in the order in
which they were loaded: first the program and what it needs, then, for a library that was
loaded later, that library and what that needs. Versions take part in this. A reference with
a version takes a definition with that version, or one without any. A reference without one,
from a library linked against something older, takes the first version that there ever was,
or the default one.

What is missing is an error when the library is loaded, if it is data or the library wants
all bound at once; functions are otherwise bound when they are first called, and then it is
the call that fails, hours later perhaps. Weak references are never missed.

To look up each of half a million references in thirty libraries would take minutes. But
that a library finds everything depends on it and its scope alone; with a larger scope it
still does. So what sufficed for it once is kept, and asked about first.

Source: glibc ``elf/dl-lookup.c``, ``check_match``, ``do_lookup_x`` and
``_dl_lookup_symbol_x``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from libferry.errors import BadBinary
from libferry.loader.glibc import rules
from libferry.loader.glibc.facts import DF_1_NOW, DF_BIND_NOW, Facts
from libferry.loader.glibc.mapping import Loaded
from libferry.loader.model import Problem

Wanted = tuple[str, str | None]


class Symbols:
    """The symbols of one file, as far as look-ups need them.

    Attributes:
        given: (name, version) of what can be found here, and whether it is the default.
        wanted: (name, version) of what is referred to and not weak, and whether lazily.
        first: the first version that the library ever had: also hidden, it is found by
            references without a version.
        sufficient: sets of files in which all that is wanted was found, before.
    """

    __slots__ = ("first", "given", "known", "names", "sufficient", "wanted")

    def __init__(self, facts: Facts) -> None:
        self.given: dict[Wanted, bool] = {}
        self.wanted: dict[Wanted, bool] = {}
        self.first: str | None = None
        self.sufficient: list[frozenset[int]] = []
        self.names: dict[str, list[tuple[str | None, bool]]] | None = None
        self.known = True
        if facts.view is None:
            given = facts.found.given
            self.known = given is not None and given.exports is not None
            if given is not None and given.exports is not None:
                self.given = {(name, None): True for name in given.exports}
            return
        try:
            self.given = facts.view.definitions
            self.wanted = {
                (one.name, one.version): one.lazy for one in facts.view.references if not one.weak
            }
            self.first = next(iter(facts.view.versions_given), None)
        except BadBinary:
            self.known = False

    def has(self, wanted: Wanted) -> bool:
        """Whether a reference binds to a definition here (``check_match``)."""
        if wanted in self.given:
            return True
        name, version = wanted
        if self.names is None:
            self.names = {}
            for (one, given), default in self.given.items():
                self.names.setdefault(one, []).append((given, default))
        there = self.names.get(name)
        if there is None:
            return False
        if version is not None:
            return any(given is None and default for given, default in there)
        return (
            any(given is None or given == self.first for given, _ in there)
            or sum(default for _, default in there) == 1
        )


def symbols_of(facts: Facts) -> Symbols:
    """The symbols of one file, read once."""
    if facts.symbols is None:
        facts.symbols = Symbols(facts)
    return facts.symbols


def check(new: Sequence[Loaded], scope: Sequence[Loaded], now: bool) -> list[Problem]:
    """What the new libraries refer to and nobody in scope has."""
    everyone = {id(one.facts): one.facts for one in scope}
    present = frozenset(everyone)
    tables = [symbols_of(facts) for facts in everyone.values()]
    problems: list[Problem] = []
    certain = all(table.known for table in tables)
    for one in new:
        mine = symbols_of(one.facts)
        if any(before <= present for before in mine.sufficient):
            continue
        missing = list(_missing(mine, tables))
        if not missing:
            mine.sufficient.append(present)
        elif certain:
            at_once = now or one.facts.flags & DF_BIND_NOW or one.facts.flags_1 & DF_1_NOW
            problems += (_problem(one, wanted, bool(at_once)) for wanted in missing)
    return problems


def _missing(mine: Symbols, tables: Sequence[Symbols]) -> Iterator[Wanted]:
    left = mine.wanted.keys() - mine.given.keys()
    for table in tables:
        if not left:
            return
        # of a dict, unlike of its keys, not all of the table is gone through
        left = left.difference(table.given)
    # few are left: those whose version is not written at the definition in the same way
    for wanted in mine.wanted:
        if wanted in left and not any(table.has(wanted) for table in tables):
            yield wanted


def _problem(one: Loaded, wanted: Wanted, now: bool) -> Problem:
    name, version = wanted
    message = f"{one.path}: undefined symbol: {name}"
    if version is not None:
        message += f", version {version}"
    if now or not symbols_of(one.facts).wanted[wanted]:
        return Problem("missing-symbol", one.path, name, message, "load", rules.SYMBOLS)
    return Problem("missing-symbol-later", one.path, name, message, "call", rules.SYMBOLS)
