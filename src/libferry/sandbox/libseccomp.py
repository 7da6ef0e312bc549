"""The few functions of libseccomp that make a filter, by ``ctypes``.

libseccomp is a system's library: what it knows of system calls has to be as new as the
kernel. The package ``pyseccomp`` is a binding of the same kind; importing it runs
``ldconfig`` twice, some 30 ms, which is six times what a sandboxed worker takes to start.

Names, values and structures: libseccomp's ``include/seccomp.h.in``, version 2.4 (the first
that is known to make what is asked of it here) to 2.6.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from functools import cache

SONAME = "libseccomp.so.2"

ARCH_NATIVE = 0  # SCMP_ARCH_NATIVE
NO_SUCH_CALL = -1  # __NR_SCMP_ERROR

# SCMP_ACT_*
KILL_PROCESS = 0x80000000
TRAP = 0x00030000
NOTIFY = 0x7FC00000
ALLOW = 0x7FFF0000
_ERRNO = 0x00050000

# enum scmp_filter_attr
_BAD_ARCH = 2  # SCMP_FLTATR_ACT_BADARCH
_OPTIMIZE = 8  # SCMP_FLTATR_CTL_OPTIMIZE (2.5)
_BINARY_TREE = 2

# enum scmp_compare
EQUAL = 4  # SCMP_CMP_EQ
MASKED_EQUAL = 7  # SCMP_CMP_MASKED_EQ

_LARGEST = 1 << 20  # bytes of a filter; the kernel takes 32 KiB


class Argument(ctypes.Structure):
    """``struct scmp_arg_cmp``: an argument, and what it is compared with."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("comparison", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def errno(number: int) -> int:
    """The answer that a call fails with that error: ``SCMP_ACT_ERRNO``."""
    return _ERRNO | number


@cache
def _library() -> ctypes.CDLL:
    """libseccomp.

    Raises:
        ImportError: it is not installed.
    """
    try:
        library = ctypes.CDLL(SONAME)
    except OSError as error:
        raise ImportError(str(error)) from None
    context, number = ctypes.c_void_p, ctypes.c_uint32
    for name, result, *parameters in (
        ("seccomp_init", context, number),
        ("seccomp_release", None, context),
        ("seccomp_merge", ctypes.c_int, context, context),
        ("seccomp_arch_native", number),
        ("seccomp_arch_add", ctypes.c_int, context, number),
        ("seccomp_arch_remove", ctypes.c_int, context, number),
        ("seccomp_attr_set", ctypes.c_int, context, ctypes.c_int, number),
        ("seccomp_export_bpf", ctypes.c_int, context, ctypes.c_int),
        ("seccomp_syscall_resolve_name_arch", ctypes.c_int, number, ctypes.c_char_p),
        ("seccomp_syscall_resolve_num_arch", ctypes.c_void_p, number, ctypes.c_int),
        (
            "seccomp_rule_add_array",
            ctypes.c_int,
            context,
            number,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.POINTER(Argument),
        ),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, parameters
    return library


def native() -> int:
    """This machine's audit architecture."""
    arch: int = _library().seccomp_arch_native()
    return arch


def number_of(name: str, arch: int) -> int:
    """A call's number; ``NO_SUCH_CALL``, or another negative one, if it has none there."""
    number: int = _library().seccomp_syscall_resolve_name_arch(arch, name.encode())
    return number


def name_of(number: int, arch: int) -> str | None:
    """What a number stands for."""
    text = _library().seccomp_syscall_resolve_num_arch(arch, number)
    if not text:
        return None
    try:
        return ctypes.string_at(text).decode("ascii", "replace")
    finally:
        _free(text)


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None)
    libc.free.argtypes, libc.free.restype = (ctypes.c_void_p,), None
    return libc


def _free(text: int) -> None:
    _libc().free(text)  # it is malloc's


class Filter:
    """A filter that is being made, for one architecture or (merged) for two."""

    def __init__(self, default: int, arch: int, bad_arch: int) -> None:
        """A filter without rules.

        Args:
            default: the answer to calls that no rule is for.
            arch: the audit architecture that the rules are for.
            bad_arch: the answer to calls of another one.

        Raises:
            ImportError: there is no libseccomp.
        """
        library = _library()
        self._context: int | None = library.seccomp_init(default)
        if not self._context:
            raise MemoryError("libseccomp makes no filter")
        if arch != native():
            self._check(library.seccomp_arch_add(self._context, arch))
            self._check(library.seccomp_arch_remove(self._context, ARCH_NATIVE))
        self._check(library.seccomp_attr_set(self._context, _BAD_ARCH, bad_arch))
        # a library that is too old for it makes a list, which is as right
        library.seccomp_attr_set(self._context, _OPTIMIZE, _BINARY_TREE)

    def add(self, action: int, number: int, arguments: Iterable[Argument]) -> None:
        """Answer calls with these arguments so.

        Raises:
            OSError: libseccomp does not take the rule.
        """
        given = tuple(arguments)
        array = (Argument * len(given))(*given)
        self._check(
            _library().seccomp_rule_add_array(self._context, action, number, len(given), array)
        )

    def merge(self, other: Filter) -> None:
        """Take over what another has, which is nothing after that."""
        self._check(_library().seccomp_merge(self._context, other._context))
        other._context = None

    def exported(self) -> bytes:
        """The program: an array of ``struct sock_filter``."""
        with open(os.memfd_create("libferry-filter", os.MFD_CLOEXEC), "w+b", buffering=0) as file:
            self._check(_library().seccomp_export_bpf(self._context, file.fileno()))
            return os.pread(file.fileno(), _LARGEST, 0)

    def _check(self, result: int) -> None:
        if result < 0:
            raise OSError(-result, os.strerror(-result))

    def __del__(self) -> None:
        if getattr(self, "_context", None):
            _library().seccomp_release(self._context)
