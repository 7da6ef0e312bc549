"""What the child does to itself before it executes, as bytes (native/confine.h).

A step is ``u32 kind, u32 size``, a payload, and zeros to the next multiple of 8. This
only writes; what belongs into a plan, and in which order, ``confine.py`` says.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

# native/confine.h, enum confine_step
(
    NAMESPACES,
    MAP_IDS,
    PRIVATE_MOUNTS,
    TMPFS,
    MKDIR,
    TOUCH,
    SYMLINK,
    BIND,
    PROC,
    PIVOT,
    COPY,
    READONLY,
    RLIMIT,
    NO_NEW_PRIVS,
    DROP_CAPABILITIES,
    LANDLOCK,
    SECCOMP,
) = range(1, 18)

# include/uapi/linux/sched.h
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# include/uapi/linux/mount.h
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8

# include/uapi/linux/seccomp.h
FILTER_NEW_LISTENER = 8
_INSTRUCTION = 8  # bytes of a struct sock_filter


def text(value: str) -> bytes:
    """A path or option, with the NUL that ends it."""
    data = value.encode("utf-8", "surrogateescape")
    if b"\0" in data:
        raise ValueError(f"{value!r} has a NUL in it")
    return data + b"\0"


def padded(data: bytes) -> bytes:
    """The bytes and zeros to the next multiple of 8."""
    return data + bytes(-len(data) % 8)


def step(kind: int, payload: bytes = b"") -> bytes:
    """One step."""
    return struct.pack("<II", kind, len(payload)) + padded(payload)


def texts(kind: int, *values: str) -> bytes:
    """A step of texts alone."""
    return step(kind, b"".join(map(text, values)))


def namespaces(flags: int) -> bytes:
    """New namespaces; the first step."""
    return step(NAMESPACES, struct.pack("<II", flags, 0))


def map_ids(uid: int, gid: int) -> bytes:
    """What we are called in the user namespace."""
    return step(MAP_IDS, struct.pack("<II", uid, gid))


def tmpfs(target: str, options: str, flags: int) -> bytes:
    """An empty file system in memory."""
    return step(TMPFS, struct.pack("<Q", flags) + text(target) + text(options))


def mkdir(path: str, mode: int = 0o755) -> bytes:
    """A folder."""
    return step(MKDIR, struct.pack("<II", mode, 0) + text(path))


def bind(source: str, target: str, flags: int) -> bytes:
    """A file or folder of the host's, at its place."""
    return step(BIND, struct.pack("<Q", flags) + text(source) + text(target))


def rlimit(resource: int, soft: int, hard: int) -> bytes:
    """A limit of setrlimit(2)."""
    return step(RLIMIT, struct.pack("<IIQQ", resource, 0, soft, hard))


def landlock(
    handled_files: int,
    handled_ports: int,
    scoped: int,
    paths: Iterable[tuple[str, int]],
    ports: Iterable[tuple[int, int]],
) -> bytes:
    """A Landlock ruleset: everything handled is refused, but for the rules."""
    path_rules = []
    for path, access in paths:
        name = text(path)
        path_rules.append(struct.pack("<QII", access, len(name), 0) + padded(name))
    port_rules = [struct.pack("<QQ", access, port) for port, access in ports]
    head = struct.pack(
        "<QQQII", handled_files, handled_ports, scoped, len(path_rules), len(port_rules)
    )
    return step(LANDLOCK, head + b"".join(path_rules) + b"".join(port_rules))


def seccomp(program: bytes, flags: int) -> bytes:
    """A filter; with a listener it is the last step."""
    return step(SECCOMP, struct.pack("<II", flags, len(program) // _INSTRUCTION) + program)
