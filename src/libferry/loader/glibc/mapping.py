"""One process being filled: which file each name becomes, and in which order.

A library is in a process once. A name is first compared with all names that the loaded ones
are known by: the path of each, the names it was asked for by, and its soname. That is why
a library that bundles its own ``libz.so.1`` still gets the one that is there already. Only
then are files looked at, and a file that is loaded already (same device and inode) is again
the same library, which from now on has one name more.

What a library needs is loaded breadth first: all that the first needs, then all that those
need. This order is also the one in which symbols are searched. Filters (DT_FILTER,
DT_AUXILIARY) are put in front of the library that names them.

Source: glibc ``elf/dl-load.c``, ``_dl_lookup_map`` and ``_dl_map_object_from_fd``;
``elf/dl-deps.c``, ``_dl_map_object_deps``.
"""

from __future__ import annotations

from libferry.binary.elf.layout import DT_AUXILIARY, DT_NEEDED
from libferry.loader.glibc import rules, tokens
from libferry.loader.glibc.facts import DF_1_NODEFLIB, Facts
from libferry.loader.glibc.places import Located, Place, Places, Plan
from libferry.loader.glibc.refusals import refusal
from libferry.loader.model import Node, Problem, Step
from libferry.target.system import Found


class Loaded:
    """A library in a process: the rest of its ``struct link_map``.

    Attributes:
        node: where it was loaded.
        found, facts: the file.
        loader: who it was loaded for; None if by ``dlopen``.
        needs: what it needs, once that is loaded too (``mapped``).
        origin: what ``$ORIGIN`` stands for in it: the folder of its path, links and all.
        implicit: whether every process has it (the C library and the loader), and nobody
            has asked for it yet.
    """

    __slots__ = (
        "_chain",
        "_plan",
        "facts",
        "found",
        "implicit",
        "loader",
        "mapped",
        "needs",
        "node",
        "origin",
    )

    def __init__(self, node: Node, found: Found, facts: Facts, loader: Loaded | None) -> None:
        self.node = node
        self.found = found
        self.facts = facts
        self.loader = loader
        self.mapped = self.implicit = False
        self.needs: list[Loaded] = []
        self.origin = found.path.rpartition("/")[0] or "/"
        self._chain: tuple[Place, ...] | None = None
        self._plan: Plan | None = None

    @property
    def path(self) -> str:
        """Its path, by which messages call it."""
        return self.found.path

    def rpath(self, places: Places, program: Loaded | None) -> tuple[Place, ...]:
        """The RPATHs of this library and of those that loaded it."""
        # a chain of loaders can be longer than Python's stack is deep
        unknown: list[Loaded] = []
        one: Loaded | None = self
        while one is not None and one._chain is None:
            unknown.append(one)
            one = one.loader or (program if program is not one else None)
        chain = one._chain if one is not None and one._chain is not None else ()
        for one in reversed(unknown):
            if one.facts.rpath:
                source = f"RPATH of {one.path}"
                values = places.tokens(one.origin)
                chain = places.split(one.facts.rpath, values, source, "rpath") + chain
            one._chain = chain
        return chain

    def plan(self, places: Places, program: Loaded | None) -> Plan:
        """Where its needs are looked for."""
        if self._plan is None:
            runpath: tuple[Place, ...] = ()
            chain: tuple[Place, ...] = ()
            if self.facts.runpath is None:
                chain = self.rpath(places, program)
            elif self.facts.runpath:
                source = f"RUNPATH of {self.path}"
                values = places.tokens(self.origin)
                runpath = places.split(self.facts.runpath, values, source, "runpath")
            before = chain + places.environment + runpath
            self._plan = places.plan(before, bool(self.facts.flags_1 & DF_1_NODEFLIB))
        return self._plan


class Process:
    """What is loaded, and what is wrong with it.

    Attributes:
        places: where files are looked for.
        program: the main program, or None if there is only the C library.
        loaded: all, in the order in which they were loaded.
        problems: what failed.
        dlopened: whether what is loaded now is loaded by ``dlopen``.
    """

    def __init__(self, places: Places) -> None:
        self.places = places
        self.program: Loaded | None = None
        self.loaded: list[Loaded] = []
        self.problems: list[Problem] = []
        self.dlopened = False
        self._names: dict[str, Loaded] = {}
        self._files: dict[object, Loaded] = {}

    def known(self, name: str) -> Loaded | None:
        """The loaded library that goes by this name."""
        return self._names.get(name)

    def add(self, node: Node, found: Found, facts: Facts, loader: Loaded | None) -> Loaded:
        """Take a file into the process."""
        one = Loaded(node, found, facts, loader)
        node.state, node.found, node.binary = "loaded", found, facts.binary
        self.loaded.append(one)
        names = self._names
        names.setdefault(found.path, one)
        names.setdefault(node.name, one)
        if facts.soname is not None:
            names.setdefault(facts.soname, one)
        self._files.setdefault(found.identity, one)
        return one

    def load(self, node: Node, name: str, requester: Loaded | None) -> Loaded | None:
        """Load what ``requester`` asks for; None if that fails (``_dl_map_object``)."""
        one = self._names.get(name)
        if one is not None:
            if one.implicit:
                one.implicit = False
                node.state, node.how, node.tried = "loaded", one.node.how, one.node.tried
                one.node = node
            else:
                node.state, node.how = "again", "already loaded"
            node.found, node.binary = one.found, one.facts.binary
            return one
        if "/" in name:
            by = requester.path if requester else "dlopen"
            located = self.places.by_path(name, f"path, asked for by {by}")
        else:
            plan = (
                requester.plan(self.places, self.program)
                if requester
                else self.places.plan(self.places.environment)
            )
            located = self.places.search(name, plan)
        node.tried = located.tried  # of all who looked in the same places: not to be changed
        node.how = located.how
        if located.found is None or located.facts is None or located.verdict.fatal:
            self._failed(node, name, located, requester)
            return None
        one = self._files.get(located.found.identity)
        if one is not None:
            self._names[name] = one
            node.state, node.found, node.binary = "again", located.found, one.facts.binary
            node.how = f"{located.how}: the same file as {one.path}"
            return one
        problem = refusal(located.facts, located.found.path, name, self)
        if problem is not None:
            node.state, node.found, node.binary = "refused", located.found, located.facts.binary
            last = node.tried[-1]
            step = Step(last.path, last.source, "fatal", problem.message)
            node.tried = [*node.tried[:-1], step]
            self.problems.append(problem)
            return None
        return self.add(node, located.found, located.facts, requester)

    def _failed(self, node: Node, name: str, located: Located, requester: Loaded | None) -> None:
        verdict = located.verdict
        library = requester.path if requester else node.name
        if verdict.fatal:
            node.state, node.found = "refused", located.found
            path = located.tried[-1].path
            self.problems.append(
                Problem(verdict.id, path, name, f"{path}: {verdict.fatal}", "load", verdict.source)
            )
            return
        complete = self.places.system.complete or verdict.id != "missing-library"
        node.state = "missing" if complete else "unknown"
        self.problems.append(
            Problem(
                verdict.id,
                library,
                name,
                f"{name}: {verdict.skip}",
                "load" if complete else "maybe",
                rules.SEARCH,
            )
        )

    def needs_of(self, root: Loaded, preloads: list[Loaded]) -> list[Loaded]:
        """Load all that ``root`` needs; give them in the order of symbol search."""
        order = [root, *preloads]
        listed = {id(one) for one in order}
        done: set[int] = set()
        at = 0
        while at < len(order):
            one = order[at]
            if id(one) in done:
                at += 1
                continue
            done.add(id(one))
            if one.mapped:
                for known in one.needs:
                    if id(known) not in listed:
                        listed.add(id(known))
                        order.append(known)
                continue
            one.mapped = True
            here = at
            for tag, name in one.facts.needs:
                node = Node(name, one.node)
                wanted, problem = self._token(one, name)
                optional = tag == DT_AUXILIARY
                dependency: Loaded | None = None
                before = len(self.problems)
                if problem is None:
                    dependency = self.load(node, wanted, one)
                else:
                    node.state = "ignored" if optional else "refused"
                    node.tried.append(Step(name, f"needed by {one.path}", "fatal", problem.message))
                    self.problems.append(problem)
                one.node.needs.append(node)
                if dependency is None:
                    if optional:
                        node.state = "ignored"
                        del self.problems[before:]
                    continue
                one.needs.append(dependency)
                if tag == DT_NEEDED:
                    if id(dependency) not in listed:
                        listed.add(id(dependency))
                        order.append(dependency)
                elif id(dependency) not in listed:
                    listed.add(id(dependency))
                    order.insert(here, dependency)
                    here += 1
                elif dependency in order[here:]:
                    order.remove(dependency)
                    order.insert(here, dependency)
                    here += 1
        return order

    def _token(self, one: Loaded, name: str) -> tuple[str, Problem | None]:
        """Tokens in a needed name (``expand_dst`` in elf/dl-deps.c)."""
        if "$" not in name:
            return name, None
        values = self.places.tokens(one.origin)
        wanted = tokens.expand(name, values)
        words = ""
        if wanted != name and self.places.options.secure:
            words = "DST not allowed in SUID/SGID programs"
        elif not wanted:
            words = "empty dynamic string token substitution"
        if not words:
            return wanted, None
        message = f"{name}: {words}"
        return name, Problem("unresolved-token", one.path, name, message, "load", rules.TOKENS)
