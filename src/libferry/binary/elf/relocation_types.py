"""The names of relocation types, as far as loaders meet them.

Most types are the linker's own and are gone when a library is finished; the few that are
left are here. Which of them are of initial-exec TLS is in their names: those are the only
ones that ask for an offset from the thread pointer, which must be the same in all threads
and therefore in the block that threads are made with.

Specifications: the processor supplements of the gABI; the names are those of ``elf.h``
and binutils.
"""

from __future__ import annotations

import re

from libferry.binary.elf.layout import (
    EM_386,
    EM_AARCH64,
    EM_ALPHA,
    EM_ARM,
    EM_LOONGARCH,
    EM_MIPS,
    EM_PPC64,
    EM_RISCV,
    EM_S390,
    EM_X86_64,
)

SPARCS = {2, 18, 43}  # EM_SPARC, EM_SPARC32PLUS, EM_SPARCV9
_EM_68K, _EM_PARISC, _EM_PPC, _EM_SH = 4, 15, 20, 42

_SPARC = (
    "SPARC",
    "0 NONE 1 8 2 16 3 32 6 DISP32 19 COPY 20 GLOB_DAT 21 JMP_SLOT 22 RELATIVE 23 UA32 32 64 "
    "54 UA64 74 TLS_DTPMOD32 75 TLS_DTPMOD64 76 TLS_DTPOFF32 77 TLS_DTPOFF64 78 TLS_TPOFF32 "
    "79 TLS_TPOFF64 248 JMP_IREL 249 IRELATIVE",
)

# e_machine -> the prefix, and number and name of each type
_ROWS: dict[int, tuple[str, str]] = {
    EM_X86_64: (
        "X86_64",
        "0 NONE 1 64 2 PC32 5 COPY 6 GLOB_DAT 7 JUMP_SLOT 8 RELATIVE 10 32 16 DTPMOD64 "
        "17 DTPOFF64 18 TPOFF64 21 DTPOFF32 23 TPOFF32 24 PC64 32 SIZE32 33 SIZE64 36 TLSDESC "
        "37 IRELATIVE 38 RELATIVE64",
    ),
    EM_386: (
        "386",
        "0 NONE 1 32 2 PC32 5 COPY 6 GLOB_DAT 7 JUMP_SLOT 8 RELATIVE 14 TLS_TPOFF "
        "35 TLS_DTPMOD32 36 TLS_DTPOFF32 37 TLS_TPOFF32 38 SIZE32 41 TLS_DESC 42 IRELATIVE",
    ),
    EM_AARCH64: (
        "AARCH64",
        "0 NONE 257 ABS64 258 ABS32 1024 COPY 1025 GLOB_DAT 1026 JUMP_SLOT 1027 RELATIVE "
        "1028 TLS_DTPMOD 1029 TLS_DTPREL 1030 TLS_TPREL 1031 TLSDESC 1032 IRELATIVE "
        "180 P32_COPY 181 P32_GLOB_DAT 182 P32_JUMP_SLOT 183 P32_RELATIVE 184 P32_TLS_DTPMOD "
        "185 P32_TLS_DTPREL 186 P32_TLS_TPREL 187 P32_TLSDESC 188 P32_IRELATIVE",
    ),
    EM_ARM: (
        "ARM",
        "0 NONE 1 PC24 2 ABS32 3 REL32 13 TLS_DESC 17 TLS_DTPMOD32 18 TLS_DTPOFF32 "
        "19 TLS_TPOFF32 20 COPY 21 GLOB_DAT 22 JUMP_SLOT 23 RELATIVE 160 IRELATIVE",
    ),
    EM_RISCV: (
        "RISCV",
        "0 NONE 1 32 2 64 3 RELATIVE 4 COPY 5 JUMP_SLOT 6 TLS_DTPMOD32 7 TLS_DTPMOD64 "
        "8 TLS_DTPREL32 9 TLS_DTPREL64 10 TLS_TPREL32 11 TLS_TPREL64 12 TLSDESC 58 IRELATIVE",
    ),
    EM_LOONGARCH: (
        "LARCH",
        "0 NONE 1 32 2 64 3 RELATIVE 4 COPY 5 JUMP_SLOT 6 TLS_DTPMOD32 7 TLS_DTPMOD64 "
        "8 TLS_DTPREL32 9 TLS_DTPREL64 10 TLS_TPREL32 11 TLS_TPREL64 12 IRELATIVE "
        "13 TLS_DESC32 14 TLS_DESC64",
    ),
    EM_MIPS: (
        "MIPS",
        "0 NONE 2 32 3 REL32 18 64 38 TLS_DTPMOD32 39 TLS_DTPREL32 40 TLS_DTPMOD64 "
        "41 TLS_DTPREL64 47 TLS_TPREL32 48 TLS_TPREL64 51 GLOB_DAT 126 COPY 127 JUMP_SLOT",
    ),
    EM_PPC64: (
        "PPC64",
        "0 NONE 1 ADDR32 19 COPY 20 GLOB_DAT 21 JMP_SLOT 22 RELATIVE 38 ADDR64 43 UADDR64 "
        "44 REL64 68 DTPMOD64 73 TPREL64 78 DTPREL64 247 JMP_IREL 248 IRELATIVE",
    ),
    _EM_PPC: (
        "PPC",
        "0 NONE 1 ADDR32 10 REL24 19 COPY 20 GLOB_DAT 21 JMP_SLOT 22 RELATIVE 24 UADDR32 "
        "26 REL32 68 DTPMOD32 73 TPREL32 78 DTPREL32 248 IRELATIVE",
    ),
    EM_S390: (
        "390",
        "0 NONE 4 32 5 PC32 9 COPY 10 GLOB_DAT 11 JMP_SLOT 12 RELATIVE 22 64 23 PC64 "
        "54 TLS_DTPMOD 55 TLS_DTPOFF 56 TLS_TPOFF 61 IRELATIVE",
    ),
    EM_ALPHA: (
        "ALPHA",
        "0 NONE 2 REFQUAD 24 COPY 25 GLOB_DAT 26 JMP_SLOT 27 RELATIVE 31 DTPMOD64 33 DTPREL64 "
        "38 TPREL64",
    ),
    _EM_68K: (
        "68K",
        "0 NONE 1 32 4 PC32 19 COPY 20 GLOB_DAT 21 JMP_SLOT 22 RELATIVE 40 TLS_DTPMOD32 "
        "41 TLS_DTPREL32 42 TLS_TPREL32",
    ),
    _EM_PARISC: (
        "PARISC",
        "0 NONE 1 DIR32 65 PLABEL32 80 DIR64 128 COPY 129 IPLT 153 TPREL32 216 TPREL64 "
        "242 TLS_DTPMOD32 243 TLS_DTPMOD64 244 TLS_DTPOFF32 245 TLS_DTPOFF64",
    ),
    _EM_SH: (
        "SH",
        "0 NONE 1 DIR32 2 REL32 149 TLS_DTPMOD32 150 TLS_DTPOFF32 151 TLS_TPOFF32 162 COPY "
        "163 GLOB_DAT 164 JMP_SLOT 165 RELATIVE",
    ),
    **dict.fromkeys(SPARCS, _SPARC),
}


def _named(prefix: str, row: str) -> dict[int, str]:
    words = row.split()
    pairs = zip(words[::2], words[1::2], strict=True)
    return {int(number): f"R_{prefix}_{name}" for number, name in pairs}


TYPES = {machine: _named(*row) for machine, row in _ROWS.items()}

# "TPOFF" and "TPREL" are offsets from the thread pointer; with a D in front, which these
# names also end in, from the start of the library's own block.
_INITIAL_EXEC = re.compile(r"(?<!D)TP(OFF|REL)")
INITIAL_EXEC = {
    machine: {number for number, name in types.items() if _INITIAL_EXEC.search(name)}
    for machine, types in TYPES.items()
}
