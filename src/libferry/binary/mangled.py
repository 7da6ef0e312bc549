"""C++ names as people write them: ``_Z3addii`` is ``add(int, int)``.

C++ lets functions share a name, and linkers know names only. So a C++ compiler
*mangles*: it encodes the namespaces and the types of the parameters into the name that
is exported. There are two ways. Everybody but Microsoft follows the Itanium C++ ABI
(``_ZN4math3addEii``), Microsoft its own (``?add@math@@YAHHH@Z``). Rust has borrowed the
first, and has one of its own too (``_R...``).

A mangled name is a small program: it can refer back to what it has named before, and so
twenty characters may stand for a gigabyte. The names in a file are its author's. So they
are read by a process of their own, with limits to its time and memory, and what it does
not answer for stays as it is.

The work is done by LLVM's demanglers, which ``pydemumble`` brings. It is an extra,
``libferry[demangle]``: nobody needs it to call anything.

Specification: Itanium C++ ABI, 5.1 "External Names (a.k.a. Mangling)"; Microsoft has
published none.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

PREFIXES = ("_Z", "?", "_R")
CHILD = Path(__file__).with_name("demangling_child.py")
SECONDS = 10


def is_mangled(name: str) -> bool:
    """Whether a name may be mangled."""
    return name.startswith(PREFIXES)


def can_demangle() -> bool:
    """Whether what reads mangled names is installed."""
    return importlib.util.find_spec("pydemumble") is not None


def demangle(names: Iterable[str]) -> dict[str, str]:
    """What the mangled ones of ``names`` mean; without those that mean nothing."""
    mangled = [name for name in dict.fromkeys(names) if is_mangled(name)]
    if not mangled or not can_demangle():
        return {}
    given = "\0".join(mangled).encode("utf-8", "surrogateescape")
    command = [sys.executable, "-P", str(CHILD)]
    try:
        done = subprocess.run(
            command,
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
            check=False,
        )
        answer = done.stdout
    except subprocess.TimeoutExpired as late:
        answer = late.stdout or b""
    except OSError:  # this process may be no Python that could be started again
        return {}
    whole = answer.split(b"\0")[:-1]  # what comes after the last NUL was cut short
    texts = (text.decode("utf-8", "replace") for text in whole)
    return {name: text for name, text in zip(mangled, texts, strict=False) if text}


def may_be(mangled: str, name: str) -> bool:
    """Whether a mangled name may be that of ``name``, which has neither scope nor types."""
    if mangled.startswith("?"):
        return mangled.startswith(f"?{name}@")
    return f"{len(name)}{name}" in mangled
