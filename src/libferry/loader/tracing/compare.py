"""What the loader did beside what was predicted, line by line.

Three things have an order that matters: where each library was looked for, which library
gave each symbol, and whose initialisers ran first. All are compared as they come, so that
nothing of a long log has to be kept but the differences.

Two things are no differences. glibc tries each folder once before it knows that there is
none of that name, and we ask that first; so tries in folders that do not exist are left
out. And ``dlsym`` looks in what its caller names, so what a library does not refer to
itself is not compared.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from libferry.binary.elf.view import ElfView
from libferry.loader.glibc.starting import places_of
from libferry.loader.glibc.symbols import Symbols, symbols_of
from libferry.loader.model import Node, Options, Resolution
from libferry.loader.tracing.log import Asked, Bound, Event, Initialised, MadeGlobal, Started
from libferry.target.system import System

DIFFERENCES_AT_MOST = 1000
CACHE = "/etc/ld.so.cache"

Dlopen = Callable[[str, str], tuple[Node, Resolution | None]]
"""Predicts ``dlopen`` of a name by a library: where it is looked for, and what follows."""


@dataclass(frozen=True)
class Difference:
    """One thing that was otherwise.

    Attributes:
        what: ``search``, ``load``, ``initialiser`` or ``binding``.
        about: the library or symbol.
        predicted, seen: in words.
    """

    what: str
    about: str
    predicted: str
    seen: str


@dataclass
class Comparison:
    """What came of it.

    Attributes:
        libraries, initialisers, bindings: how many of each were compared.
        skipped: bindings that nothing was predicted for: by ``dlsym``, or to what the
            kernel gives.
        differences: the first thousand.
        more: how many there were beyond those.
    """

    libraries: int = 0
    initialisers: int = 0
    bindings: int = 0
    skipped: int = 0
    differences: list[Difference] = field(default_factory=list)
    more: int = 0

    def differs(self, what: str, about: str, predicted: str, seen: str) -> None:
        """Note a difference."""
        if len(self.differences) < DIFFERENCES_AT_MOST:
            self.differences.append(Difference(what, about, predicted, seen))
        else:
            self.more += 1


class Comparer:
    """Takes events of one process, and compares them."""

    def __init__(
        self, program: Resolution, system: System, options: Options, dlopen: Dlopen
    ) -> None:
        self.result = Comparison()
        self._system, self._dlopen = system, dlopen
        self._places = places_of(system, options, program.root.path)
        self._searches = deque(_searches(program))
        self._starts = dict(_initialisers(program))
        self._scope: list[Node] = [node for node in program.order if node.found is not None]
        # what each dlopen loaded, with what was there before
        self._local: list[tuple[Node, ...]] = []
        self._symbols: dict[str, Symbols] = {}
        self._running = False

    def take(self, event: Event) -> None:
        """Compare the next event."""
        if isinstance(event, Asked):
            self._asked(event)
        elif isinstance(event, Bound):
            self._bound(event)
        elif isinstance(event, Initialised):
            self._initialised(event)
        elif isinstance(event, MadeGlobal):
            self._made_global(event)
        elif isinstance(event, Started):
            self._started()

    def _made_global(self, event: MadeGlobal) -> None:
        """``dlopen`` was called with RTLD_GLOBAL, which nobody can predict."""
        whose = self._identity_of(event.path)
        for scope in self._local:
            for node in scope:
                if _identity(node) == whose:
                    self._scope.append(node)
                    return

    def _started(self) -> None:
        self._running = True
        for node in self._searches:
            self.result.differs("load", node.name, f"{node.path} is loaded", "it was not")
        self._rest_of_initialisers()
        self._searches.clear()

    def finish(self) -> Comparison:
        """The result, after the last event."""
        self._rest_of_initialisers()
        return self.result

    def _rest_of_initialisers(self) -> None:
        for path, has_any in self._starts.items():
            if has_any:
                self.result.differs("initialiser", path, "it is called", "it was not")
        self._starts = {}

    # ---- searches ----

    def _asked(self, event: Asked) -> None:
        if event.dlopened:
            self._rest_of_initialisers()
            self._dlopened(event)
        self.result.libraries += 1
        if not self._searches:
            self.result.differs("load", event.name, "it is not asked for", f"by {event.by}")
            return
        node = self._searches.popleft()
        if node.name != event.name:
            self.result.differs("load", event.name, f"{node.name} is asked for", event.name)
            # what comes later than predicted is looked for there
            if any(other.name == event.name for other in self._searches):
                while node.name != event.name:
                    node = self._searches.popleft()
            else:
                self._searches.appendleft(node)
                return
        tried = [path for path in event.tried if os.path.isdir(os.path.dirname(path) or ".")]
        expected = [
            step.path
            for step in node.tried
            if step.path != CACHE and not (step.outcome == "missing" and "folder" in step.reason)
        ]
        if "/" in event.name:
            expected = []  # a path is opened, and not searched
        if tried != expected:
            self.result.differs("search", event.name, _listed(expected), _listed(tried))
        elif event.loaded != (node.state == "loaded"):
            seen = "loaded" if event.loaded else "refused or not found"
            self.result.differs("load", event.name, node.state, seen)

    def _dlopened(self, event: Asked) -> None:
        """Predict what this dlopen loads, in the process as it was started."""
        for node in self._searches:
            self.result.differs("load", node.name, "it is asked for", "it was not")
        loaded = [*self._scope, *(node for scope in self._local for node in scope)]
        there = {_identity(node) for node in loaded}
        known = {name for node in loaded for name in _names(node)}
        root, resolution = self._dlopen(event.name, event.by)
        self._searches = deque([root])
        if resolution is None:
            return
        self._searches += (
            node
            for node in _searches(resolution)
            if not known & _names(node) and _identity(node) not in there
        )
        order = [node for node in resolution.order if _identity(node) not in there]
        new = {node.path for node in order}
        self._local.append(resolution.order)
        self._starts = {path: has for path, has in _initialisers(resolution) if path in new}

    # ---- initialisers ----

    def _initialised(self, event: Initialised) -> None:
        self.result.initialisers += 1
        if event.path not in self._starts:
            # the loader's own come first, and nobody predicts them
            if event.path != self._system.target.interpreter:
                self.result.differs("initialiser", event.path, "it is not due", "it was called")
            return
        due = next(path for path, has in self._starts.items() if has or path == event.path)
        if due != event.path:
            self.result.differs("initialiser", event.path, f"{due} is next", event.path)
        for path in list(self._starts):
            if path == event.path:
                break
            if due == event.path:
                del self._starts[path]  # it has none, and was passed over
        del self._starts[event.path]

    # ---- bindings ----

    def _bound(self, event: Bound) -> None:
        user = self._table(event.user)
        wanted = (event.symbol, event.version)
        if user is None or (wanted not in user.wanted and (event.symbol, None) not in user.wanted):
            self.result.skipped += 1
            return
        self.result.bindings += 1
        for node in self._candidates(event.user):
            table = self._table(node.path)
            if table is not None and table.has(wanted):
                if node.path == event.provider or self._same(node.path, event.provider):
                    return
                if node is self._scope[0] and event.user == node.path:
                    continue  # copied into the program: it is looked for behind it
                self.result.differs("binding", _symbol(event), node.path, event.provider)
                return
        self.result.differs("binding", _symbol(event), "nobody has it", event.provider)

    def _candidates(self, user: str) -> Iterator[Node]:
        whose = self._identity_of(user)
        own = [scope for scope in self._local if any(_identity(node) == whose for node in scope)]
        for node in (*self._scope, *(node for scope in own for node in scope)):
            if _identity(node) == whose and node.binary is not None:
                view = node.binary.view
                if isinstance(view, ElfView) and "SYMBOLIC" in view.flags:
                    yield node
                break
        yield from self._scope
        for scope in own:
            yield from scope

    def _identity_of(self, path: str) -> object:
        found = self._system.find(os.path.abspath(path)) if path else None
        return path if found is None else found.identity

    def _same(self, one: str, other: str) -> bool:
        return self._identity_of(one) == self._identity_of(other)

    def _table(self, path: str) -> Symbols | None:
        table = self._symbols.get(path)
        if table is None:
            found = self._system.find(os.path.abspath(path)) if path else None
            if found is None:
                return None
            table = self._symbols[path] = symbols_of(self._places.facts(found))
        return table


def _names(node: Node) -> set[str]:
    soname = node.binary.soname if node.binary is not None else None
    return {name for name in (node.name, node.path, soname) if name}


def _identity(node: Node) -> object:
    """What tells files apart: the same one may go by several paths."""
    return node.found.identity if node.found is not None else node.path


def _searches(resolution: Resolution) -> Iterator[Node]:
    """The libraries that the loader asks for, in its order: preloads, then breadth first."""
    if resolution.root.how == "program":
        yield from (node for node in resolution.scope if node.state == "loaded")
    for one in resolution.order:
        yield from (node for node in one.needs if node.tried and node.state != "again")


def _initialisers(resolution: Resolution) -> Iterator[tuple[str, bool]]:
    """Each library, and whether it has any: newer glibcs also name those that have none.

    The program's own are called by its own code.
    """
    for node in resolution.initialisers:
        if node is resolution.root and node.how == "program":
            continue
        view = node.binary.view if node.binary is not None else None
        if isinstance(view, ElfView):
            yield node.path, view.initialisers.init or bool(view.initialisers.init_array)


def _symbol(event: Bound) -> str:
    version = f"@{event.version}" if event.version else ""
    return f"{event.symbol}{version} of {event.user}"


def _listed(paths: Iterable[str]) -> str:
    return ", ".join(paths) or "no file is tried"
