"""Which rules are asked, and of which files: as linters do it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch


@dataclass(frozen=True)
class Selection:
    """Rules by id and by group.

    Attributes:
        select: ask only these; empty for all.
        ignore: ask all but these; an id in ``select`` wins over its group here.
        per_file: the same as ``ignore`` for files whose path or name matches a pattern.
    """

    select: frozenset[str] = frozenset()
    ignore: frozenset[str] = frozenset()
    per_file: tuple[tuple[str, frozenset[str]], ...] = ()

    def asks(self, rule: str, group: str, file: str) -> bool:
        """Whether a rule is asked of a file."""
        if any({rule, group} & ignored for ignored in self._ignored_in(file)):
            return False
        if rule in self.ignore:
            return False
        if rule in self.select:
            return True
        return group not in self.ignore and (not self.select or group in self.select)

    def _ignored_in(self, file: str) -> Iterable[frozenset[str]]:
        name = file.rpartition("/")[2]
        for pattern, ignored in self.per_file:
            if fnmatch(file, pattern) or fnmatch(name, pattern):
                yield ignored
