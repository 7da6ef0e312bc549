"""Binding: whether the libraries that were found have the symbols that are wanted.

Each import names its library ("two-level namespace"), so a symbol that another one has
does not help. What a cached library exports is not known here, and taken as whatever is
asked for: those of macOS fail mostly by being too old, for which ``minimum-os`` stands.

dyld-1378, ``dyld/Loader.cpp``, resolveSymbol and hasExportedSymbol.
"""

from __future__ import annotations

from typing import Literal

from libferry.binary.macho.facts import FLAT_LOOKUP, MAIN_EXECUTABLE, SELF, WEAK_LOOKUP
from libferry.binary.macho.imports import Bind
from libferry.errors import BadBinary
from libferry.loader.dyld import messages
from libferry.loader.dyld.images import Image, Loading
from libferry.loader.dyld.process import view_of
from libferry.loader.dyld.rules import source_of
from libferry.loader.model import Problem

_ANYWHERE = (FLAT_LOOKUP, MAIN_EXECUTABLE)


class Binding:
    """Looks up symbols among what is loaded."""

    def __init__(self, loading: Loading, program: Image | None, *, now: bool) -> None:
        self._loading = loading
        self._program = program
        self._now = now
        self._names: dict[Image, frozenset[str] | None] = {}

    def check(self, image: Image) -> None:
        """Note each symbol of an image that is missing."""
        try:
            self._check(image)
        except BadBinary as error:
            self._loading.damaged(image, error)

    def _check(self, image: Image) -> None:
        if image.binary is None:
            return
        unknown: list[Bind] = []
        for bind in view_of(image.binary).binds:
            if bind.weak or bind.ordinal in (SELF, WEAK_LOOKUP):
                continue
            if bind.ordinal in _ANYWHERE:
                if not self._anywhere(bind, image):
                    unknown.append(bind)
                continue
            target = self._library(image, bind.ordinal)
            if target is not None and self.has(target, bind.name.removeprefix("_")) is False:
                self._missing(bind, image, target)
        if unknown:
            self._perhaps_missing(unknown, image)

    def has(self, image: Image, name: str) -> bool | None:
        """Whether an image exports a name, itself or for another; None if not known."""
        waiting, seen = [(image, name)], {(image, name)}
        answer: bool | None = False
        while waiting:
            image, name = waiting.pop()
            own = self._own(image)
            if image.binary is None or own is None:
                answer = None
                continue
            view = view_of(image.binary)
            others: list[tuple[Image | None, str]] = []
            if name in view.reexported:
                ordinal, there = view.reexported[name]
                others = [(self._library(image, ordinal), there)]
            elif name in own:
                return True
            else:
                others = [(other, name) for linked, other in image.needs if linked.reexport]
            for other, there in others:
                if other is None:
                    answer = None
                elif (other, there) not in seen:
                    seen.add((other, there))
                    waiting.append((other, there))
        return answer

    def _library(self, image: Image, ordinal: int) -> Image | None:
        if 0 < ordinal <= len(image.needs):
            return image.needs[ordinal - 1][1]
        return None

    def _anywhere(self, bind: Bind, image: Image) -> bool:
        name = bind.name.removeprefix("_")
        if bind.ordinal == MAIN_EXECUTABLE:
            return self._program is not None and bool(self.has(self._program, name))
        return any(name in (self._own(each) or ()) for each in self._loading.loaded)

    def _own(self, image: Image) -> frozenset[str] | None:
        """What an image exports itself; None if that is not known."""
        if image not in self._names:
            self._names[image] = None
            try:
                if image.binary is not None:
                    exports = view_of(image.binary).exports
                    self._names[image] = frozenset(export.name for export in exports)
            except BadBinary as error:
                self._loading.damaged(image, error)
        return self._names[image]

    def _missing(self, bind: Bind, image: Image, target: Image) -> None:
        process = self._loading.process
        words = messages.symbol_not_found(bind.name, image.node, target.node, process)
        later = bind.lazy and not self._now
        rule = "missing-symbol-later" if later else "missing-symbol"
        when: Literal["call", "load"] = "call" if later else "load"
        source = source_of(rule, process.release)
        self._loading.problems.append(Problem(rule, image.path, bind.name, words, when, source))

    def _perhaps_missing(self, binds: list[Bind], image: Image) -> None:
        """One for all of them: it is one program that has them, or not."""
        first = binds[0]
        process = self._loading.process
        words = messages.not_in_flat_namespace(first.name, image.node, process)
        if len(binds) > 1:
            words += f" (and {len(binds) - 1} others that any library of the process may have)"
        source = source_of("missing-symbol", process.release)
        problem = Problem("missing-symbol", image.path, first.name, words, "maybe", source)
        self._loading.problems.append(problem)
