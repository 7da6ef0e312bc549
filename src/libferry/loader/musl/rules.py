"""What is particular to musl's loader, and what differs between its versions, as tables.

It is one file of 2,400 lines, ``ldso/dynlink.c``, in the same file as the C library. It
checks very little: no machine, no ELF class, no magic number, no symbol version, no ABI
tag, no page size, no executable stack. What it does not check does not fail there, but
later and without words.

Versions are those of the first release with the commit: ``git describe --contains`` in
musl's repository.
"""

from __future__ import annotations

from typing import NamedTuple

Version = tuple[int, ...]

LAST: Version = (999,)


class Rule(NamedTuple):
    """A rule that holds ``since`` one version and ``until`` before another."""

    since: Version
    until: Version
    source: str

    def holds(self, version: Version) -> bool:
        """Whether this version of musl has the rule."""
        return self.since <= version < self.until


# a symbol that dlopen with RTLD_LAZY does not find may still come: from a later library
DEFERRED = Rule((1, 1, 17), LAST, "musl 1.1.17 ldso/dynlink.c, prepare_lazy")
# a file that has stdin and __libc_start_main is taken for musl itself, whoever's it is
SECOND_LIBC = Rule((1, 1, 17), LAST, "musl 1.1.17 ldso/dynlink.c, load_library")
OF_A_LIBC = ("__libc_start_main", "stdin")
NO_INITIAL_EXEC = Rule((1, 1, 20), LAST, "musl 1.1.20 ldso/dynlink.c, do_relocs")
# before, initialisers run in the reverse order of loading
BY_DEPENDENCY = Rule((1, 1, 22), LAST, "musl 1.1.22 ldso/dynlink.c, queue_ctors")
# before, packed relocations are silently not applied
RELR = Rule((1, 2, 4), LAST, "musl 1.2.4 ldso/dynlink.c, do_relr_relocs")
# names such as open64, which musl itself exported before
LFS64 = Rule((1, 2, 4), LAST, "musl 1.2.4 ldso/dynlink.c, get_lfs64")

SEARCH = "musl 1.2.5 ldso/dynlink.c, load_library"
OPEN = "musl 1.2.5 ldso/dynlink.c, path_open"
MAP = "musl 1.2.5 ldso/dynlink.c, map_library"
TOKENS = "musl 1.2.5 ldso/dynlink.c, fixup_rpath"
LOOKUP = "musl 1.2.5 ldso/dynlink.c, find_sym2"
PROGRAM = "Linux fs/binfmt_elf.c, load_elf_binary"
RELOCATE = "musl 1.2.5 ldso/dynlink.c, do_relocs"

# load_library, "reserved": a name that begins with lib and one of these is musl itself,
# and so is libc.so.6, which a library for glibc asks for
RESERVED = ("c.", "pthread.", "rt.", "m.", "dl.", "util.", "xnet.")

LONGEST_NAME = 255  # NAME_MAX
LONGEST_PATH = 2 * LONGEST_NAME + 1  # char buf[2*NAME_MAX+2]: a longer path is passed over

DEFAULT_PATH = "/lib:/usr/local/lib:/usr/lib"

# LDSO_ARCH in arch/*/reloc.h, which the name of the path file has in it
ARCH = {
    "x86_64": "x86_64",
    "i386": "i386",
    "aarch64": "aarch64",
    "arm": "armhf",
    "riscv64": "riscv64",
    "loongarch64": "loongarch64",
    "ppc64": "powerpc64le",
    "s390x": "s390x",
    "ppc": "powerpc",
    "mips": "mips",
    "mips64": "mips64",
}

# do_relocs: the types that each CPU has (arch/*/reloc.h of musl 1.2.5, REL_*), by the
# numbers of elf.h; the first row is those of functions and of the offset table, which may
# be deferred (REL_PLT, REL_GOT). GNU's IRELATIVE is in none.
RELOCATIONS: dict[str, tuple[frozenset[int], frozenset[int]]] = {
    "x86_64": (frozenset({7, 6}), frozenset({0, 1, 2, 8, 5, 16, 17, 18, 36})),
    "i386": (frozenset({7, 6}), frozenset({0, 1, 2, 8, 5, 35, 36, 14, 37, 41})),
    "aarch64": (frozenset({1026, 1025}), frozenset({0, 257, 1027, 1024, *range(1028, 1032)})),
    "arm": (frozenset({22, 21}), frozenset({0, 2, 23, 20, 17, 18, 19, 13})),
    "riscv64": (frozenset({5}), frozenset({0, 2, 3, 4, 7, 9, 11, 12})),
    "loongarch64": (frozenset({5}), frozenset({0, 2, 3, 4, 7, 9, 11})),
}

# get_lfs64, lfs64_list: each of these with 64 behind it is the name without
_LFS64 = """
    aio_cancel aio_error aio_fsync aio_read aio_return aio_suspend aio_write alphasort creat
    fallocate fgetpos fopen freopen fseeko fsetpos fstat fstatat fstatfs fstatvfs ftello
    ftruncate ftw getdents getrlimit glob globfree lio_listio lockf lseek lstat mkostemp
    mkostemps mkstemp mkstemps mmap nftw open openat posix_fadvise posix_fallocate pread
    preadv prlimit pwrite pwritev readdir scandir sendfile setrlimit stat statfs statvfs
    tmpfile truncate versionsort __fxstat __fxstatat __lxstat __xstat
"""
LFS64_NAMES = frozenset(_LFS64.split())


def without_64(name: str) -> str | None:
    """The name that musl has for one of glibc's large-file names; None if it is none."""
    if name == "readdir64_r":
        return "readdir_r"
    return name[:-2] if name.endswith("64") and name[:-2] in LFS64_NAMES else None


def is_reserved(name: str) -> bool:
    """Whether a library's name stands for musl itself."""
    return name.startswith("lib") and name.startswith(RESERVED, 3)


# musl's strerror (src/errno/__strerror.h), which is what %m prints
MISSING = "No such file or directory"
NO_LIBRARY = "Exec format error"
NO_NAME = "Invalid argument"
A_FOLDER = "Is a directory"
