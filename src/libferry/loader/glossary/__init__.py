"""What loaders print when they give up, in words that help.

The same trouble has a number here, a name there and a sentence elsewhere, and the number
of one name differs between systems: ``ENOTEMPTY`` is 39 on Linux, 93 on Linux for MIPS,
66 on macOS, 41 in Windows' C runtime. So both are data: ``*.toml`` in this folder for the
messages and codes of one loader each, and ``errno.toml`` for the numbers of the C library.

A file of messages has ``system`` (``linux``, ``windows``, ``macos``) and ``loader``
(``glibc``, ``musl``, ``windows``, ``dyld``, ``kernel``) at its top, which an entry may
override, and entries:

    [[entry]]
    id = "wrong-class"              # in kebab-case, one of its kind in its file
    names = ["ERROR_BAD_EXE_FORMAT"]
    numbers = [193, 0xC000007B]     # Windows: Win32 codes, NTSTATUS, HRESULT
    errno = "ENOEXEC"               # instead: the number is what errno.toml has for the CPU
    messages = ["{file}: wrong ELF class: {class}"]     # {name} stands for any text
    translated = { zh_CN = ["{file}: 错误的 ELF 类：{class}"] }
    said_by = "dlopen, and programs when they start"
    when = "…"                      # what the loader was doing
    meaning = "…"                   # in plain words
    check = ["…"]                   # what to look at, in order
    commands = ["libferry inspect {file}"]      # to run next; may have the message's {name}s
    rule = "wrong-class"            # the audit's rule of the same thing
    general = false                 # true: it only introduces another message
    source = "glibc 2.41, elf/dl-load.c, open_verify"

All but ``id``, ``meaning`` and ``source`` may be left out.
"""

from libferry.loader.glossary.errno import Errno, errnos
from libferry.loader.glossary.matching import Match, explain, near
from libferry.loader.glossary.reading import Entry, entries

__all__ = ["Entry", "Errno", "Match", "entries", "errnos", "explain", "near"]
