"""Which files are native code, told by their first bytes.

Names say little: a Python extension on Windows is a ``.pyd``, a program has no suffix, and
``libc.so`` is a text. The first bytes say it, with two traps. ``CAFEBABE`` begins a
universal Mach-O file and every Java class; the word after it is the number of slices in
one and the version in the other, and no version is below 45. ``MZ`` begins everything
that DOS could run; what Windows can run has ``PE\\0\\0`` where the word at 0x3c leads.

Objects and core files are native, too, but no loader takes them: they are left out, and
so is what holds debugging information only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from stat import S_ISREG

HEAD = 4096  # bytes; longer than any DOS program that linkers put before PE's header
SMALLEST = 52  # bytes: the header of a 32-bit ELF file

_ELF_LOADED = {2, 3}  # gABI, e_type: ET_EXEC, ET_DYN
_JAVA = 45  # JVM specification, table 4.1-A: the first major version
# mach-o/loader.h, filetype: MH_OBJECT, MH_CORE, MH_DYLIB_STUB, MH_DSYM, MH_KEXT_BUNDLE
_MACHO_NOT_LOADED = {1, 4, 9, 10, 11}
_MACHO_ORDER = {
    b"\xce\xfa\xed\xfe": "little",
    b"\xcf\xfa\xed\xfe": "little",
    b"\xfe\xed\xfa\xce": "big",
    b"\xfe\xed\xfa\xcf": "big",
}

# Nobody gives code such a name, and a system has a hundred thousand of these.
# fmt: off
_NEVER = frozenset({
    ".a", ".c", ".cc", ".cpp", ".css", ".csv", ".gif", ".gz", ".h", ".hpp", ".htm", ".html",
    ".ico", ".jpg", ".js", ".json", ".la", ".md", ".mo", ".o", ".pc", ".pl", ".pm", ".png", ".po",
    ".py", ".pyc", ".pyi", ".rb", ".rst", ".sh", ".svg", ".toml", ".ts", ".ttf", ".txt", ".xml",
    ".xz", ".yaml", ".yml", ".zip", ".zst", ".ko", ".class", ".debug", ".mjs", ".map", ".tcl",
    ".rs", ".go", ".list", ".md5sums",
})
# fmt: on


def is_native(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a library or a program."""
    start = head[:4]
    if start == b"\x7fELF":
        return len(head) >= SMALLEST and (head[16] | head[17]) in _ELF_LOADED
    if start in _MACHO_ORDER:
        order: str = _MACHO_ORDER[start]
        kind = int.from_bytes(head[12:16], "little" if order == "little" else "big")
        return kind not in _MACHO_NOT_LOADED
    if start in (b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf"):
        return 0 < int.from_bytes(head[4:8], "big") < _JAVA
    if start[:2] == b"MZ" and len(head) >= 0x40:
        at = int.from_bytes(head[0x3C:0x40], "little")
        return head[at : at + 4] == b"PE\0\0"
    return False


def find(root: str, but: Iterable[str] = ()) -> Iterator[str]:
    """The native files below a folder, each once; links are not followed.

    What cannot be read is passed over: it is not ours to load.

    Args:
        root: the folder.
        but: folders, relative to ``root``, that are passed over.
    """
    seen: set[tuple[int, int]] = set()
    passed = {os.path.join(root, folder) for folder in but}
    folders = [root]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    if entry.path not in passed:
                        folders.append(entry.path)
                elif entry.is_file(follow_symlinks=False) and _may_be(entry.name):
                    status = _native(entry.path)
                    if status is None:
                        continue
                    identity = (status.st_dev, status.st_ino)
                    if status.st_nlink == 1 or identity not in seen:
                        seen.add(identity)
                        yield entry.path
            except OSError:
                continue


def _may_be(name: str) -> bool:
    return os.path.splitext(name)[1].lower() not in _NEVER


def _native(path: str) -> os.stat_result | None:
    # O_NONBLOCK is for what becomes a pipe in between
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        head = os.read(file, HEAD)
        if len(head) < SMALLEST or not is_native(head):
            return None
        status = os.fstat(file)
        return status if S_ISREG(status.st_mode) else None
    finally:
        os.close(file)


def head_of(path: Path) -> bytes:
    """The first bytes of a file.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return file.read(HEAD)
