"""How a process fills under musl: ``ldso/dynlink.c``, load_library and load_deps.

A library is the one already there if a search found that name before (not its soname,
which musl does not read), or if it is the same file by device and inode. Names such as
``libc.so.6`` and ``libpthread.so.0`` are musl itself. What is loaded goes to the end of one
list, and the libraries that each needs are loaded in the order of that list.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from libferry.binary.elf.symbols import Symbol
from libferry.binary.elf.view import ElfView
from libferry.binary.model import Binary
from libferry.errors import BadBinary
from libferry.loader.model import Node, Options, Problem, Step
from libferry.loader.musl import rules
from libferry.loader.musl.places import Places, expand
from libferry.target.system import Found, System

Names = frozenset[str]
When = Literal["load", "call", "maybe"]


class Dso:
    """One library of the process: musl's ``struct dso``.

    Attributes:
        node: where it was first asked for.
        name: the path by which it was found, or the program's name.
        binary: what it says; None for musl itself, and for what is only described.
        needed_by: who asked for it first; its search path counts for this one, too.
        shortname: its file's name if a search found it, so that the name is enough later.
        direct: what it needs itself; None until that has been loaded.
        startup: whether it was there when the program started: its thread-local storage
            has a fixed place then.
    """

    def __init__(self, node: Node, name: str, needed_by: Dso | None) -> None:
        self.node = node
        self.name = name
        self.binary: Binary | None = node.binary
        self.found = node.found
        self.needed_by = needed_by
        self.shortname = ""
        self.direct: list[Dso] | None = None
        self.startup = True

    @property
    def view(self) -> ElfView | None:
        """The file's own view, if it is here."""
        view = self.binary.view if self.binary is not None else None
        return view if isinstance(view, ElfView) else None

    def rpath(self, *, secure: bool, program: bool) -> tuple[str, str] | None:
        """Its list of folders, and what that comes from.

        DT_RUNPATH replaces DT_RPATH (decode_dyn). In a set-user-ID program, a list with
        $ORIGIN is void: the path of the program is its user's choice (fixup_rpath).
        """
        if self.binary is None:
            return None
        kind = "RUNPATH" if self.binary.runpath else "RPATH"
        text = ":".join(self.binary.runpath or self.binary.rpath)
        folders = None if secure and program and "$" in text else text
        expanded = expand(folders, self.name, secure=secure) if folders else None
        return None if expanded is None else (expanded, f"{kind} of {self.name}")


class Refused(NamedTuple):
    """Why a file is no library to musl."""

    id: str
    words: str


class Process:
    """A process while libraries are loaded into it.

    Attributes:
        order: all libraries, in the order in which symbols are searched; the program, if
            there is one, is first.
        itself: musl, once somebody has asked for it; in ``order`` from then on.
        problems: what was reported on the way.
    """

    def __init__(self, places: Places, options: Options, known: dict[object, Names]) -> None:
        self.places = places
        self.system: System = places.system
        self.target = places.system.target
        self.order: list[Dso] = []
        self.itself: Dso | None = None
        self.problems: list[Problem] = []
        self.running = False
        self._options = options
        self._known = known

    # ---- one library -----------------------------------------------------------------

    def load(
        self, name: str, needed_by: Dso | None, requester: Node | None
    ) -> tuple[Node, Dso | None]:
        """Load a library by a name or path: load_library."""
        node = Node(name, requester=requester)
        if not name:
            self._missing(node, needed_by, rules.NO_NAME)
            return node, None
        if rules.is_reserved(name) or name == self.target.interpreter:
            return node, self._musl(node)
        path = name
        if "/" in name:
            found = self.places.open(name)
            if found is None and not self.places.is_directory(name):
                node.tried.append(Step(name, "path", "missing"))
                self._missing(node, needed_by, rules.MISSING)
                return node, None
            node.tried.append(Step(name, "path", "found"))
        else:
            for dso in self.order[1:]:
                if dso.shortname == name:
                    return self._again(node, dso, "already loaded"), dso
            searched = self._search(name, needed_by, node)
            if searched is None:
                self._missing(node, needed_by, rules.MISSING)
                return node, None
            path, found = searched, self.places.open(searched)
        return node, self._take(node, path, found, needed_by)

    def _search(self, name: str, needed_by: Dso | None, node: Node) -> str | None:
        if len(name.encode()) > rules.LONGEST_NAME:
            return None
        for folders, source in self.places.lists(self._rpaths(needed_by)):
            if (path := self.places.search(name, folders, source, node.tried)) is not None:
                node.how = source
                return path
        return None

    def _rpaths(self, dso: Dso | None) -> Iterator[tuple[str, str]]:
        while dso is not None:
            rpath = dso.rpath(secure=self._options.secure, program=dso is self.order[0])
            if rpath is not None:
                yield rpath
            dso = dso.needed_by

    def _musl(self, node: Node) -> Dso:
        """The loader itself, which is the C library: under any of its names."""
        if self.itself is not None:
            self._again(node, self.itself, "musl itself")
            return self.itself
        path = self.target.interpreter or node.name
        node.found = self.system.find(path)
        node.state, node.how = "loaded", "musl itself"
        node.binary = self._read(node.found)
        self.itself = Dso(node, path, None)
        self.itself.direct = []
        self.order.append(self.itself)
        return self.itself

    def _read(self, found: Found | None) -> Binary | None:
        try:
            return self.system.read(found) if found is not None else None
        except BadBinary:
            return None

    def _again(self, node: Node, dso: Dso, how: str) -> Node:
        node.state, node.found, node.binary, node.how = "again", dso.found, dso.binary, how
        return node

    def _take(
        self, node: Node, path: str, found: Found | None, needed_by: Dso | None
    ) -> Dso | None:
        by_search = path != node.name
        node.how = node.how or "path"
        if found is None:
            self._refuse(node, needed_by, Refused("not-a-library", rules.A_FOLDER))
            return None
        for dso in self.order[1:]:
            if dso.found is not None and dso.found.identity == found.identity:
                if by_search and not dso.shortname:
                    # of the path that was first, not of the one that was found now
                    dso.shortname = dso.name.rpartition("/")[2]
                self._again(node, dso, "already loaded: the same file")
                return dso
        node.found = Found(path, found.real, found.identity, found.file, found.given)
        refused = None
        if found.file is not None:
            try:
                node.binary = self.system.read(found)
                refused = self._refusal(node.binary)
            except BadBinary as error:
                refused = Refused("truncated" if "end" in error.happened else "not-a-library", "")
        if refused is not None:
            self._refuse(node, needed_by, refused)
            return None
        if rules.SECOND_LIBC.holds(self.target.version) and self.names(
            found, node.binary
        ).issuperset(rules.OF_A_LIBC):
            node.binary = None
            return self._musl(node)
        node.state = "loaded"
        dso = Dso(node, path, needed_by)
        dso.startup = not self.running
        if by_search:
            dso.shortname = path.rpartition("/")[2]
        self.order.append(dso)
        return dso

    def _refusal(self, binary: Binary) -> Refused | None:
        """What map_library does not take: it reads e_type, and looks for PT_DYNAMIC."""
        target = self.target
        view = binary.view
        if binary.endian != target.endian:
            return Refused("wrong-endianness", "")
        if binary.bits != target.bits:
            return Refused("wrong-class", "")
        if binary.kind == "object" or not isinstance(view, ElfView) or not view.headers.tags:
            return Refused("not-a-library", "")
        return None

    # ---- what it says when it fails ----------------------------------------------------

    def _missing(self, node: Node, needed_by: Dso | None, words: str) -> None:
        known = self.system.complete or words != rules.MISSING or is_glibcs_loader(node.name)
        node.state = "missing" if known else "unknown"
        id = "glibc-on-musl" if is_glibcs_loader(node.name) else "missing-library"
        self._report(id, node, needed_by, words, "load" if known else "maybe", rules.SEARCH)

    def _refuse(self, node: Node, needed_by: Dso | None, refused: Refused) -> None:
        node.state = "refused"
        words = refused.words or rules.NO_LIBRARY
        if node.tried:
            last = node.tried[-1]
            node.tried[-1] = Step(last.path, last.source, "fatal", words)
        self._report(refused.id, node, needed_by, words, "load", rules.MAP)

    def _report(
        self, id: str, node: Node, needed_by: Dso | None, words: str, when: When, source: str
    ) -> None:
        asked = f" (needed by {needed_by.name})" if node.requester and needed_by else ""
        message = f"Error loading shared library {node.name}: {words}{asked}"
        library = needed_by.name if needed_by is not None else node.name
        self.problems.append(Problem(id, library, node.name, message, when, source))

    # ---- all that it needs -------------------------------------------------------------

    def load_needs(self, first: Dso) -> None:
        """Load what is needed from one library on, to the end of the list: load_deps."""
        position = self.order.index(first)
        while position < len(self.order):
            self._load_direct(self.order[position])
            position += 1

    def _load_direct(self, dso: Dso) -> None:
        if dso.direct is not None:
            return
        # what is preloaded counts as needed by the program
        dso.direct = self.order[1:] if dso is self.order[0] and not self.running else []
        for name in dso.binary.needed if dso.binary is not None else ():
            node, needed = self.load(name, dso, dso.node)
            dso.node.needs.append(node)
            if needed is not None:
                dso.direct.append(needed)

    # ---- what it offers ----------------------------------------------------------------

    def names(self, found: Found | None, binary: Binary | None) -> Names:
        """The names that a library answers to; see ``offered``."""
        if found is None:
            return frozenset()
        names = self._known.get(found.identity)
        if names is None:
            view = binary.view if binary is not None else None
            if isinstance(view, ElfView):
                names = offered(view)
            else:
                names = (found.given.exports if found.given else None) or frozenset()
            self._known[found.identity] = names
        return names

    def names_of(self, dso: Dso) -> Names:
        """The names that a loaded library answers to."""
        return self.names(dso.found, dso.binary)


def offered(view: ElfView) -> Names:
    """The names that can be found in a library: find_sym2.

    Versions do not matter, but an old one (``name@version``) is never found; and neither is
    a symbol of GNU's type IFUNC, which chooses its implementation when it is bound. What
    the linker calls hidden is found.
    """
    return frozenset(symbol.name for symbol in view.symbols if is_found(symbol))


def is_found(symbol: Symbol) -> bool:
    """Whether a symbol of a library is one that others can find."""
    return (
        symbol.defined
        and not symbol.hidden
        and symbol.kind not in ("", "ifunc")
        and (symbol.address != 0 or symbol.kind == "tls")
    )


def is_glibcs_loader(name: str) -> bool:
    """Whether a name is glibc's loader, which nothing on a musl system is."""
    return name.rpartition("/")[2].startswith(("ld-linux", "ld.so.1", "ld64.so"))
