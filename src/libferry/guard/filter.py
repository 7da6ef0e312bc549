"""A seccomp filter that tells of code before it runs: executable mappings, and execve.

The kernel stops the thread that makes such a call until whoever has the *listener* has
answered (seccomp_unotify(2)). A filter stays for all that the program starts, and cannot be
taken off again. Calls of all ABIs of the kernel count: a 32-bit program on a 64-bit kernel
has other numbers, and x32 has no place here.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import NamedTuple

PROT_EXEC = 4
MAP_ANONYMOUS = 0x20


class Calls(NamedTuple):
    """The numbers of one ABI's calls."""

    mmap: int
    mprotect: int
    pkey_mprotect: int
    execve: int
    execveat: int


# AUDIT_ARCH_... of linux/audit.h; numbers of asm/unistd_64.h, unistd_32.h, asm-generic/unistd.h.
# i386's mmap is mmap2; old_mmap (90) has its arguments in memory, and no C library uses it.
CALLS = {
    0xC000003E: Calls(9, 10, 329, 59, 322),  # x86_64
    0x40000003: Calls(192, 125, 380, 11, 358),  # i386
    0xC00000B7: Calls(222, 226, 288, 221, 281),  # aarch64
}
OLD_MMAP = {0x40000003: 90}
X32 = 0x40000000  # a bit in the number: asm/unistd.h, __X32_SYSCALL_BIT
SECCOMP = {"x86_64": 317, "aarch64": 277}  # the number of seccomp(2) itself

# linux/filter.h, linux/bpf_common.h and linux/seccomp.h
LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, NOTIFY, REFUSE = 0x7FFF0000, 0x7FC00000, 0x00050000 | 38  # ENOSYS
AT_NUMBER, AT_ARCH, AT_ARGUMENTS = 0, 4, 16  # struct seccomp_data

SET_MODE_FILTER, NEW_LISTENER = 1, 1 << 3
PR_SET_NO_NEW_PRIVS = 38


def _row(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("<HBBI", code, then, otherwise, value)


def program() -> bytes:
    """The filter, as struct sock_filter rows."""
    rows = []
    for arch, calls in CALLS.items():
        body = [_row(LOAD, AT_NUMBER)]
        if arch == 0xC000003E:
            body += [_row(ANY_BIT, X32, 0, 1), _row(RETURN, REFUSE)]
        for number in (calls.execve, calls.execveat, OLD_MMAP.get(arch, calls.execve)):
            body += [_row(EQUAL, number, 0, 1), _row(RETURN, NOTIFY)]
        for number in (calls.mprotect, calls.pkey_mprotect):
            body += [_row(EQUAL, number, 0, 4), *_if_executable(), _row(RETURN, NOTIFY)]
        body += [_row(EQUAL, calls.mmap, 0, 6), *_if_executable()]
        body += [_row(LOAD, AT_ARGUMENTS + 8 * 3), _row(ANY_BIT, MAP_ANONYMOUS, 1, 0)]
        body += [_row(RETURN, NOTIFY), _row(RETURN, ALLOW)]
        rows += [_row(LOAD, AT_ARCH), _row(EQUAL, arch, 0, len(body)), *body]
    return b"".join([*rows, _row(RETURN, REFUSE)])


def _if_executable() -> list[bytes]:
    """Allow it if the third argument, the protection, lacks PROT_EXEC."""
    return [_row(LOAD, AT_ARGUMENTS + 8 * 2), _row(ANY_BIT, PROT_EXEC, 1, 0), _row(RETURN, ALLOW)]


def install(machine: str) -> int:
    """Put the filter on this process, for good; the listener's descriptor.

    Raises:
        OSError: the kernel has no such thing, or another listener is there already.
    """
    rows = program()
    held = ctypes.create_string_buffer(rows, len(rows))
    described = struct.pack("HxxxxxxP", len(rows) // 8, ctypes.addressof(held))
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    listener: int = library.syscall(SECCOMP[machine], SET_MODE_FILTER, NEW_LISTENER, described)
    if listener < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return listener
