"""A result narrower than its register: what lies above it is nobody's business.

Every ABI here leaves those bits undefined, and a compiler leaves in them what it had at
hand. Clang mostly extends a result, so a test has to put the garbage there: the function
really returns 8 bytes, and libferry is told of the few that count.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

import libferry

from .compiler import compile_library
from .source import INCLUDES, PRELUDE
from .targets import INTEGERS, SIDES, Target

pytestmark = pytest.mark.needs("ziglang", install="pip install ziglang")

GARBAGE = 0xA5A5A5A5A5A5A5A5
PATTERNS = {"zero": 0x00000000, "one": 0x00000001, "high": 0x80808080, "all": 0xFFFFFFFF}


@pytest.mark.parametrize(("target", "isolation"), SIDES)
def test_only_the_bytes_of_a_result_count(
    target: Target, isolation: Literal["in-process", "worker"], tmp_path: Path
) -> None:
    narrow = [ctype for ctype in INTEGERS if target.size(ctype) <= 4]
    functions = []
    expected: dict[str, int] = {}
    for n, ctype in enumerate(narrow):
        for word, pattern in PATTERNS.items():
            if ctype == "_Bool" and pattern > 1:
                continue  # a _Bool is 0 or 1 in its own byte, by every ABI
            ours = ~(-1 << 8 * target.size(ctype))
            returned = GARBAGE & ~ours | pattern & ours
            functions.append(f"EXPORT uint64_t {word}{n}(void) {{ return {returned:#x}ull; }}")
            value = (pattern & ours).to_bytes(target.size(ctype), "little")
            number = int.from_bytes(value, "little", signed=target.is_signed(ctype))
            expected[f"{ctype} {word}{n}(void)"] = number

    path = compile_library(target, "\n".join([INCLUDES, PRELUDE, *functions]), tmp_path)
    with libferry.load(path, isolation=isolation) as library:
        received = {declaration: library.function(declaration)() for declaration in expected}
    assert received == expected
