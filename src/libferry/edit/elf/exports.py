"""Hide exports.

To take a symbol out of the table would renumber the others, in the relocations, the hash
tables and the versions; the tool that tries leaves a library that calls the wrong function.
So the symbol stays and is made invisible, by two marks:

- its binding becomes ``STB_LOCAL``. glibc and musl pass local symbols over when they look
  for a name, and bind the library's own references to them without looking;
- its visibility becomes ``STV_HIDDEN``. glibc's lazy binding asks that, and not the
  binding, to decide whether to look (elf/dl-runtime.c, _dl_fixup); with the binding alone
  a call of the library to itself would fail when it is made. Hidden alone is not enough:
  musl does not look at the visibility of what it finds.

That local symbols come first in the table (``sh_info``) is a rule for linkers only.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase

from libferry.binary.elf.layout import (
    SHN_ABS,
    SHN_UNDEF,
    STB_GLOBAL,
    STB_GNU_UNIQUE,
    STB_LOCAL,
    STB_WEAK,
    STV_HIDDEN,
)
from libferry.edit.changes import Changes
from libferry.edit.elf.file import ElfFile

GLOBAL_BINDINGS = {STB_GLOBAL, STB_WEAK, STB_GNU_UNIQUE}


def chosen(changes: Changes) -> Callable[[str], bool]:
    """What tells whether an export is to be hidden."""

    def is_chosen(name: str) -> bool:
        if changes.keep is not None and name not in changes.keep:
            return True
        return any(fnmatchcase(name, pattern) for pattern in changes.hide)

    return is_chosen


def hide(file: ElfFile, changes: Changes) -> tuple[str, ...]:
    """Hide what is asked; the names."""
    is_chosen, hidden = chosen(changes), []
    for at, (name, info, other, section, value) in file.symbols():
        if section == SHN_UNDEF or info >> 4 not in GLOBAL_BINDINGS or not name:
            continue
        text = file.string(name)
        if is_chosen(text) and not _is_version(section, value):
            file.put(at + file.info_offset, bytes([STB_LOCAL << 4 | info & 15]))
            file.put(at + file.info_offset + 1, bytes([other & ~3 | STV_HIDDEN]))
            hidden.append(text)
    return tuple(hidden)


def _is_version(section: int, value: int) -> bool:
    """Whether it is the symbol that GNU's linker makes of a version."""
    return section == SHN_ABS and value == 0
