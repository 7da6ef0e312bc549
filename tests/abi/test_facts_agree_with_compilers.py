"""Sizes and signedness of C types, as zig's clang has them for each target.

The command is the test: a constant expression per fact, compiled with
``zig cc -target … -c``. One wrong fact is one failed assertion.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from libferry.abi import ABIS, Boolean, Integer, Pointer, Real
from libferry.contract import parse_type
from libferry.contract.known_types import POSIX, STANDARD

from .targets import TARGETS

ARITHMETIC = [
    "char",
    "signed char",
    "unsigned char",
    "short",
    "unsigned short",
    "int",
    "unsigned",
    "long",
    "unsigned long",
    "long long",
    "unsigned long long",
    "_Bool",
    "float",
    "double",
    "void *",
    "wchar_t",
]
# C11's rsize_t is optional, and bool is a macro
NOT_TYPES = {"rsize_t", "bool"}


@pytest.mark.parametrize("abi", sorted(ABIS))
def test_sizes_and_signs_are_the_compilers(abi: str, tmp_path: Path) -> None:
    names = [*ARITHMETIC, *sorted(STANDARD.keys() - NOT_TYPES)]
    if "windows" not in abi:
        names += sorted(POSIX)
    lines = [
        "#define _GNU_SOURCE",
        "#include <stdint.h>",
        "#include <stddef.h>",
        "#include <wchar.h>",
    ]
    if "apple" in abi:  # it has no uchar.h
        lines.append("typedef __CHAR16_TYPE__ char16_t; typedef __CHAR32_TYPE__ char32_t;")
    else:
        lines.append("#include <uchar.h>")
    if "windows" not in abi:
        lines.append("#include <sys/types.h>\n#include <time.h>\n#include <sys/socket.h>")
    for name in names:
        ctype = parse_type(name, abi)
        assert isinstance(ctype, Integer | Boolean | Real | Pointer)
        lines.append(f'_Static_assert(sizeof({name}) == {ctype.size}, "size of {name}");')
        if isinstance(ctype, Integer):
            sign = "<" if ctype.signed else ">"
            lines.append(f'_Static_assert((({name})-1) {sign} 0, "sign of {name}");')
    source = tmp_path / "facts.c"
    source.write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "ziglang", "cc", *TARGETS[abi], "-c"]
    command += ["-o", str(tmp_path / "facts.o"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
