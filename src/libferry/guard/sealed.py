"""A copy of a library that nobody can change: what was verified is what is loaded.

Between the digest of a file and the loader's look at it, somebody may put another file
there, or write into this one. So the bytes are copied while they are digested, into
memory that is then sealed (memfd_create(2), fcntl(2) F_ADD_SEALS), and the loader gets that,
by a path in /proc.

The loader takes the folder of that path for ``$ORIGIN``. A library that looks for others
beside itself would not find them there, so it is opened by its own path, and the file
that was mapped is verified afterwards: its constructors have run by then.
"""

from __future__ import annotations

import hashlib
import os
import weakref
from pathlib import Path

from libferry import _core
from libferry.binary import Binary
from libferry.binary.opening import open_window
from libferry.guard.files import Identity

BLOCK = 1 << 20
_NAME_AT_MOST = 200  # bytes; memfd_create(2) takes 249


class Sealed:
    """The sealed copy of a file.

    Attributes:
        path: of the file that was copied.
        mapped_as: the path that the kernel gives to its mappings (memfd_create(2)).
        digest: of its bytes, and the copy's.
        descriptor: of the copy; open until ``close``, or until nobody has this object.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        name = os.fsencode(path.name)[:_NAME_AT_MOST]
        self.mapped_as = f"/memfd:{os.fsdecode(name)} (deleted)"
        self.descriptor = _core.memory_file(name)
        self.close = weakref.finalize(self, os.close, self.descriptor)
        computed = hashlib.sha256()
        with open_window(path) as window, open(self.descriptor, "wb", closefd=False) as copy:
            for at in range(0, window.size, BLOCK):
                block = window.bytes(at, min(BLOCK, window.size - at), "the library")
                computed.update(block)
                copy.write(block)
        _core.seal(self.descriptor)
        self.digest = f"sha256:{computed.hexdigest()}"

    @property
    def identity(self) -> Identity:
        """How the kernel names the copy where it is mapped."""
        status = os.fstat(self.descriptor)
        return status.st_dev, status.st_ino

    @property
    def place(self) -> str:
        """The path by which this process opens the copy."""
        return own_descriptor(self.descriptor)


def own_descriptor(number: int) -> str:
    """The path by which a process opens again what it has open."""
    return f"/proc/self/fd/{number}"


def can_be_sealed(binary: Binary) -> bool:
    """Whether the library finds all it needs if it is opened from elsewhere."""
    return binary.format == "elf" and not any("ORIGIN" in f for f in binary.rpath + binary.runpath)
