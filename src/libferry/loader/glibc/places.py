"""Where the loader looks for a library that is asked for by a bare name.

In this order, and the first that has a usable file ends it:

    RPATH of the requester, of who loaded that, ..., of the program    unless the requester
                                                                       has a RUNPATH
    LD_LIBRARY_PATH
    RUNPATH of the requester
    ld.so.cache
    the default folders

So RPATH cannot be overridden by the user, and RUNPATH is not for the needs of what is
needed. These two surprise people most. In every folder, its ``glibc-hwcaps`` folders come
first, and before 2.37 also ``tls``, the platform's, the hardware's, and all combinations.

What is looked up once is kept: most libraries have no paths of their own, so their needs
are looked for in the same places with the same result.

Source: glibc ``elf/dl-load.c``, ``_dl_map_object`` and ``open_path``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from libferry.loader.glibc import rules, tokens
from libferry.loader.glibc.cache import Cache, choose
from libferry.loader.glibc.facts import Facts, read_facts
from libferry.loader.glibc.verify import ANOTHER_CPU, Verdict
from libferry.loader.model import Options, Step
from libferry.target.system import Found, System

CACHE = "/etc/ld.so.cache"
NO_FILE = "cannot open shared object file: No such file or directory"
DENIED = "Permission denied"
NO_DEFAULT = "the requester has DF_1_NODEFLIB"


class Place(NamedTuple):
    """A folder that is searched: absolute or relative with a slash at its end, or ""."""

    folder: str
    source: str
    how: str


class Located(NamedTuple):
    """What a search came to.

    Attributes:
        found, facts: the file, if one was taken, or was fatal.
        how: which kind of place had it.
        tried: every place.
        verdict: why it is fatal, or why the last file was passed over.
    """

    found: Found | None
    facts: Facts | None
    how: str
    tried: list[Step]
    verdict: Verdict


class Plan(NamedTuple):
    """The places for one kind of requester, and what was found in them.

    Attributes:
        before: those before the cache.
        no_default: without the system's folders (DF_1_NODEFLIB).
        no_cache: without the cache (preloads of set-user-ID programs).
        known: what was found, by name.
    """

    before: tuple[Place, ...]
    no_default: bool
    no_cache: bool
    known: dict[str, Located]


class Places:
    """One system's files as its loader searches them, with one set of options.

    ``origin`` is the program's folder, which ``$ORIGIN`` in LD_LIBRARY_PATH stands for.
    """

    def __init__(
        self, system: System, options: Options, files: dict[object, Facts], origin: str = ""
    ) -> None:
        self.system = system
        self.target = target = system.target
        self.version = target.version
        self.options = options
        self.trusted = target.default_paths if options.secure else None
        self._files = files
        self._plans: dict[tuple[tuple[Place, ...], bool, bool], Plan] = {}
        self._subfolders: dict[str, tuple[str, ...]] = {}
        self._cpu = cpu = rules.CPUS.get(target.cpu, rules.Cpu(0, -1))
        old = rules.LEGACY_HWCAPS.holds(self.version)
        self._hardware = [row for row in cpu.legacy if old and (not row[2] or row[2] in target.isa)]
        named = rules.GLIBC_HWCAPS.holds(self.version)
        self._hwcaps = [name for name in cpu.hwcaps if named and name in target.isa]
        self._prefixes = self._capabilities()
        data = system.data(CACHE)
        self._cache = None if data is None else Cache(data, target.endian)
        self._ranks = {name: rank for rank, name in enumerate(self._hwcaps, 1)}
        self._bits = sum(1 << bit for _, bit, _ in self._hardware)
        if old:
            platform = rules.PLATFORM_BITS.get(target.platform)
            self._bits |= 1 << rules.TLS_BIT | (1 << platform if platform else 0)
        given = "" if options.secure else options.environment.get("LD_LIBRARY_PATH", "")
        # tokens are the program's here: elf/dl-load.c, _dl_init_paths
        values = self.tokens(origin)
        self.environment = self.split(given, values, "LD_LIBRARY_PATH", "LD_LIBRARY_PATH", ";")
        self.default = tuple(
            Place(f"{folder.rstrip('/')}/", "default path", "default path")
            for folder in target.default_paths
        )

    def _capabilities(self) -> tuple[str, ...]:
        """What goes between a folder and a name, in order (``_dl_important_hwcaps``)."""
        named = [f"glibc-hwcaps/{name}/" for name in self._hwcaps]
        if not rules.LEGACY_HWCAPS.holds(self.version):
            return (*named, "")
        words = ["tls", self.target.platform, *(row[0] for row in reversed(self._hardware))]
        words = [word for word in words if word]
        last = len(words) - 1
        combined = (
            "".join(f"{word}/" for at, word in enumerate(words) if mask >> (last - at) & 1)
            for mask in range((1 << len(words)) - 1, -1, -1)
        )
        return tuple(dict.fromkeys((*named, *combined)))

    def tokens(self, origin: str) -> dict[str, str]:
        """The values of ``$ORIGIN`` and the others for a library in a folder."""
        return {"ORIGIN": origin, "LIB": self.target.lib, "PLATFORM": self.target.platform}

    def split(
        self, path: str, values: Mapping[str, str], source: str, how: str, also: str = ""
    ) -> tuple[Place, ...]:
        """The folders of a search path (``fillin_rpath``)."""
        if not path:
            return ()
        places = []
        for item in (path.replace(also, ":") if also else path).split(":"):
            folder = item
            if item:
                if values or "$" in item:
                    folder = tokens.expand(item, values, self.trusted)
                if not folder:
                    continue
                folder = folder.rstrip("/") + "/"
            places.append(Place(folder, source, how))
        return tuple(dict.fromkeys(places))

    def plan(
        self, before: tuple[Place, ...], no_default: bool = False, no_cache: bool = False
    ) -> Plan:
        """The plan with these places, which is one object for all who have the same."""
        key = before, no_default, no_cache
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = Plan(*key, {})
        return plan

    def absolute(self, path: str) -> str:
        """A path as the system has it: relative ones are below the working directory."""
        return path if path.startswith("/") else os.path.join(self.options.working_directory, path)

    def facts(self, found: Found) -> Facts:
        """What a file says; read once."""
        facts = self._files.get(found.identity)
        if facts is None:
            facts = self._files[found.identity] = read_facts(found, self.system)
        return facts

    def by_path(self, path: str, source: str) -> Located:
        """Open a path; nothing else is tried."""
        tried: list[Step] = []
        located = self._try(self.absolute(path), source, "path", tried)
        return located or self._nowhere(tried)

    def search(self, name: str, plan: Plan) -> Located:
        """Find a bare name."""
        located = plan.known.get(name)
        if located is None:
            located = plan.known[name] = self._search(name, plan)
        return located

    def _search(self, name: str, plan: Plan) -> Located:
        tried: list[Step] = []
        located = self._in_folders(name, plan.before, tried)
        if located is None and not plan.no_cache:
            located = self._in_cache(name, plan.no_default, tried)
        if located is None and not plan.no_default:
            located = self._in_folders(name, self.default, tried)
        if located is None and not self.system.complete:
            given = self.target.given.get(name)
            if given is not None:
                located = self._try(given.path, given.source or "description", "given", tried)
        return located or self._nowhere(tried)

    def _in_folders(
        self, name: str, places: tuple[Place, ...], tried: list[Step]
    ) -> Located | None:
        for place in places:
            folder = self.absolute(place.folder)
            inside = self._subfolders.get(folder)
            if inside is None:
                inside = self._subfolders[folder] = self._existing(folder)
            if not inside:
                tried.append(Step(place.folder, place.source, "missing", "no such folder"))
            for sub in inside:
                located = self._try(sub + name, place.source, place.how, tried)
                if located is not None:
                    return located
        return None

    def _existing(self, folder: str) -> tuple[str, ...]:
        """The folder with those inside it that come first; nothing if it is none."""
        if not self.system.is_directory(folder):
            return ()
        is_directory = self.system.is_directory
        return tuple(
            folder + prefix
            for prefix in self._prefixes
            if not prefix or is_directory(folder + prefix)
        )

    def _in_cache(self, name: str, no_default: bool, tried: list[Step]) -> Located | None:
        if self._cache is None:
            return None
        entries = self._cache.entries(name)
        entry = choose(entries, self._cpu.cache, self._ranks, self._bits)
        if entry is None:
            reason = "no such name in it"
            if entries:
                reason = "only for other CPUs or hardware: " + ", ".join(
                    dict.fromkeys(entry.path for entry in entries)
                )
            tried.append(Step(CACHE, "ld.so.cache", "missing", reason))
            return None
        if no_default and self._is_default(entry.path):
            tried.append(Step(entry.path, "ld.so.cache", "skipped", NO_DEFAULT))
            return None
        located = self._try(entry.path, "ld.so.cache", "ld.so.cache", tried)
        if located is None and tried[-1].outcome == "missing":
            tried[-1] = Step(
                entry.path, "ld.so.cache", "missing", "the cache names it: run ldconfig"
            )
        return located

    def _is_default(self, path: str) -> bool:
        return any(path.startswith(place.folder) for place in self.default)

    def _try(self, path: str, source: str, how: str, tried: list[Step]) -> Located | None:
        """Open one file (``open_verify``); None to look further."""
        found = self.system.find(path)
        if found is None:
            if self.system.is_directory(path):
                verdict = Verdict(fatal="cannot read file data: Is a directory")
                tried.append(Step(path, source, "fatal", verdict.fatal))
                return Located(None, None, how, tried, verdict)
            tried.append(Step(path, source, "missing"))
            return None
        facts = self.facts(found)
        verdict = facts.verdict
        if verdict.skip:
            tried.append(Step(path, source, "skipped", verdict.skip))
            return None
        if verdict.fatal:
            tried.append(Step(path, source, "fatal", verdict.fatal))
        else:
            tried.append(Step(path, source, "found"))
        return Located(found, facts, how, tried, verdict)

    def _nowhere(self, tried: list[Step]) -> Located:
        """Not found: the loader says so, or that it saw one of the other class."""
        other = next((step.reason for step in tried if step.reason.startswith("wrong ELF")), "")
        if other:
            return Located(None, None, "", tried, Verdict(skip=other, id="wrong-class"))
        # errno is what the last attempt to open a file left, if there was one
        attempts = [step for step in tried if step.path != CACHE and step.reason != NO_DEFAULT]
        words, reason = NO_FILE.split(": ")
        if attempts:
            words += f": {DENIED if attempts[-1].reason == DENIED else reason}"
        wrong = any(step.reason == ANOTHER_CPU for step in tried)
        return Located(
            *(None, None, "", tried),
            Verdict(skip=words, id="wrong-machine" if wrong else "missing-library"),
        )
