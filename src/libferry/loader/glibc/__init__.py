"""What glibc's ld.so would do, as far as files decide it.

``rules`` are the tables of what differs by version and CPU, ``facts`` what one file says,
``places`` where a name is looked for, ``mapping`` how a process fills, ``refusals``,
``versions`` and ``symbols`` what goes wrong then, ``ordering`` whose initialisers run first.

A program starts with what it needs; a library is loaded by a host program, and what that
one has already, it need not look for. Without a host, there is the C library and nothing
else, since no process on such a system is without it.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from libferry.binary.model import Binary
from libferry.loader.glibc import starting
from libferry.loader.glibc.facts import Facts
from libferry.loader.glibc.places import Places
from libferry.loader.model import Options, Resolution
from libferry.target.system import System

Key = tuple[tuple[tuple[str, str], ...], bool, str]

# What has been read of a system's files, and found in its folders, by options: many
# libraries of one system are asked for one after the other.
_KNOWN: WeakKeyDictionary[System, tuple[dict[object, Facts], dict[Key, Places]]]
_KNOWN = WeakKeyDictionary()


def places_of(system: System, options: Options) -> Places:
    """The places of a system, kept as long as the system itself."""
    known = _KNOWN.get(system)
    if known is None:
        known = _KNOWN[system] = ({}, {})
    key = tuple(sorted(options.environment.items())), options.secure, options.working_directory
    places = known[1].get(key)
    if places is None:
        places = known[1][key] = Places(system, options, known[0])
    return places


def resolve(binary: Binary, path: str, system: System, options: Options) -> Resolution:
    """Resolve one program or library; see ``libferry.loader.resolve``."""
    return starting.start(binary, path, places_of(system, options), options)
