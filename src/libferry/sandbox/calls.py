"""What the kernel's calls take: which arguments are paths, addresses, processes.

A filter sees registers only. What follows here is for the supervisor, which reads a
worker's memory while the worker waits (native/confine.h), and for the message that
names the act. Sources: the kernel's ``include/linux/syscalls.h``; man-pages section 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from libferry.sandbox import libseccomp

# include/uapi/linux/audit.h: EM_* of elf-em.h, with bits for 64-bit and little-endian
AUDIT_ARCH = {
    "x86_64": 0xC000003E,
    "i386": 0x40000003,
    "aarch64": 0xC00000B7,
    "arm": 0x40000028,
    "riscv64": 0xC00000F3,
    "loongarch64": 0xC0000102,
}
X32_BIT = 0x40000000  # arch/x86/include/uapi/asm/unistd.h: a call of the x32 ABI

# native/confine.h, ACCESS_*
READ, WRITE, CREATE, EXECUTE = 1, 2, 4, 8
# Ours, since the extension only compares bits.
LOOK = 16  # whether it is there, and how large
MAP = 32  # its code may be run, as that of a library

# native/confine.h, enum confine_flags
FLAGS_OPEN, FLAGS_PROTECTION = 1, 3


@dataclass(frozen=True)
class PathCall:
    """Which arguments of a call are paths, and what is done to what they name.

    Attributes:
        path, dirfd: the path, and the descriptor that it is relative to.
        path2, dirfd2: a second one.
        flags, flags_are: open flags, or the like.
        at_flags: ``AT_*`` flags; with ``AT_EMPTY_PATH`` the descriptor itself is meant.
        access: what is done, beside what ``flags`` say.
    """

    path: int
    access: int
    dirfd: int | None = None
    path2: int | None = None
    dirfd2: int | None = None
    flags: int | None = None
    flags_are: int = 0
    at_flags: int | None = None


PATH_CALLS: Mapping[str, PathCall] = MappingProxyType(
    {
        # -- opened --
        "open": PathCall(0, 0, flags=1, flags_are=FLAGS_OPEN),
        "openat": PathCall(1, 0, dirfd=0, flags=2, flags_are=FLAGS_OPEN),
        "creat": PathCall(0, WRITE | CREATE),
        # -- looked at --
        "access": PathCall(0, LOOK),
        "faccessat": PathCall(1, LOOK, dirfd=0),
        "faccessat2": PathCall(1, LOOK, dirfd=0, at_flags=3),
        "stat": PathCall(0, LOOK),
        "stat64": PathCall(0, LOOK),
        "lstat": PathCall(0, LOOK),
        "lstat64": PathCall(0, LOOK),
        "newfstatat": PathCall(1, LOOK, dirfd=0, at_flags=3),
        "fstatat64": PathCall(1, LOOK, dirfd=0, at_flags=3),
        "statx": PathCall(1, LOOK, dirfd=0, at_flags=2),
        "statfs": PathCall(0, LOOK),
        "statfs64": PathCall(0, LOOK),
        "readlink": PathCall(0, LOOK),
        "readlinkat": PathCall(1, LOOK, dirfd=0),
        "getxattr": PathCall(0, LOOK),
        "lgetxattr": PathCall(0, LOOK),
        "listxattr": PathCall(0, LOOK),
        "llistxattr": PathCall(0, LOOK),
        "inotify_add_watch": PathCall(1, READ),
        "chdir": PathCall(0, LOOK),
        # -- changed --
        "truncate": PathCall(0, WRITE),
        "truncate64": PathCall(0, WRITE),
        "chmod": PathCall(0, WRITE),
        "fchmodat": PathCall(1, WRITE, dirfd=0),
        "fchmodat2": PathCall(1, WRITE, dirfd=0, at_flags=3),
        "chown": PathCall(0, WRITE),
        "chown32": PathCall(0, WRITE),
        "lchown": PathCall(0, WRITE),
        "lchown32": PathCall(0, WRITE),
        "fchownat": PathCall(1, WRITE, dirfd=0, at_flags=4),
        "utime": PathCall(0, WRITE),
        "utimes": PathCall(0, WRITE),
        "setxattr": PathCall(0, WRITE),
        "lsetxattr": PathCall(0, WRITE),
        "removexattr": PathCall(0, WRITE),
        "lremovexattr": PathCall(0, WRITE),
        # -- made, renamed, removed --
        "mkdir": PathCall(0, CREATE),
        "mkdirat": PathCall(1, CREATE, dirfd=0),
        "rmdir": PathCall(0, CREATE),
        "unlink": PathCall(0, CREATE),
        "unlinkat": PathCall(1, CREATE, dirfd=0),
        "rename": PathCall(0, CREATE, path2=1),
        "renameat": PathCall(1, CREATE, dirfd=0, path2=3, dirfd2=2),
        "renameat2": PathCall(1, CREATE, dirfd=0, path2=3, dirfd2=2),
        # of a hard link both names lead to the file, so both count
        "link": PathCall(0, CREATE, path2=1),
        "linkat": PathCall(1, CREATE, dirfd=0, path2=3, dirfd2=2),
        # where a symbolic link leads is only text; who follows it is looked at then
        "symlink": PathCall(1, CREATE),
        "symlinkat": PathCall(2, CREATE, dirfd=1),
        "mknod": PathCall(0, CREATE),
        "mknodat": PathCall(1, CREATE, dirfd=0),
        # -- executed --
        "execve": PathCall(0, EXECUTE),
        "execveat": PathCall(1, EXECUTE, dirfd=0, at_flags=4),
    }
)

# Calls with a socket address: which argument it is; its length is the next.
ADDRESS_CALLS: Mapping[str, int] = MappingProxyType({"connect": 1, "bind": 1, "sendto": 4})

# Calls that send a signal: which argument is the process, or the thread.
SIGNAL_CALLS: Mapping[str, int] = MappingProxyType(
    {"kill": 0, "tgkill": 0, "tkill": 0, "rt_sigqueueinfo": 0, "rt_tgsigqueueinfo": 0}
)

BY_THREAD = "tkill"  # the one that names a thread

# Calls that make memory executable: which argument is the protection.
PROTECTION_CALLS: Mapping[str, int] = MappingProxyType(
    {"mmap": 2, "mmap2": 2, "mprotect": 2, "pkey_mprotect": 2}
)

# Calls that give a file its mode: which argument that is, and which one has open flags.
MODE_CALLS: Mapping[str, tuple[int, int | None]] = MappingProxyType(
    {
        "chmod": (1, None),
        "fchmod": (1, None),
        "fchmodat": (2, None),
        "fchmodat2": (2, None),
        "creat": (1, None),
        "mknod": (1, None),
        "mknodat": (2, None),
        "open": (2, 1),
        "openat": (3, 2),
    }
)

# Calls that start a process; clone with CLONE_THREAD does not come here.
PROCESS_CALLS = frozenset({"clone", "clone3", "fork", "vfork", "execve", "execveat"})

# Calls newer than the libseccomp that may be at hand. From Linux 5.1 on a number is the
# same for every CPU (include/uapi/asm-generic/unistd.h).
NEWER: Mapping[str, int] = MappingProxyType(
    {
        "futex_waitv": 449,
        "set_mempolicy_home_node": 450,
        "cachestat": 451,
        "fchmodat2": 452,
        "map_shadow_stack": 453,
        "futex_wake": 454,
        "futex_wait": 455,
        "futex_requeue": 456,
        "statmount": 457,
        "listmount": 458,
        "lsm_get_self_attr": 459,
        "lsm_set_self_attr": 460,
        "lsm_list_modules": 461,
        "mseal": 462,
        "setxattrat": 463,
        "getxattrat": 464,
        "listxattrat": 465,
        "removexattrat": 466,
        "open_tree_attr": 467,
        "file_getattr": 468,
        "file_setattr": 469,
    }
)


def takes_a_structure(name: str, arch: int) -> bool:
    """i386's first mmap has its arguments in memory, where nobody can look for good; C
    libraries use mmap2."""
    return name == "mmap" and arch == AUDIT_ARCH["i386"]


@cache
def number(name: str, arch: int) -> int | None:
    """A call's number on one architecture; None if it has no such call.

    Raises:
        ValueError: no architecture has a call of that name.
    """
    found = libseccomp.number_of(name, arch)
    if found >= 0:
        return found
    if name in NEWER:
        return NEWER[name]
    if found == libseccomp.NO_SUCH_CALL:
        raise ValueError(f"{name!r} is no system call that libseccomp knows")
    return None


@cache
def name_of(nr: int, arch: int) -> str:
    """A call's name, or its number as text."""
    known = libseccomp.name_of(nr, arch)
    return known or next((name for name, newer in NEWER.items() if newer == nr), f"call {nr}")
