"""Open a path as a library file, or say in plain words why that cannot be.

A path that a user typed may be anything: a directory, a pipe that would keep us
waiting for ever, a device without end, a link to nowhere. Only regular files go
further than this module.
"""

from __future__ import annotations

import difflib
import errno
import os
import stat
from pathlib import Path

from libferry.binary.window import Stamp, Window
from libferry.errors import BadBinary, LibraryNotFound

_FILE_TYPES = {
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}

_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}

_LISTED_AT_MOST = 10_000


def open_window(path: str | os.PathLike[str], *, expect: Stamp | None = None) -> Window:
    """Open ``path`` for reading; use the result in a ``with`` block.

    With ``expect``, the file must still be the one that had this stamp.
    """
    name = os.fspath(path)
    shown = os.fsencode(name).decode("utf-8", "backslashreplace")
    tried = f"read {shown}"
    try:
        # Ask before opening: to open a tape or a serial line can already do something.
        # O_NONBLOCK is for the file that becomes a pipe between the two calls.
        _stamp_of(os.stat(name), name, tried)
        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise _cannot_open(error, name, tried) from error
    except ValueError as error:  # a NUL in the path
        if isinstance(error, BadBinary):
            raise
        raise LibraryNotFound(
            tried, f"this is no path: {error}", hint="give the path of a file"
        ) from error
    try:
        stamp = _stamp_of(os.fstat(fd), name, tried)
        if expect is not None and stamp != expect:
            raise BadBinary(
                tried,
                "the file has changed since it was first read",
                hint="call read() again to get a Binary of the new file",
            )
        place = path if isinstance(path, Path) else Path(name)  # to parse one takes long
        return Window(fd, place.absolute(), tried, stamp)
    except BaseException:
        os.close(fd)
        raise


def _stamp_of(status: os.stat_result, name: str, tried: str) -> Stamp:
    mode = status.st_mode
    if stat.S_ISREG(mode):
        if status.st_size == 0:
            raise BadBinary(
                tried,
                "the file is empty",
                hint="a build or a copy was interrupted, or the disk was full: make the file again",
            )
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    if stat.S_ISDIR(mode):
        raise BadBinary(
            tried, "this is a directory, not a library file", hint=_hint_directory(name)
        )
    kind = _FILE_TYPES.get(stat.S_IFMT(mode), "a special file")
    raise BadBinary(
        tried,
        f"this is {kind}, not a regular file",
        hint="save its contents to a file first, then give that file's path",
    )


def _cannot_open(error: OSError, name: str, tried: str) -> BadBinary | LibraryNotFound:
    if error.errno in _MISSING:
        if os.path.islink(name) and error.errno == errno.ENOENT:
            target = os.fsencode(os.readlink(name)).decode("utf-8", "backslashreplace")
            return LibraryNotFound(
                tried,
                f"it is a symbolic link to {target}, which does not exist",
                hint="install the package that has the link's target, or make the link again",
            )
        return LibraryNotFound(
            tried, os.strerror(error.errno or errno.ENOENT).lower(), hint=_hint_missing(name)
        )
    hint = "check the disk or the network share that holds the file"
    if error.errno in (errno.EACCES, errno.EPERM):
        hint = "check the permissions of the file and of the directories above it: namei -l PATH"
    return BadBinary(tried, (error.strerror or str(error)).lower(), hint=hint)


def _names_in(directory: str) -> list[str]:
    try:
        with os.scandir(directory or ".") as entries:
            return [entry.name for entry, _ in zip(entries, range(_LISTED_AT_MOST), strict=False)]
    except (OSError, ValueError):
        return []


def _hint_missing(name: str) -> str:
    directory, wanted = os.path.split(name)
    near = difflib.get_close_matches(wanted, _names_in(directory), 1)
    if near:
        return f"did you mean {_shown(os.path.join(directory, near[0]))}?"
    if not directory:
        return f"a path is needed here; find one with: ldconfig -p | grep {_shown(wanted)!r}"
    if not os.path.isdir(directory):
        return f"there is no directory {_shown(directory)} either: check the path from its start"
    return f"see what is there: ls {_shown(directory)}"


def _hint_directory(name: str) -> str:
    inside = sorted(entry for entry in _names_in(name) if ".so" in entry or ".dll" in entry.lower())
    if inside:
        return f"give a file inside it, for example {_shown(os.path.join(name, inside[0]))}"
    return f"give the path of a file; see what is there: ls {_shown(name)}"


def _shown(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")
