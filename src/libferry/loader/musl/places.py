"""Where musl looks for a library by its name, and what it takes without checking.

``LD_LIBRARY_PATH`` comes first, before any RPATH; the RPATHs of all who asked come next,
from the library up to the program (DT_RUNPATH is the same thing to musl, and is inherited,
which in glibc it is not). Last is the file ``/etc/ld-musl-ARCH.path``; only where there is
none, three default folders. There is no cache.

In all these lists an empty element is nothing, not the working directory as elsewhere, and
a line break separates as well as a colon.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from libferry.loader.model import Options, Step
from libferry.loader.musl import rules
from libferry.target.system import Found, System

_ORIGIN = re.compile(r"\$(?:ORIGIN|\{ORIGIN\})")


class Places:
    """The places of a system.

    Args:
        system: whose files.
        options: the environment, and whether it counts.
        interpreter: the loader's own path, which the path file lies relative to.
    """

    def __init__(self, system: System, options: Options, interpreter: str) -> None:
        self.system = system
        self.subject: Found | None = None  # what is asked about, wherever that lies
        self._options = options
        environment = {} if options.secure else options.environment
        self._library_path = environment.get("LD_LIBRARY_PATH", "")
        self.preloads = environment.get("LD_PRELOAD", "")
        self._default, self._default_source = self._system_path(interpreter)

    def _system_path(self, interpreter: str) -> tuple[str, str]:
        """The last list of folders: load_library, sys_path.

        The path file belongs to the loader: of ``/opt/lib/ld-musl-x86_64.so.1`` it is
        ``/opt/etc/ld-musl-x86_64.path``.
        """
        arch = rules.ARCH.get(self.system.target.cpu, self.system.target.cpu)
        prefix = "/".join(interpreter.split("/")[:-2]) if interpreter.startswith("/") else ""
        path = f"{prefix}/etc/ld-musl-{arch}.path"
        data = self.system.data(path)
        if data is None:
            return rules.DEFAULT_PATH, "default path"
        return os.fsdecode(data.split(b"\0")[0]), path

    def open(self, name: str) -> Found | None:
        """A file by its path, which may be relative to the working directory."""
        path = name if name.startswith("/") else f"{self._options.working_directory}/{name}"
        found = self.system.find(path)
        if found is None and self.subject is not None and self.subject.path == name:
            return self.subject
        return found

    def is_directory(self, name: str) -> bool:
        """Whether a folder lies there, which opens like a file."""
        path = name if name.startswith("/") else f"{self._options.working_directory}/{name}"
        return self.system.is_directory(path)

    def lists(self, rpaths: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """Each list of folders with what it comes from, in the order in which they count.

        Args:
            rpaths: those of who asks and of who asked for that one, up to the program.
        """
        if self._library_path:
            yield self._library_path, "LD_LIBRARY_PATH"
        yield from rpaths
        yield self._default, self._default_source

    def search(self, name: str, folders: str, source: str, tried: list[Step]) -> str | None:
        """The path of the first file of a name: path_open. Anything that opens is taken."""
        for folder in re.split("[:\n]+", folders):
            if not folder:
                continue
            path = f"{folder}/{name}"
            if len(os.fsencode(path)) > rules.LONGEST_PATH:
                reason = f"the path has more than {rules.LONGEST_PATH} bytes"
                tried.append(Step(path, source, "skipped", reason))
            elif self.open(path) is not None or self.is_directory(path):
                tried.append(Step(path, source, "found"))
                return path
            else:
                tried.append(Step(path, source, "missing"))
        return None


def expand(rpath: str, origin: str, *, secure: bool) -> str | None:
    """An RPATH with ``$ORIGIN`` filled in: fixup_rpath.

    Args:
        rpath: as in the file.
        origin: the path of the file that it is in.
        secure: whether a relative origin is refused.

    Returns:
        None if the list does not count at all: any other ``$`` makes it void as a whole.
    """
    if "$" not in rpath:
        return rpath
    if "$" in _ORIGIN.sub("", rpath):
        return None
    folder = origin.rpartition("/")[0] if "/" in origin else "."
    if secure and not origin.startswith("/"):
        return None
    return _ORIGIN.sub(lambda _: folder, rpath)
