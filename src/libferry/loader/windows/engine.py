"""Load as Windows' loader does: find each DLL, then what it needs, then bind.

A DLL is found by its name alone: the first module of that name that is in the process
is taken, wherever it came from. Only then come the tables (API sets, manifests, KnownDLLs)
and last the folders. What a DLL needs is searched for from the same folders as the DLL,
which are those of the program: that a DLL lies beside another helps only if the call asked
for it (``LOAD_WITH_ALTERED_SEARCH_PATH``, ``LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR``).

A file of another CPU is passed over, and the search goes on; only if no other is found
does it end in error 193 instead of 126. Microsoft does not say so; Wine's search does it
(dlls/ntdll/loader.c, search_dll_file: STATUS_IMAGE_MACHINE_TYPE_MISMATCH).
"""

from __future__ import annotations

import ntpath
from collections.abc import Iterator, Mapping
from typing import cast

from libferry.binary.model import Binary, Dependency
from libferry.binary.pe.view import PeView
from libferry.errors import BadBinary, FerryError
from libferry.loader.model import Node, Problem, Step
from libferry.loader.windows import rules
from libferry.loader.windows.assemblies import NONE, Context, context_of
from libferry.loader.windows.names import (
    contract,
    has_path,
    is_absolute,
    is_api_set,
    module_name,
    with_extension,
)
from libferry.loader.windows.process import Process, Search
from libferry.loader.windows.rules import ALWAYS_LOADED, ERROR_OF, SAME_RULE, SEARCH_FLAGS, page
from libferry.target.system import Found

LOAD_DIRECTORY = "LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR"
MODULES_AT_MOST = 10_000


class Loader:
    """One process and what is loaded into it.

    Attributes:
        order: every module once, as they came.
        initialisers: the same in the order in which their entry points are called.
        problems: why it fails, or why it may.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self.system = process.system
        self.order: list[Node] = []
        self.initialisers: list[Node] = []
        self.problems: list[Problem] = []
        self._by_name: dict[str, Node] = {}
        self._by_path: dict[str, Node] = {}
        self._contexts: dict[int, Context] = {}
        self._of_program = NONE
        self._redirect = ""
        self._modules = 0
        self._short_names: dict[str, str] = {}

    def start(self, program: Node | None) -> None:
        """Make the process: the program's manifest, and what every process has."""
        if program is not None and program.binary is not None and program.found is not None:
            self._of_program = self._context(program)
            self._local(program)
        for name in ALWAYS_LOADED:
            found = self.system.find(ntpath.join(self.process.system_folder, name))
            if found is not None:
                node = Node(name, state="loaded", found=found, how="in every process")
                if found.file is not None:
                    node.binary = self.system.read(found)
                self._keep(node)

    def take_program(self, program: Node) -> None:
        """Make the program the first module of its process."""
        self._keep(program)
        self.order.insert(0, self.order.pop())

    def _local(self, program: Node) -> None:
        """DLL redirection: a file or folder ``program.exe.local``, if there is no manifest."""
        binary, path = cast(Binary, program.binary), program.path
        try:
            inside = cast(PeView, binary.view).manifest
        except FerryError:
            return  # noted already
        if inside or self.system.find(f"{path}.manifest"):
            return
        if self.system.is_directory(f"{path}.local"):
            self._redirect = f"{path}.local"
        elif self.system.find(f"{path}.local"):
            self._redirect = ntpath.dirname(path)

    def load(self, name: str, search: Search) -> Node:
        """What LoadLibraryEx does with a name or path, and all below it."""
        flags = [flag for flag in search.flags if flag in SEARCH_FLAGS]
        top = Node(name)
        if (flags and rules.ALTERED in search.flags) or (
            LOAD_DIRECTORY in flags and not is_absolute(name)
        ):
            self._problem("invalid-parameter", top, name, rules.LOAD_LIBRARY_EX)
            top.state = "refused"
            return top
        if is_absolute(name):
            folder = ntpath.dirname(name.replace("/", "\\"))
            search = Search(search.flags, folder)
        self.find(top, search)
        self.below(top, search)
        return top

    # ---- finding one module ----

    def find(self, node: Node, search: Search) -> None:
        """Find the module that ``node`` asks for, as one that is there or as a file."""
        name = with_extension(node.name)
        if is_api_set(name) and not has_path(name):
            host = self._host(name)
            if host:
                node.tried.append(Step(host, f"API set {name}", "found"))
                node.how = f"API set {name}"
                name = host
        redirected = self._redirected(name, node)
        if redirected is not None:
            found = self.system.find(redirected)
            node.tried.append(Step(redirected, node.how, "found" if found else "missing"))
            if found is not None:
                self._take(node, found)
                return
        if not has_path(name):
            again = self._by_name.get(module_name(name))
            if again is not None:
                self._again(node, again)
                return
        candidates = self._candidates(name, node, search)
        if not self._first(node, candidates):
            self._missing(node, name, search)

    def _host(self, name: str) -> str | None:
        sets = cast(Mapping[str, str], self.process.target.facts.get("api_sets", {}))
        full, short = contract(name)
        if self.process.target.version < (6, 3):
            return sets.get(full)
        if full in sets:
            return sets[full]
        if not self._short_names:
            self._short_names = {contract(one)[1]: host for one, host in sets.items()}
        return self._short_names.get(short)

    def _redirected(self, name: str, node: Node) -> str | None:
        base = module_name(name)
        if self._redirect and self.system.find(ntpath.join(self._redirect, base)):
            node.how = "DLL redirection (.local)"
            return ntpath.join(self._redirect, base)
        if has_path(name):
            return None
        requester = node.requester
        own = self._contexts.get(id(requester), NONE) if requester else NONE
        for context, whose in ((own, "its"), (self._of_program, "the program's")):
            if base in context.files:
                node.how = f"side by side, by {whose} manifest"
                return context.files[base]
        return None

    def _candidates(self, name: str, node: Node, search: Search) -> Iterator[tuple[str, str]]:
        """Paths to try, and who sends there."""
        process = self.process
        if has_path(name):
            path = name.replace("/", "\\")
            if not is_absolute(path):
                for folder, what in process.folders(search):
                    yield ntpath.normpath(ntpath.join(folder, path)), what
            else:
                yield process.redirect(ntpath.normpath(path)), "its path"
            return
        if module_name(name) in process.known_dlls or (
            node.requester is not None and node.requester.how == "KnownDLLs"
        ):
            yield ntpath.join(process.system_folder, name), "KnownDLLs"
        for folder, what in process.folders(search):
            yield process.redirect(ntpath.normpath(ntpath.join(folder, name))), what

    def _first(self, node: Node, candidates: Iterator[tuple[str, str]]) -> bool:
        """Take the first file that can be a module of this process; tell if that is settled."""
        other_cpu = ""
        for path, what in candidates:
            found = self.system.find(path)
            if found is None and self.system.is_directory(path):
                node.tried.append(Step(path, what, "fatal", "it is a folder"))
                node.state = "refused"
                self._problem("a-folder", node, f"{path} is a folder", rules.ERRORS)
                return True
            if found is None:
                node.tried.append(Step(path, what, "missing"))
                continue
            wrong = self._wrong(found)
            if wrong is None:
                node.tried.append(Step(path, what, "found"))
                node.how = node.how or what
                self._take(node, found)
                return True
            problem, reason = wrong
            fatal = problem != "wrong-bitness"
            node.tried.append(Step(path, what, "fatal" if fatal else "skipped", reason))
            if fatal:
                node.state, node.found = "refused", found
                self._problem(problem, node, f"{path}: {reason}", rules.PE_FORMAT)
                return True
            other_cpu = other_cpu or f"{path}: {reason}"
        if other_cpu:
            node.state = "refused"
            self._problem("wrong-bitness", node, other_cpu, rules.ERRORS)
        return bool(other_cpu)

    def _wrong(self, found: Found) -> tuple[str, str] | None:
        """Why a file cannot be a module of this process."""
        if found.file is None:
            return None
        try:
            binary = self.system.read(found)
        except BadBinary as error:
            return "not-a-library", error.happened
        if binary.format != "pe":
            return "not-a-library", f"it is {binary.format}, no PE file"
        cpu = self.process.cpu
        if binary.cpu == cpu or ((binary.cpu, cpu) == ("aarch64", "x86_64") and _is_arm64x(binary)):
            return None
        return "wrong-bitness", f"it is for {binary.cpu}, the process is {cpu}"

    def _take(self, node: Node, found: Found) -> None:
        again = self._by_path.get(found.path.lower())
        if again is not None:
            self._again(node, again)
            return
        node.found, node.state = found, "loaded"
        if found.file is not None:
            try:
                node.binary = self.system.read(found)
            except BadBinary as error:
                node.state = "refused"
                self._problem("not-a-library", node, error.happened, rules.PE_FORMAT)
                return
        self._keep(node)

    def _keep(self, node: Node) -> None:
        self._by_name.setdefault(module_name(node.path), node)
        self._by_path[node.path.lower()] = node
        self.order.append(node)

    def _again(self, node: Node, first: Node) -> None:
        node.state, node.found, node.binary = "again", first.found, first.binary
        node.how = f"{node.how}, already loaded" if node.how else "already loaded"

    def _missing(self, node: Node, name: str, search: Search) -> None:
        node.state = "missing"
        order = rules.ORDERS[self.process.order(search)]
        if is_api_set(node.name) and module_name(name) == module_name(with_extension(node.name)):
            self._problem("api-set-missing", node, self._from(name) or name, rules.API_SETS)
            return
        likely = cast(tuple[str, ...], self.process.target.facts.get("likely", ()))
        if not self.system.complete and name.lower() in likely:
            node.state = "unknown"
            self._problem("missing-library", node, name, order.source, maybe=True)
            return
        self._problem("missing-library", node, self._from(name) or name, order.source)

    def _from(self, name: str) -> str:
        """What a missing DLL comes with, if that is known."""
        separate = cast(Mapping[str, str], self.process.target.facts.get("separate", {}))
        for pattern, source in separate.items():
            if name.lower().startswith(pattern.rstrip("*")):
                return f"{name} comes with {source}"
        return ""

    # ---- what a module needs ----

    def below(self, top: Node, search: Search) -> None:
        """Load what ``top`` needs and bind it, depth first, as the loader does."""
        from libferry.loader.windows.binding import bind

        if top.state != "loaded":
            return
        stack = [(top, self._needs(top))]
        while stack:
            node, needs = stack[-1]
            dependency = next(needs, None)
            if dependency is None:
                stack.pop()
                bind(self, node, self._search_of(node, search))
                self.initialisers.append(node)
                continue
            child = Node(dependency.name, node)
            node.needs.append(child)
            own = self._search_of(node, search)
            if dependency.kind == "delay":
                self._late(child, own)
                continue
            self.find(child, own)
            self._modules += 1
            if child.state == "loaded" and self._modules <= MODULES_AT_MOST:
                stack.append((child, self._needs(child)))

    def _needs(self, node: Node) -> Iterator[Dependency]:
        if node.binary is None:
            return iter(())
        self._contexts[id(node)] = self._context(node)
        try:
            return iter(node.binary.dependencies)
        except BadBinary as error:
            self._problem("not-a-library", node, error.happened, rules.PE_FORMAT)
            return iter(())

    def _context(self, node: Node) -> Context:
        try:
            context = context_of(cast(Binary, node.binary), node.path, self.system)
        except FerryError as error:
            self.report("side-by-side", node, node.name, str(error), rules.ASSEMBLIES)
            return NONE
        for assemblies, maybe in ((context.missing, False), (context.unknown, True)):
            for assembly in assemblies:
                subject = f"{assembly.name} {assembly.version}".strip()
                detail = "it is neither beside the manifest nor a part of Windows"
                self.report("side-by-side", node, subject, detail, rules.ASSEMBLIES, maybe=maybe)
        return context

    def _search_of(self, node: Node, search: Search) -> Search:
        """The search for what a module imports: /DEPENDENTLOADFLAG is for itself alone."""
        config = None
        if node.binary is not None:
            try:
                config = cast(PeView, node.binary.view).load_config
            except BadBinary:
                return search
        bits = config.dependent_load_flags if config else 0
        own = tuple(flag for flag, (bit, _) in SEARCH_FLAGS.items() if bits & bit)
        if not own or self.process.target.version < (10, 0):
            return search
        return Search(own, ntpath.dirname(node.path))

    def _late(self, node: Node, search: Search) -> None:
        """A delay-loaded DLL: the loader goes on without it, and its first use may fail."""
        before = len(self.problems)
        kept = (dict(self._by_name), dict(self._by_path), len(self.order))
        self.find(node, search)
        self._by_name, self._by_path = kept[:2]
        del self.order[kept[2] :]
        for number, problem in enumerate(self.problems[before:], before):
            if problem.when == "load":
                self.problems[number] = Problem(
                    problem.id,
                    problem.library,
                    problem.subject,
                    f"delay-loaded: {problem.message}",
                    "call",
                    problem.source,
                )
        node.state = "ignored"
        node.how = f"delay-loaded, {node.how}" if node.how else "delay-loaded"

    def _problem(
        self, id_: str, node: Node, detail: str, source: str, *, maybe: bool = False
    ) -> None:
        """Note why something that a module asks for cannot be had."""
        self.report(id_, node.requester or node, node.name, detail, source, maybe=maybe)

    def report(
        self,
        id_: str,
        node: Node,
        subject: str,
        detail: str,
        source: str,
        *,
        maybe: bool = False,
    ) -> None:
        """Note why it fails, in Windows' own words and then ours."""
        error = ERROR_OF[id_]
        self.problems.append(
            Problem(
                SAME_RULE.get(id_, id_),
                node.path,
                subject,
                f"error {error.number}: {error.text.replace('%1', subject)} ({detail})",
                "maybe" if maybe else "load",
                page(source),
            )
        )


def _is_arm64x(binary: Binary) -> bool:
    """Whether an Arm64 file also has the code for an emulated x64 process."""
    try:
        return cast(PeView, binary.view).hybrid == "arm64x"
    except BadBinary:
        return False
