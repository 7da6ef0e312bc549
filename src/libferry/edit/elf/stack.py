"""Take away the mark that asks for an executable stack."""

from __future__ import annotations

from libferry.binary.elf.layout import PF_X, PT_GNU_STACK
from libferry.edit.elf.file import ElfFile


def clear_execstack(file: ElfFile) -> bool:
    """Clear the flag; whether there was a header to clear it in.

    Without one the stack is executable, too, on the CPUs where that was the custom.
    """
    found = False
    for kind, flags, at in file.segment_headers():
        if kind == PT_GNU_STACK:
            found = True
            if flags & PF_X:
                file.put(at, file.word.pack(flags & ~PF_X))
    return found
