"""What is to be changed in a library, as a plain value."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Changes:
    """What ``fix`` shall do; the empty value of each means: leave it.

    Attributes:
        search_path: the folders, with colons between, or None. What was there goes.
        search_tag: whether they become an ``rpath``, which is also asked for what the
            library's own libraries need, or a ``runpath``, which LD_LIBRARY_PATH overrides.
        remove_search_path: whether both go.
        add_needed: library names, each put before all others.
        remove_needed: library names; what is asked of their symbol versions goes as well.
        replace_needed: (old, new) names.
        soname: the new name.
        interpreter: the loader's path.
        clear_execstack: whether the mark that asks for an executable stack goes.
        drop_versions: (library, version): no version is asked of those symbols any more.
        weaken_versions: (library, version): it may be missing.
        hide: patterns as a shell's; what they fit is exported no longer.
        keep: the only names to export; None for all.
        rename: (old, new) names of exports and imports.
        strip: whether everything goes that no loader needs.
    """

    search_path: str | None = None
    search_tag: Literal["rpath", "runpath"] = "runpath"
    remove_search_path: bool = False
    add_needed: tuple[str, ...] = ()
    remove_needed: tuple[str, ...] = ()
    replace_needed: Pairs = ()
    soname: str | None = None
    interpreter: str | None = None
    clear_execstack: bool = False
    drop_versions: Pairs = ()
    weaken_versions: Pairs = ()
    hide: tuple[str, ...] = ()
    keep: frozenset[str] | None = None
    rename: Pairs = ()
    strip: bool = False

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        asked = (getattr(self, one.name) for one in fields(self) if one.name != "search_tag")
        return any(value is not None and value != () and value is not False for value in asked)
