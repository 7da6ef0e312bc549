"""Find a library by name, as the system's own loader would.

A name with a slash is a path. A bare ``libz.so.1`` is looked for where glibc's
loader looks for a library that a program asks for (ld.so(8)): LD_LIBRARY_PATH, the
cache that ldconfig writes, the default folders. A bare ``zlib1.dll`` is looked for
as Windows does with SafeDllSearchMode: the system's folder, then the current one.

The current folder is no place for a ``.so`` there, and the error says so when one
lies in it: a program that loads what happens to lie around can be made to load
anything.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from libferry.errors import LibraryNotFound

# glibc 2.41, sysdeps/generic/dl-cache.h: struct cache_file_new and file_entry_new.
_CACHE_MAGIC = b"glibc-ld.so.cache1.1"
_CACHE_HEADER = struct.Struct("<20sII4sI12s")
_CACHE_ENTRY = struct.Struct("<iIIIQ")
# sysdeps/generic/ldconfig.h: FLAG_ELF_LIBC6 with the CPU's bits.
_CACHE_FLAGS = {
    "x86_64": 0x0303,
    "i386": 0x0003,
    "aarch64": 0x0A03,
    "arm": 0x0903,
    "riscv64": 0x1003,
    "loongarch64": 0x1203,
}

# The target's own folders first: Debian's multiarch tuples, then what others use.
DEFAULT_FOLDERS = {
    "x86_64": ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64", "usr/lib64"),
    "i386": ("lib/i386-linux-gnu", "usr/lib/i386-linux-gnu", "lib32", "usr/lib32"),
    "aarch64": ("lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu", "lib64", "usr/lib64"),
    "arm": ("lib/arm-linux-gnueabihf", "usr/lib/arm-linux-gnueabihf", "lib", "usr/lib"),
    "riscv64": ("lib/riscv64-linux-gnu", "usr/lib/riscv64-linux-gnu", "lib64", "usr/lib64"),
    "loongarch64": (
        *("lib/loongarch64-linux-gnu", "usr/lib/loongarch64-linux-gnu"),
        *("lib64", "usr/lib64"),
    ),
}


def locate(
    name: str | os.PathLike[str],
    *,
    cpu: str,
    sysroot: Path | None = None,
    windows_folder: Path | None = None,
) -> Path:
    """The file that ``name`` means.

    Args:
        name: a path, or a bare library name.
        cpu: the CPU whose libraries are looked for by a bare name.
        sysroot: look there instead of in this system.
        windows_folder: where the system DLLs are, if this machine has any.

    Raises:
        LibraryNotFound: a bare name that is nowhere; the hint lists the places.
    """
    text = os.fspath(name)
    if "/" in text or isinstance(name, os.PathLike):
        return Path(text)
    if text.lower().endswith(".dll"):
        folders = [str(windows_folder)] if windows_folder else []
        return _first(text, [*folders, "."], "give its path")
    tried: list[str] = []
    root = sysroot or Path("/")
    paths = [] if sysroot else os.environ.get("LD_LIBRARY_PATH", "").replace(";", ":").split(":")
    for folder in filter(None, paths):
        tried.append(folder)
        if (found := Path(folder) / text).is_file():
            return found
    cache = root / "etc/ld.so.cache"
    tried.append(str(cache))
    for key, value in _cache_entries(cache, _CACHE_FLAGS.get(cpu, -1)):
        if key == text and (found := root / value.lstrip("/")).is_file():
            return found
    defaults = [str(root / folder) for folder in (*DEFAULT_FOLDERS.get(cpu, ()), "lib", "usr/lib")]
    here = f"there is one in the current folder: ./{text}" if Path(text).is_file() else ""
    return _first(text, defaults, here or "give its path, or install it", tried)


def _first(name: str, folders: Sequence[str], hint: str, before: Sequence[str] = ()) -> Path:
    for folder in folders:
        if (found := Path(folder) / name).is_file():
            return found
        if name.lower().endswith(".dll") and os.path.isdir(folder):
            for entry in os.scandir(folder):  # Windows' names have no case
                if entry.name.lower() == name.lower() and entry.is_file():
                    return Path(entry.path)
    raise LibraryNotFound(
        f"find {name}",
        f"it is in none of {', '.join([*before, *folders])}",
        hint=hint,
    )


def _cache_entries(path: Path, flags: int) -> Iterator[tuple[str, str]]:
    """Names and paths in an ld.so.cache, for one CPU and no special hardware."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            # an old-format part may come first (glibc before 2.32)
            start = data.find(_CACHE_MAGIC)
            if start < 0 or start + _CACHE_HEADER.size > len(data):
                return
            count = _CACHE_HEADER.unpack_from(data, start)[1]
            first = start + _CACHE_HEADER.size
            count = min(count, (len(data) - first) // _CACHE_ENTRY.size)
            for index in range(count):
                kind, key, value, _, hwcap = _CACHE_ENTRY.unpack_from(
                    data, first + index * _CACHE_ENTRY.size
                )
                if kind == flags and hwcap == 0:
                    yield _string(data, start + key), _string(data, start + value)
    except (OSError, ValueError):
        return


def _string(data: mmap.mmap, start: int) -> str:
    end = data.find(b"\0", start)
    return os.fsdecode(data[start : max(end, start)])
