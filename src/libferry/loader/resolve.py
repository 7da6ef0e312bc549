"""The one entry: what a target's loader would do with a library or program.

There is one engine a loader, each a package of the loader's name with a function
``resolve``. They share the plain values of ``model`` and the questions of
``libferry.target.system``, and nothing else: four programs by four groups of people who
did not read each other's code.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from libferry.binary import read
from libferry.binary.model import Binary
from libferry.loader.model import Options, Resolution

if TYPE_CHECKING:
    from libferry.target.system import System


class Engine(Protocol):
    """A package ``libferry.loader.<loader>``."""

    def resolve(self, binary: Binary, path: str, system: System, options: Options) -> Resolution:
        """Resolve a file that the target has at ``path``."""


def resolve(
    subject: str | os.PathLike[str] | Binary,
    system: System,
    options: Options | None = None,
) -> Resolution:
    """Resolve a library or program as the loader of ``system`` would.

    Args:
        subject: a file of this machine, or what was read of one.
        system: whose loader; see ``libferry.target.system_for``.
        options: how it is loaded; None for nothing special.

    Raises:
        LibraryNotFound: there is no such file.
        BadBinary: it is no library, or damaged.
    """
    engine = cast(Engine, import_module(f"libferry.loader.{system.target.loader}"))
    file = Path(subject.path if isinstance(subject, Binary) else subject)
    path = system.path_of(file)
    if isinstance(subject, Binary):
        binary = subject
    else:
        found = system.find(path)
        # what the system has read already is not read again
        binary = read(subject) if found is None or found.file is None else system.read(found)
    return engine.resolve(binary, path, system, options or Options())
