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

import os
from collections.abc import Sequence
from pathlib import Path

from libferry.errors import LibraryNotFound

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
    in_cache = _in_cache(cache, text, cpu)
    if in_cache is not None and (found := root / in_cache.lstrip("/")).is_file():
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


def _in_cache(path: Path, name: str, cpu: str) -> str | None:
    """Where an ld.so.cache has a library, for one CPU and no special hardware."""
    from libferry.loader.glibc.cache import Cache, choose
    from libferry.loader.glibc.rules import CPUS

    if cpu not in CPUS:
        return None
    try:
        cache = Cache(path.read_bytes(), "big" if cpu == "s390x" else "little")
    except OSError:
        return None
    entry = choose(cache.entries(name), CPUS[cpu].cache, {}, 0)
    return entry.path if entry else None
