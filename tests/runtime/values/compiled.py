"""Bytes of initialised C data, as zig's clang lays them out for any target.

Every value is put behind a marker of its own into an object file, where its bytes are
found again, whatever the format of that file.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ...abi.targets import TARGETS

ALIGNMENT = 64  # of each value, and the length of its marker


def data_of(abi: str, prelude: str, values: Sequence[tuple[str, str]], folder: Path) -> list[bytes]:
    """The bytes of each (C type, initialiser).

    ``prelude`` declares the types.
    """
    lines = ['#pragma clang diagnostic ignored "-Weverything"', prelude]
    for number, (ctype, initialiser) in enumerate(values):
        lines += [
            f"typedef __typeof__({ctype}) t{number};",
            f"const struct {{ _Alignas({ALIGNMENT}) unsigned char marker[{ALIGNMENT}];",
            f"t{number} value; unsigned char end; }} b{number} =",
            f"{{ {{ {_literal(_marker('value', number))} }}, {initialiser}, 1 }};",
            f"const unsigned char s{number}[] = {{ {_literal(_marker('size', number))},",
            f"sizeof(t{number}) & 255, sizeof(t{number}) >> 8 }};",
        ]
    (folder / "data.c").write_text("\n".join(lines))
    command = [sys.executable, "-m", "ziglang", "cc", *TARGETS[abi], "-c", "data.c"]
    command += ["-o", "data.o", "-O1", "-fno-sanitize=all"]
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    image = (folder / "data.o").read_bytes()
    found = []
    for number in range(len(values)):
        size = int.from_bytes(_behind(image, _marker("size", number), 2), "little")
        found.append(_behind(image, _marker("value", number), size))
    return found


def _marker(kind: str, number: int) -> bytes:
    return f"{kind} of case {number} ".encode().ljust(ALIGNMENT, b"~")


def _literal(data: bytes) -> str:
    return ", ".join(map(str, data))


def _behind(image: bytes, marker: bytes, size: int) -> bytes:
    at = image.index(marker) + ALIGNMENT
    return image[at : at + size]
