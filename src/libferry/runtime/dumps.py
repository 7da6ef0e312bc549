"""Where crashes are kept as files: ``load(dump="folder")``.

Each worker that dies with a record leaves one minidump. It is written by whoever learns of the
death first, before the error is raised: a file that is asked for has to be there when the
program ends. Others who learn of the same death wait for it, and their errors name the same file.

A dump that cannot be written hides no crash: the error says why there is none. Stacks have
passwords in them, so nobody else may read the file.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
import time
import weakref
from dataclasses import dataclass, field
from pathlib import Path

from libferry import _core
from libferry.errors import ArgumentValueError, FerryError, LibraryCrashed
from libferry.runtime.crash import fault_of
from libferry.unwind import minidump

_NAME_AT_MOST = 100  # characters of the library's, in that of a file
_SAME_NAME_AT_MOST = 100  # crashes of one library, in one second, in processes of one number
_PLAIN = re.compile(r"[^\w.+-]", re.ASCII)


@dataclass
class _Kept:
    """What became of the dump of one worker."""

    folder: Path
    library: str
    pid: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    tried: bool = False
    path: Path | None = None
    problem: str = ""


_kept: weakref.WeakKeyDictionary[_core.Session, _Kept] = weakref.WeakKeyDictionary()


def folder(path: str | os.PathLike[str]) -> Path:
    """The folder for dumps, made if it is missing and tried.

    Raises:
        ArgumentValueError: no file can be written there.
    """
    try:
        found = Path(os.fsdecode(path)).absolute()
        found.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=found):
            pass
    except (OSError, ValueError, TypeError) as error:
        happened = getattr(error, "strerror", None) or str(error)
        raise ArgumentValueError(
            "load a library",
            f"dump is {path!r:.200}: {happened}",
            hint="give a folder that you may write to; it is made if it is missing",
        ) from None
    return found


def watch(session: _core.Session, folder: Path, library: str, pid: int) -> None:
    """Keep the crash of that worker, if there is one."""
    _kept[session] = _Kept(folder, library, pid)


def keep(session: _core.Session, error: LibraryCrashed) -> None:
    """Write the dump that was asked for, unless it is written, and tell the error of it."""
    kept = _kept.get(session)
    if kept is None:
        return
    with kept.lock:
        if not kept.tried:
            _write(session, kept)
            kept.tried = True
    error.dumped(kept.path, kept.problem)


def _write(session: _core.Session, kept: _Kept) -> None:
    fault = fault_of(session)
    if fault is None or fault.kind == "reason":
        kept.problem = "its worker left no record of its end"
        return
    name = _PLAIN.sub("_", kept.library)[:_NAME_AT_MOST]
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{kept.pid}"
    for number in range(1, _SAME_NAME_AT_MOST + 1):
        path = kept.folder / (f"{stem}.dmp" if number == 1 else f"{stem}-{number}.dmp")
        try:
            kept.path, kept.problem = minidump.write(path, fault, pid=kept.pid), ""
        except (FerryError, OSError, MemoryError) as error:
            kept.problem = str(error)
            if isinstance(error.__cause__, FileExistsError):
                continue
        return
