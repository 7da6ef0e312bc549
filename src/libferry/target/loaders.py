"""Where Linux's loaders lie, by CPU.

An executable names its loader by an absolute path, so that path is a part of the ABI: it
is how one tells glibc from musl, and hard from soft float. LoongArch has two for one CPU:
the first systems for it ("old world") were made before glibc and the kernel had settled
on an ABI, and nothing of the one runs on the other.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from libferry.binary.model import Endian
from libferry.target.model import Loader


class Interpreter(NamedTuple):
    """One loader's place.

    Attributes:
        cpu, bits, endian: as in ``Binary``.
        loader: ``glibc`` or ``musl``.
        path: where executables ask for it.
        abi: as in ``Target``.
        platform: what the kernel calls the CPU (AT_PLATFORM), which is ``$PLATFORM``.
    """

    cpu: str
    bits: Literal[32, 64]
    endian: Endian
    loader: Loader
    path: str
    abi: str
    platform: str


_LITTLE: Endian = "little"
_BIG: Endian = "big"

# glibc 2.41, sysdeps/unix/sysv/linux/**/shlib-versions (the name), and nptl's or the
# port's configure.ac (libc_cv_slibdir: the folder); the old world's is Loongnix 20's.
# musl 1.2.5: configure (LDSO_PATHNAME=$syslibdir/ld-musl-$ARCH$SUBARCH.so.1).
# AT_PLATFORM: Linux 6.12, ELF_PLATFORM in arch/*/include/asm/elf.h.
INTERPRETERS = (
    Interpreter("x86_64", 64, _LITTLE, "glibc", "/lib64/ld-linux-x86-64.so.2", "", "x86_64"),
    Interpreter("x86_64", 64, _LITTLE, "musl", "/lib/ld-musl-x86_64.so.1", "", "x86_64"),
    Interpreter("aarch64", 64, _LITTLE, "glibc", "/lib/ld-linux-aarch64.so.1", "", "aarch64"),
    Interpreter("aarch64", 64, _LITTLE, "musl", "/lib/ld-musl-aarch64.so.1", "", "aarch64"),
    Interpreter(
        *("riscv64", 64, _LITTLE, "glibc", "/lib/ld-linux-riscv64-lp64d.so.1"), "hard-float", ""
    ),
    Interpreter("riscv64", 64, _LITTLE, "musl", "/lib/ld-musl-riscv64.so.1", "hard-float", ""),
    Interpreter(
        *("loongarch64", 64, _LITTLE, "glibc", "/lib64/ld-linux-loongarch-lp64d.so.1"),
        *("new-world", "loongarch"),
    ),
    Interpreter("loongarch64", 64, _LITTLE, "glibc", "/lib64/ld.so.1", "old-world", "loongarch64"),
    Interpreter(
        *("loongarch64", 64, _LITTLE, "musl", "/lib/ld-musl-loongarch64.so.1"),
        *("new-world", "loongarch"),
    ),
    Interpreter("i386", 32, _LITTLE, "glibc", "/lib/ld-linux.so.2", "", "i686"),
    Interpreter("i386", 32, _LITTLE, "musl", "/lib/ld-musl-i386.so.1", "", "i686"),
    Interpreter("arm", 32, _LITTLE, "glibc", "/lib/ld-linux-armhf.so.3", "hard-float", "v7l"),
    Interpreter("arm", 32, _LITTLE, "musl", "/lib/ld-musl-armhf.so.1", "hard-float", "v7l"),
    Interpreter("arm", 32, _LITTLE, "glibc", "/lib/ld-linux.so.3", "soft-float", "v7l"),
    Interpreter("ppc64", 64, _LITTLE, "glibc", "/lib64/ld64.so.2", "", "power8"),
    Interpreter("ppc64", 64, _LITTLE, "musl", "/lib/ld-musl-powerpc64le.so.1", "", "power8"),
    Interpreter("s390x", 64, _BIG, "glibc", "/lib/ld64.so.1", "", "z900"),
    Interpreter("s390x", 64, _BIG, "musl", "/lib/ld-musl-s390x.so.1", "", "z900"),
)
