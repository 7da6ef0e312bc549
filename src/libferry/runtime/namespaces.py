"""Namespaces of the loader: several C libraries side by side in this process.

glibc's ``dlmopen`` opens a library with everything it needs, the C library included,
into a namespace where nothing else is seen. Two versions of one library, or two that
export the same names, then live in one process. What comes with that:

* The namespace has an ``errno`` of its own, which is the one we report; a heap of its
  own, so what one side allocated the other must not free; its own stdio buffers, locale
  ("C" at first), ``environ`` (what the process was started with), ``atexit`` list.
* Values of pthread keys are the one thing that glibc mixes up: ``namespace.c`` has that
  story, and gives each namespace keys that nobody else uses. Destructors of keys and of
  C++ ``thread_local`` objects do not run when one of Python's threads ends.
* A crash is this process's crash, as in-process.

How many fit. There are 16 namespaces (``DL_NNS`` in glibc's ``ldsodefs.h``), and the
process has the first. Mostly something else ends sooner: variables of threads that are
addressed directly ("static TLS", the C library's ``errno`` for one) lie in a block that
was made when the process began, with 1,664 bytes to spare, or with 5,696 under
``GLIBC_TUNABLES=glibc.rtld.nns=16`` (glibc manual, "Dynamic Linking Tunables"). Each
further C library takes 144 of them. What else in this process took some cannot be asked
for, and a fresh process knows nothing of it. So we send a *scout*: an ELF file of our
own making, with as much static TLS as the library and all it needs have, and nothing
else. If the loader takes that into a namespace, it will take the library, and if not,
nothing was lost.

Room is given back from the end only: closing a library while a later one is open loses
its static TLS for good (``dl-close.c`` of glibc 2.36). Hence the namespaces are
closed in the reverse order that they were made in, whatever order their libraries are
closed in, and one that is empty and waits for that is used again if no new one fits.
"""

from __future__ import annotations

import atexit
import os
import struct
import subprocess
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from libferry import _core
from libferry.binary import read
from libferry.binary.elf import Image
from libferry.binary.opening import open_window
from libferry.errors import NamespacesFull, NoRunner
from libferry.loader import locate
from libferry.runtime import runner
from libferry.runtime.environment import child_environment

NEW = -1  # LM_ID_NEWLM of dlfcn.h
LARGEST = 16  # DL_NNS
UNCHECKED = 2  # a process that has none, or one, has room for another
LAST_BLOCK = 31  # of pthread keys: 1,024 in blocks of 32, and the first is the process's own

# Old programs' name for a part of the C library: before glibc 2.34 it has the pthread keys,
# since then it is empty and leads to libc.so.6, which has them.
COMPANION = b"libpthread.so.0"
_LEFT = ("libpthread.so.0", "libc.so.6", "ld-", "linux-vdso")  # what an empty one has

_TUNABLE = "GLIBC_TUNABLES=glibc.rtld.nns=16"
_FULL = ("static TLS", "no more namespaces")  # in the loader's message

# gABI, "Program Header" and "Dynamic Section"
PT_LOAD, PT_DYNAMIC, PT_TLS = 1, 2, 7
DT_FLAGS, DF_STATIC_TLS = 30, 0x10

# e_machine, and the relocation that asks for an offset in static TLS: the psABI
# supplements' R_X86_64_TPOFF64 and R_AARCH64_TLS_TPREL
_SCOUTS = {"x86_64": (62, 18), "aarch64": (183, 1030)}

_lock = threading.RLock()
_made: list[Namespace] = []  # in the order of their making
_blocks: list[int] = []  # of pthread keys: ours, and free
_claimed = 0


@dataclass(eq=False)
class Namespace:
    """One namespace.

    Attributes:
        number: the loader's.
        companion: a handle that keeps it, and its C library, open.
        error_location: the address of its ``__errno_location``.
        block: of pthread keys that it has for itself.
        empty: whether its library is gone.
    """

    number: int
    companion: int
    error_location: int
    block: int
    empty: bool = False

    def open(self, target: str) -> tuple[int, str]:
        """Open a library in it: its handle, and the loader's words if that is 0."""
        handle, _, message = _core.namespace_open(self.number, os.fsencode(target), False)
        return handle, message

    def leave(self) -> None:
        """Its library was closed: make room for others."""
        with _lock:
            _core.namespace_flush(self.companion)
            self.empty = all(
                Path(path).name.startswith(_LEFT)
                for path in _core.namespace_files(self.companion)
                if path
            )
            while _made and _made[-1].empty:
                last = _made.pop()
                _core.namespace_close(last.companion, False)
                _blocks.append(last.block)


def enter(path: Path) -> Namespace:
    """A namespace with room for the library of that file.

    Raises:
        NoRunner: this system's loader has none.
        NamespacesFull: there is no room.
    """
    with _lock:
        refusal = ""
        if len(_made) >= UNCHECKED:
            refusal = _refusal(static_tls(path))
        if not refusal:
            made = _make()
            if isinstance(made, Namespace):
                return made
            refusal = made
        for namespace in _made:
            if namespace.empty:
                namespace.empty = False
                return namespace
        raise full(path, refusal)


def full(path: Path, message: str) -> NamespacesFull:
    """The error for a loader that has no room."""
    open_ones = sum(not namespace.empty for namespace in _made)
    what = (
        f"all {LARGEST} of the loader's are taken"
        if "no more" in message
        else "the block for thread-local variables that the process was started with has no "
        f"{static_tls(path):,} bytes left"
    )
    more = "" if "nns=16" in os.environ.get("GLIBC_TUNABLES", "") else f"start it with {_TUNABLE}, "
    return NamespacesFull(
        f"open {path.name} in a namespace of its own",
        f"{open_ones} namespaces of libferry's are open in this process, and {what}",
        hint=f"close one, {more}or use isolation='worker', which has no limit",
    )


def is_full(message: str) -> bool:
    """Whether that is how the loader says that it has no room."""
    return any(words in message for words in _FULL)


def room(path: str | os.PathLike[str]) -> int:
    """How many more times a library could be opened in a namespace of its own, now.

    Raises:
        LibraryNotFound, BadBinary: there is no such library, or it is none.
    """
    file = locate(path, cpu=runner.host_cpu())
    with _lock:
        taken, _ = _scouts(static_tls(file), LARGEST)
        return taken + sum(namespace.empty for namespace in _made)


def _make() -> Namespace | str:
    """A new namespace, or the loader's words."""
    global _claimed
    handle, number, message = _core.namespace_open(NEW, COMPANION, False)
    if not handle and is_full(message):
        return message
    if not handle:
        raise NoRunner(
            "make a namespace",
            message,
            hint="namespaces are the GNU C library's; isolation='worker' needs none",
        )
    while not _blocks and _claimed < LAST_BLOCK:
        _claimed += 1
        if _core.keys_claim(_claimed):
            _blocks.append(_claimed)
    block = _blocks.pop() if _blocks else 0
    error_location = _core.namespace_settle(handle, block) if block else 0
    if not error_location:
        _core.namespace_close(handle, False)
        raise NoRunner(
            "make a namespace",
            "this process has no pthread keys left for it",
            hint="isolation='worker' has keys of its own",
        )
    made = Namespace(number, handle, error_location, block)
    _made.append(made)
    return made


# ---- scouts ----


def _refusal(size: int) -> str:
    """Why the loader would not take a library with that much static TLS; empty: it would."""
    taken, message = _scouts(size, 1)
    return "" if taken else message


def _scouts(size: int, most: int) -> tuple[int, str]:
    """How many with that much static TLS the loader takes, and why no more.

    The GIL is kept from the first to the last: no import meets them.
    """
    descriptor = _core.memory_file(b"libferry-scout")
    handles: list[int] = []
    message = ""
    try:
        os.write(descriptor, _scout(size))
        path = b"/proc/self/fd/%d" % descriptor
        while len(handles) < most and not message:
            handle, _, message = _core.namespace_open(NEW, path, True)
            if handle:
                handles.append(handle)
    finally:
        for handle in reversed(handles):
            _core.namespace_close(handle, True)
        os.close(descriptor)
    return len(handles), message


@lru_cache(maxsize=64)
def _scout(size: int) -> bytes:
    """A shared library of nothing but ``size`` bytes of static TLS.

    Its alignment is 1: what is lost to alignment the loader does not give back.
    """
    machine, relocation = _SCOUTS[runner.host_cpu()]
    dynamic = 64 + 3 * 56  # behind the header and three program headers
    symbols = dynamic + 9 * 16
    strings = symbols + 24
    table = strings + 8
    relocations = table + 16
    word = relocations + 24
    end = word + 8

    def segment(kind: int, flags: int, at: int, stored: int, held: int, align: int) -> bytes:
        return struct.pack("<IIQQQQQQ", kind, flags, at, at, at, stored, held, align)

    entries = {
        5: strings,  # DT_STRTAB
        10: 8,  # DT_STRSZ
        6: symbols,  # DT_SYMTAB
        11: 24,  # DT_SYMENT
        4: table,  # DT_HASH
        7: relocations,  # DT_RELA
        8: 24,  # DT_RELASZ
        9: 24,  # DT_RELAENT
        0: 0,  # DT_NULL
    }
    return b"".join(
        [
            b"\x7fELF\2\1\1" + bytes(9),
            struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 3, 0, 0, 0),
            segment(PT_LOAD, 6, 0, end, end, 4096),
            segment(PT_DYNAMIC, 6, dynamic, 9 * 16, 9 * 16, 8),
            segment(PT_TLS, 4, end, 0, size, 1),
            *(struct.pack("<QQ", *entry) for entry in entries.items()),
            bytes(24 + 8),  # the symbol of number 0, and an empty string
            struct.pack("<IIII", 1, 1, 0, 0),
            struct.pack("<QQq", word, relocation, 0),
            bytes(8),
        ]
    )


def static_tls(path: Path) -> int:
    """Bytes of static TLS that a library takes with all that it needs, the C library too."""
    return sum(map(_static_tls_of, {*needed(path), _companions_library()}))


@lru_cache(maxsize=1)
def _companions_library() -> Path:
    """The C library of this process."""
    return locate("libc.so.6", cpu=runner.host_cpu()).resolve()


def _static_tls_of(path: Path) -> int:
    with open_window(path) as window:
        image = Image(window)
        if not image.tags.get(DT_FLAGS, 0) & DF_STATIC_TLS:
            return 0
        return sum(-(-s.size // 16) * 16 for s in image.segments if s.type == PT_TLS)


def needed(path: Path) -> tuple[Path, ...]:
    """The files of a library and of all it needs, as this system's own loader finds them."""
    status = path.stat()
    return _needed(path.resolve(), status.st_mtime_ns, os.environ.get("LD_LIBRARY_PATH", ""))


@lru_cache(maxsize=256)
def _needed(path: Path, _changed: int, _folders: str) -> tuple[Path, ...]:
    loader = read("/proc/self/exe").interpreter
    if loader is None:
        return (path,)
    listed = subprocess.run(
        [loader, "--list", path],
        capture_output=True,
        text=True,
        check=False,
        env=child_environment({}),
    )
    found = [path]
    for line in listed.stdout.splitlines():
        name = line.partition("=>")[2] or line  # "libc.so.6 => /lib/libc.so.6 (0x...)"
        file = name.rpartition(" (")[0].strip()
        if file.startswith("/"):
            found.append(Path(file).resolve())
    return tuple(dict.fromkeys(found))


@atexit.register
def _flush() -> None:
    """A C library of a namespace is not told that the process ends."""
    for namespace in _made:
        _core.namespace_flush(namespace.companion)
