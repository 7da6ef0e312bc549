"""Plans and policies as native/confine.h has them, written a second time."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence

NAMES = (
    "NAMESPACES MAP_IDS PRIVATE_MOUNTS TMPFS MKDIR TOUCH SYMLINK BIND PROC PIVOT COPY READONLY "
    "RLIMIT NO_NEW_PRIVS DROP_CAPABILITIES LANDLOCK SECCOMP"
)
KINDS = {name: number for number, name in enumerate(NAMES.split(), 1)}

# include/uapi/linux/sched.h
NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
# include/uapi/linux/mount.h
RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8
# include/uapi/linux/landlock.h: what a file's reader needs, and all rights of ABI 1
FS_EXECUTE, FS_READ_FILE, FS_READ_DIR, FS_ALL = 1, 4, 8, 0x1FFF
# include/uapi/linux/seccomp.h, filter.h, bpf_common.h, audit.h
NEW_LISTENER = 8
ALLOW, USER_NOTIF, ERRNO = 0x7FFF0000, 0x7FC00000, 0x00050000
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
ARCH_X86_64, ARCH_I386 = 0xC000003E, 0x40000003


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def text(path: str | os.PathLike[str]) -> bytes:
    return os.fsencode(path) + b"\0"


def step(kind: str, payload: bytes = b"") -> bytes:
    return struct.pack("=II", KINDS[kind], len(payload)) + padded(payload)


def namespaces(flags: int) -> bytes:
    """In new ones, with the numbers of our user and group."""
    ids = step("MAP_IDS", struct.pack("=II", os.geteuid(), os.getegid()))
    return step("NAMESPACES", struct.pack("=II", flags, 0)) + (ids if flags & NEWUSER else b"")


def new_root(root: str, *binds: str) -> bytes:
    """An empty file system with these folders of ours, and /proc, in it."""
    plan = step("PRIVATE_MOUNTS") + step("TMPFS", struct.pack("=Q", 6) + text(root) + text(""))
    for folder in binds:
        plan += step("MKDIR", struct.pack("=II", 0o755, 0) + text(root + folder))
        plan += step(
            "BIND", struct.pack("=Q", RDONLY | NOSUID) + text(folder) + text(root + folder)
        )
    plan += step("MKDIR", struct.pack("=II", 0o755, 0) + text(root + "/proc"))
    plan += step("PROC", text(root + "/proc") + text(""))
    return plan + step("PIVOT", text(root)) + step("READONLY", text("/"))


def limit(resource: int, soft: int, hard: int) -> bytes:
    return step("RLIMIT", struct.pack("=IIQQ", resource, 0, soft, hard))


def landlock(paths: dict[str, int], handled: int = FS_ALL, handled_net: int = 0) -> bytes:
    payload = struct.pack("=QQQII", handled, handled_net, 0, len(paths), 0)
    for path, access in paths.items():
        payload += struct.pack("=QII", access, len(text(path)), 0) + padded(text(path))
    return step("LANDLOCK", payload)


def instruction(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def seccomp(actions: dict[int, int], flags: int = 0, otherwise: int = ALLOW) -> bytes:
    """A filter that looks at the call's number only."""
    program = instruction(LOAD, 0)
    for number, action in actions.items():
        program += instruction(JUMP_EQUAL, number, 0, 1) + instruction(RETURN, action)
    program += instruction(RETURN, otherwise)
    return step("SECCOMP", struct.pack("=II", flags, len(program) // 8) + program)


def be_nobody() -> None:
    """Become an ordinary user, whose /proc files are their own (prctl(2), PR_SET_DUMPABLE)."""
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)


# native/confine.h: kinds of rows, accesses, what the argument `flags` is
EXEC_ONCE, PATH, LOADING_ONLY, SELF_SIGNAL, CONTINUE_AND_LOG, ALLOWED = range(1, 7)
READ, WRITE, CREATE, EXECUTE = 1, 2, 4, 8
OPEN, OPEN_HOW, PROTECTION = 1, 2, 3
ANY, NONE = 0xFFFFFFFF, 0xFF
STARTING, LOADING, SERVING = range(3)


def row(
    nr: int,
    kind: int,
    *,
    arch: int = ARCH_X86_64,
    access: int = 0,
    path: int = NONE,
    dirfd: int = NONE,
    path2: int = NONE,
    dirfd2: int = NONE,
    flags: int = NONE,
    flags_are: int = 0,
    at_flags: int = NONE,
    address: int = NONE,
    target: int = NONE,
    distinct: int = 0,
    phases: int = 0,
) -> bytes:
    columns = (kind, access, path, dirfd, path2, dirfd2, flags, flags_are, at_flags, address)
    return struct.pack("=II13B3x", arch, nr, *columns, target, distinct, phases)


def policy(rows: Sequence[bytes], *phases: dict[str, int]) -> bytes:
    """With the prefixes of the three phases; those not given are the last one's."""
    phases = (phases or ({},)) + (phases or ({},))[-1:] * (3 - len(phases or ({},)))
    made = struct.pack("=4I", len(rows), *map(len, phases)) + b"".join(rows)
    for prefixes in phases:
        for path, access in prefixes.items():
            made += struct.pack("=II", access, len(text(path))) + padded(text(path))
    return made
