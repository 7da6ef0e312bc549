"""The files that a process has mapped, as the kernel tells of them.

``/proc/PID/maps`` names a file by device, inode and the path that it was opened by. That
path may lead to another file by now: a package was upgraded, or somebody covers a trail.
So a file is digested by the kernel's own link to it, ``/proc/PID/map_files`` (proc(5)), for
which one needs CAP_CHECKPOINT_RESTORE; or by its path, if that still leads to the
same device and inode. If not, that is said, and there is no digest.

Devices need a second look. For a file of overlayfs (every container) or btrfs, ``maps`` has
another device than ``stat``. What decides then is how the kernel names the file that we
found when we map it ourselves.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from libferry.binary.elf import Image
from libferry.binary.elf.notes import build_id
from libferry.binary.opening import open_window
from libferry.errors import FerryError

MAPS_READ = 64 << 20  # bytes: more lines than a process may have mappings
KEPT_DIGESTS = 4096
DELETED = " (deleted)"

Identity = tuple[int, int]  # device and inode

_LINE = re.compile(
    rb"([0-9a-f]+-[0-9a-f]+) (.)(.)(.). ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) (\d+) *([^\n]*)"
)
_digests: dict[tuple[int, ...], str] = {}


@dataclass(frozen=True)
class LoadedFile:
    """One file that a process has mapped.

    Attributes:
        path: the path that it was opened by.
        digest: ``sha256:`` and 64 digits; None if the bytes that are mapped cannot be read.
        build_id: of an ELF file that has one, as digits; or None.
        size: in bytes.
        problem: why there is no digest; else empty.
    """

    path: str
    digest: str | None
    build_id: str | None
    size: int
    problem: str = ""


@dataclass(frozen=True)
class Mapping:
    """One line of ``/proc/PID/maps`` that has a file."""

    range: str
    executable: bool
    offset: int
    identity: Identity
    path: str


def mappings(pid: int) -> Iterator[Mapping]:
    """The files that a process has mapped, line by line; nothing if it is gone."""
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            text = file.read(MAPS_READ)
    except OSError:
        return
    for line in _LINE.finditer(text):
        places, _, _, execute, offset, major, minor, inode, path = line.groups()
        if inode != b"0":
            yield Mapping(
                places.decode(),
                execute == b"x",
                int(offset, 16),
                (os.makedev(int(major, 16), int(minor, 16)), int(inode)),
                os.fsdecode(path.replace(b"\\012", b"\n")),
            )


def code_of(
    pid: int, *, emulated: bool = False, known: Callable[[Mapping], LoadedFile | None] | None = None
) -> dict[Identity, LoadedFile]:
    """The files with code that a process has mapped, each once.

    Args:
        pid: the process.
        emulated: whether it is an emulator, whose program's code is data to the kernel:
            then every ELF file counts.
        known: gives what is known of a mapping without reading the file, or None.
    """
    found: dict[Identity, LoadedFile] = {}
    for mapping in mappings(pid):
        if mapping.identity in found or not (mapping.executable or emulated):
            continue
        file = known(mapping) if known else None
        if file is None and (mapping.executable or _is_elf(pid, mapping)):
            file = loaded_file(pid, mapping)
        if file:
            found[mapping.identity] = file
    return found


def _is_elf(pid: int, mapping: Mapping) -> bool:
    if mapping.offset:
        return False
    with _opened(pid, mapping) as (descriptor, _):
        return descriptor is not None and os.pread(descriptor, 4, 0) == b"\x7fELF"


def loaded_file(pid: int, mapping: Mapping) -> LoadedFile:
    """What is to be said of one mapped file."""
    with _opened(pid, mapping) as (descriptor, problem):
        if descriptor is None:
            return LoadedFile(mapping.path, None, None, 0, problem)
        return of_descriptor(descriptor, mapping.path)


def of_descriptor(descriptor: int, path: str) -> LoadedFile:
    """What is to be said of an open file."""
    size = os.fstat(descriptor).st_size
    return LoadedFile(path, digest_of(descriptor), build_id_of(descriptor), size)


@contextmanager
def _opened(pid: int, mapping: Mapping) -> Iterator[tuple[int | None, str]]:
    """A descriptor of the very file that is mapped, or None and why there is none."""
    descriptor, problem = _open(pid, mapping)
    try:
        yield descriptor, problem
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _open(pid: int, mapping: Mapping) -> tuple[int | None, str]:
    with suppress(OSError):
        descriptor = _open_regular(f"/proc/{pid}/map_files/{mapping.range}")
        if descriptor is not None:
            return descriptor, ""
    if mapping.path.endswith(DELETED):
        return None, "it was deleted since it was loaded"
    problem = "it cannot be read"
    for place in (mapping.path, f"/proc/{pid}/root{mapping.path}"):
        with suppress(OSError):
            descriptor = _open_regular(place)
            if descriptor is not None:
                if _is_that(descriptor, mapping.identity):
                    return descriptor, ""
                os.close(descriptor)
                problem = "it was replaced since it was loaded"
    return None, problem


def _open_regular(path: str) -> int | None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None


def _is_that(descriptor: int, identity: Identity) -> bool:
    status = os.fstat(descriptor)
    if (status.st_dev, status.st_ino) == identity:
        return True
    return status.st_size > 0 and _identity_when_mapped(descriptor) == identity


def _identity_when_mapped(descriptor: int) -> Identity | None:
    """How ``maps`` names an open file."""
    with mmap.mmap(descriptor, 1, access=mmap.ACCESS_COPY) as mapped:
        place = ctypes.c_char.from_buffer(mapped)
        start = f"{ctypes.addressof(place):x}-"
        del place  # else it could not be unmapped
        lines = (line for line in mappings(os.getpid()) if line.range.lstrip("0").startswith(start))
        return next((line.identity for line in lines), None)


def digest_of(descriptor: int) -> str:
    """``sha256:...`` of an open file, which is remembered while the file stays as it is."""
    key = _stamp(descriptor)
    if key not in _digests:
        computed = hashlib.sha256()
        at = 0
        while block := os.pread(descriptor, 1 << 20, at):
            computed.update(block)
            at += len(block)
        if key != _stamp(descriptor):
            return f"sha256:{computed.hexdigest()}"  # somebody is writing to it
        while len(_digests) >= KEPT_DIGESTS:
            del _digests[next(iter(_digests))]
        _digests[key] = f"sha256:{computed.hexdigest()}"
    return _digests[key]


def _stamp(descriptor: int) -> tuple[int, ...]:
    at = os.fstat(descriptor)
    return (at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns)


def build_id_of(descriptor: int) -> str | None:
    """The build ID in the notes of an open ELF file."""
    try:
        with open_window(f"/proc/self/fd/{descriptor}") as window:
            if window.bytes(0, 4, "the magic number") != b"\x7fELF":
                return None
            image = Image(window)
            found = build_id(image)
            return found.hex() if found else None
    except FerryError:
        pass
    return None
