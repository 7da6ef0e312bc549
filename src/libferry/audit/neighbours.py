"""What the libraries of a process export under the same name.

Asked for one library, this is a handful of files; asked for a whole system, the same files
again and again. So what was found is kept as long as the file's view is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast
from weakref import WeakKeyDictionary

from libferry.binary.model import Binary
from libferry.errors import BadBinary

if TYPE_CHECKING:
    from libferry.binary.elf.view import ElfView

# Made by the linker, in any library: ld's default linker script
LINKERS = frozenset({"_init", "_fini", "_edata", "_end", "__bss_start", "_start", "_IO_stdin_used"})


class Names(NamedTuple):
    """What an ELF library exports by default: all names, and those without a version."""

    all: frozenset[str]
    plain: frozenset[str]


_NAMES: WeakKeyDictionary[object, Names] = WeakKeyDictionary()
_STRONG: WeakKeyDictionary[object, frozenset[str]] = WeakKeyDictionary()


def in_common(one: Binary, other: Binary) -> list[str]:
    """The names that both export as their own, and that no version tells apart.

    If both have a version, either the versions differ, and each caller gets the one that it
    was linked with; or they are the same, and the two libraries are parts of one project that
    moved a function (libm and libc).
    """
    mine, theirs = _names(one), _names(other)
    common = (mine.plain & theirs.all) | (mine.all & theirs.plain)
    return sorted(common & _strong(one) & _strong(other)) if common else []


def _names(binary: Binary) -> Names:
    view = cast("ElfView", binary.view)
    if view not in _NAMES:
        try:
            defaults = [key for key, default in view.definitions.items() if default]
        except BadBinary:
            defaults = []  # a finding of its own, in the file that has it
        everything = frozenset(name for name, _ in defaults)
        plain = frozenset(name for name, version in defaults if version is None)
        _NAMES[view] = Names(everything, plain - LINKERS)
    return _NAMES[view]


def _strong(binary: Binary) -> frozenset[str]:
    """Without the weak copies of inline functions and templates, which are to be shared."""
    view = cast("ElfView", binary.view)
    if view not in _STRONG:
        _STRONG[view] = frozenset(
            one.name for one in view.symbols if one.defined and one.binding == "global"
        )
    return _STRONG[view]
