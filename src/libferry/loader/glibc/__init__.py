"""What glibc's ld.so would do, as far as files decide it.

``rules`` are the tables of what differs by version and CPU, ``verify`` and ``facts`` what one
file says, ``places`` where a name is looked for, ``mapping`` how a process fills,
``refusals``, ``versions``, ``requirements`` and ``symbols`` what goes wrong then, and
``ordering`` whose initialisers run first. ``starting`` puts it all in a row.

A program starts with what it needs; a library is loaded by a host program, and what that
one has already, it need not look for. Without a host, there is the C library and nothing
else, since no process on such a system is without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # who only wants ``cache`` does not wait for the engine
    from libferry.binary.model import Binary
    from libferry.loader.model import Options, Resolution
    from libferry.target.system import System


def resolve(binary: Binary, path: str, system: System, options: Options) -> Resolution:
    """Resolve one program or library; see ``libferry.loader.resolve``."""
    from libferry.loader.glibc.starting import start

    return start(binary, path, system, options)
