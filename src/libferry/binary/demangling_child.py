"""Demangle the names on standard input, each ended by NUL, as ``mangled.py`` asks.

A program of its own, not a part of the package: it may be killed by its limits.
"""

from __future__ import annotations

import resource
import sys

CPU_SECONDS = 5
MEMORY = 1 << 28  # bytes of address space
LONGEST = 1 << 16  # characters: nobody reads more


def main() -> None:
    """Answer with as many texts, empty for what is no mangled name."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    from pydemumble import demangle

    for name in sys.stdin.buffer.read().split(b"\0"):
        try:
            text = demangle(name.decode("ascii"))
        except UnicodeError:
            text = ""
        answer = text if len(text) <= LONGEST else ""
        sys.stdout.buffer.write(answer.encode("utf-8", "replace") + b"\0")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
