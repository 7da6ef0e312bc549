"""Loading: from a program or a library to all that it needs.

dyld keeps one list of what is loaded. Before it looks at any path it asks that list: by
the path, by the install name, and for a file by its inode. So a library that is there
already, from wherever, is taken even if an LC_RPATH leads to another one of its name.

First all libraries that an image asks for are loaded, then in their order what each of
them asks for (dyld-1378, ``dyld/JustInTimeLoader.cpp``, loadDependents).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from libferry.binary.macho.view import Linked
from libferry.binary.model import Binary
from libferry.errors import BadBinary
from libferry.loader.dyld import messages
from libferry.loader.dyld.admission import Refusal, admit
from libferry.loader.dyld.paths import Candidate, Link, Request, candidates, folder_of, join
from libferry.loader.dyld.process import Process, view_of
from libferry.loader.dyld.rules import (
    CACHED_FOLDERS,
    COMPATIBILITY_COUNTS_BEFORE,
    CRYPTEX,
    FALLS_BACK_BEFORE,
    source_of,
)
from libferry.loader.model import Node, Problem, Step
from libferry.target.system import Found, System

# A thousand libraries with twenty folders each try a fifth of that.
PLACES_AT_MOST = 100_000


@dataclass(eq=False)
class Image:
    """Something loaded.

    Attributes:
        node: how it was found.
        path: without links; of a cached library, its install name.
        binary: the slice that is used; None for one that is only in the shared cache.
        needs: what it asks for, with what was loaded for that.
    """

    node: Node
    path: str
    binary: Binary | None
    needs: list[tuple[Linked, Image | None]] = field(default_factory=list)

    @property
    def link(self) -> Link:
        """What it adds to the chain of those that ask."""
        return Link(self.path, self.binary.rpath if self.binary is not None else ())

    @property
    def falls_back(self) -> bool:
        """Whether it is old enough for the default fallback folders: pre2022Binary."""
        if self.binary is None:
            return False
        platforms = view_of(self.binary).platforms
        return not platforms or platforms[0].sdk < FALLS_BACK_BEFORE


class Loading:
    """What is loaded into one process, and what went wrong."""

    def __init__(self, system: System, process: Process) -> None:
        self.system = system
        self.process = process
        self.loaded: list[Image] = []
        self.problems: list[Problem] = []
        self._damaged: set[str] = set()
        self._places = 0
        self._by_name: dict[str, Image] = {}
        self._by_identity: dict[object, Image] = {}

    def add(self, node: Node, found: Found, binary: Binary) -> Image:
        """Take a file as loaded."""
        node.state, node.found, node.binary = "loaded", found, binary
        image = Image(node, found.real, binary)
        self._by_identity[found.identity] = image
        return self._keep(image, binary.soname)

    def same_file(self, found: Found) -> Image | None:
        """What was loaded from a file, by whatever path."""
        return self._by_identity.get(found.identity)

    def _keep(self, image: Image, install_name: str | None) -> Image:
        self.loaded.append(image)
        self._by_name.setdefault(image.path, image)
        if install_name:
            self._by_name.setdefault(install_name, image)
        return image

    def load_needs(self, image: Image, chain: tuple[Link, ...]) -> None:
        """Load what an image asks for, and so on down. ``chain`` is of those above it."""
        waiting = [(image, chain)]
        while waiting:
            image, chain = waiting.pop()
            chain = (image.link, *chain)
            fresh = self._load_direct_needs(image, chain)
            waiting += [(one, chain) for one in reversed(fresh)]

    def _load_direct_needs(self, image: Image, chain: tuple[Link, ...]) -> list[Image]:
        fresh: list[Image] = []
        try:
            wanted = view_of(image.binary).linked if image.binary is not None else ()
        except BadBinary as error:
            self.damaged(image, error)
            return []
        for linked in wanted:
            node = Node(linked.name, image.node)
            image.node.needs.append(node)
            if linked.lazy and not self.process.release.checks_compatibility:
                node.state, node.how = "ignored", "LC_LAZY_LOAD_DYLIB, which dyld does not know"
                continue
            request = Request(linked.name, chain, falls_back=image.falls_back)
            there, is_new = self.load(node, request, linked)
            image.needs.append((linked, there))
            if there is not None and is_new:
                fresh.append(there)
        return fresh

    def load(
        self, node: Node, request: Request, linked: Linked | None = None
    ) -> tuple[Image | None, bool]:
        """Find one library; give it, and whether it is new."""
        there = self._loaded_as(request)
        if there is not None:
            return self._again(node, there, "already loaded"), False
        refusals: list[Refusal] = []
        uncertain = False
        seen: set[tuple[str, bool]] = set()
        for candidate in candidates(request, self.process):
            if (candidate.path, candidate.on_disk) in seen:
                continue
            self._charge(node)
            seen.add((candidate.path, candidate.on_disk))
            uncertain = uncertain or self._is_uncertain(candidate)
            image, is_new = self._try(node, candidate, request, refusals)
            if image is not None:
                if linked is not None:
                    self._check_version(image, linked, node)
                return image, is_new
        self._failed(node, request, linked, refusals, uncertain)
        return None, False

    def _charge(self, node: Node) -> None:
        """Each library in each folder: that can be the square of a file's size."""
        self._places += 1
        if self._places > PLACES_AT_MOST:
            path = messages.real_path(node.requester or node)
            raise BadBinary(
                f"find what {path} needs",
                f"more than {PLACES_AT_MOST} places would have to be tried",
                hint="no linker makes such a file: treat it as hostile",
            )

    def _loaded_as(self, request: Request) -> Image | None:
        name = request.name
        if name.startswith(("/", "@rpath/")):
            return self._by_name.get(self.process.cache.canonical(name) or name)
        if not request.linked and "/" not in name:
            # dyld-1066.10, testing/test-cases/dlopen-rpath-implicit-loaded
            return self._by_name.get(f"@rpath/{name}")
        return None

    def _again(self, node: Node, image: Image, how: str) -> Image:
        node.state, node.found, node.binary = "again", image.node.found, image.binary
        node.how = how
        if not node.tried or node.tried[-1].outcome != "found":
            node.tried.append(Step(image.path, how, "found"))
        return image

    def _try(
        self, node: Node, candidate: Candidate, request: Request, refusals: list[Refusal]
    ) -> tuple[Image | None, bool]:
        path, source = candidate.path, candidate.source
        if not candidate.known:
            node.tried.append(Step(path, source, "missing", "the program is not known"))
            return None, False
        if not path.startswith("/"):
            if not self.process.relative:
                reason = "relative path not allowed in hardened program"
                node.tried.append(Step(path, source, "skipped", reason))
                return None, False
            if path.startswith("@"):
                node.tried.append(Step(path, source, "missing"))
                return None, False
            path = join(self.process.working_directory, path)
        there = self._by_name.get(path)
        if there is not None:
            return self._again(node, there, f"{source}: already loaded"), False
        cached = self.process.cache.canonical(path.removeprefix(CRYPTEX))
        if cached is not None:
            # What is in the cache is nowhere else: looking for a file says nothing new.
            if candidate.on_disk:
                return None, False
            return self._from_cache(node, cached, source)
        found = self.system.find(path)
        if found is None:
            self._missing(node, candidate)
            return None, False
        there = self.same_file(found)
        if there is not None:
            return self._again(node, there, f"{source}: the same file"), False
        if found.file is None:  # a library that the target is known to have
            return self._described(node, found, source), True
        return self._from_file(node, found, candidate, request, refusals)

    def _missing(self, node: Node, candidate: Candidate) -> None:
        step = Step(candidate.path, candidate.source, "missing", messages.NO_SUCH_FILE)
        if not node.tried or node.tried[-1].path != step.path:
            node.tried.append(step)

    def _from_cache(self, node: Node, name: str, source: str) -> tuple[Image, bool]:
        there = self._by_name.get(name)
        if there is not None:
            return self._again(node, there, "shared cache: already loaded"), False
        node.state, node.how = "loaded", "shared cache"
        node.found = Found(name, name, ("shared cache", name), None)
        node.tried.append(Step(name, f"{source}: shared cache", "found"))
        return self._keep(Image(node, name, None), name), True

    def _described(self, node: Node, found: Found, source: str) -> Image:
        node.state, node.how, node.found = "loaded", source, found
        node.tried.append(Step(found.path, source, "found"))
        image = Image(node, found.real, None)
        self._by_identity[found.identity] = image
        return self._keep(image, found.given.name if found.given else None)

    def _from_file(
        self,
        node: Node,
        found: Found,
        candidate: Candidate,
        request: Request,
        refusals: list[Refusal],
    ) -> tuple[Image | None, bool]:
        try:
            binary, refusal = admit(self.system.read(found), found.real, request, self.process)
        except BadBinary as error:
            binary, refusal = (
                None,
                Refusal("truncated", f"not a whole mach-o file: {error.happened}"),
            )
        if refusal is not None or binary is None:
            refusal = refusal or Refusal("not-a-library", "slice is not valid mach-o file")
            refusals.append(refusal)
            node.found, node.binary = found, binary
            node.tried.append(Step(candidate.path, candidate.source, "skipped", refusal.reason))
            return None, False
        node.how = candidate.source
        node.tried.append(Step(candidate.path, candidate.source, "found"))
        return self.add(node, found, binary), True

    def _is_uncertain(self, candidate: Candidate) -> bool:
        """Whether a place of which not all is known may have the library."""
        path = candidate.path
        if not candidate.known or candidate.on_disk or not path.startswith("/"):
            return not candidate.known
        if "fallback" in candidate.source:
            return False
        if path.startswith(CACHED_FOLDERS):
            return True
        return not self.system.complete and not self.system.is_directory(folder_of(path))

    def _failed(
        self,
        node: Node,
        request: Request,
        linked: Linked | None,
        refusals: list[Refusal],
        uncertain: bool,
    ) -> None:
        if linked is not None and linked.weak and not linked.reexport:
            node.state, node.how = "ignored", "weak"
            return
        certain = bool(refusals) or not uncertain
        node.state = "refused" if refusals else "missing" if certain else "unknown"
        reason = messages.reason_of(node.tried, self.process, request.name)
        asker = node.requester
        message = reason
        if asker is not None:
            message = messages.not_loaded(request.name, asker, reason, self.process)
        rule = refusals[0].rule if refusals else "missing-library"
        rpaths = any(link.rpaths for link in request.chain)
        if not refusals and request.name.startswith("@rpath/") and not rpaths:
            rule = "missing-rpath"
        self.problem(rule, asker or node, request.name, message, certain=certain)

    def _check_version(self, image: Image, linked: Linked, node: Node) -> None:
        if not self.process.release.checks_compatibility or image.binary is None:
            return
        view = view_of(image.binary)
        if view.versions is None or linked.compatibility <= view.versions[1]:
            return
        if view.platforms and view.platforms[0].minimum >= COMPATIBILITY_COUNTS_BEFORE:
            return
        asker = messages.real_path(node.requester or node).rpartition("/")[2]
        leaf = image.path.rpartition("/")[2]
        words = messages.incompatible_version(asker, linked.compatibility, leaf, view.versions[1])
        self.problem("incompatible-version", node.requester or node, linked.name, words)

    def damaged(self, image: Image, error: BadBinary) -> None:
        """Note that a file that was taken is not sound further in."""
        if image.path not in self._damaged:
            self._damaged.add(image.path)
            self.problem("truncated", image.node, image.path, error.happened)

    def problem(
        self, rule: str, node: Node, subject: str, message: str, *, certain: bool = True
    ) -> None:
        """Note that something is wrong, surely or perhaps."""
        when: Literal["load", "maybe"] = "load" if certain else "maybe"
        source = source_of(rule, self.process.release)
        path = messages.real_path(node)
        self.problems.append(Problem(rule, path, subject, message, when, source))
