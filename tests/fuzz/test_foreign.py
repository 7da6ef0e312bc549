"""Nothing in the channel is looked at where it lies: the C compiler refuses it.

``native/extension/foreign.h`` says why. Here is what keeps it so.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

EXTENSION = Path(__file__).parents[2] / "native" / "extension"
HEADER = EXTENSION / "foreign.h"

# Where a `struct foreign` becomes an address, and who gets it.
ADDRESSES = {
    "wait.c": 2,  # the kernel: futex
    "session.c": 1,  # the kernel: munmap
    "memory.c": 1,  # Python: the buffer of a Buffer
    "record.c": 1,  # Python: the buffer of a record
}


def code(file: Path) -> str:
    """A source without its comments."""
    return re.sub(r"/\*.*?\*/", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)


OTHERS = {
    file.name: code(file) for file in sorted(EXTENSION.glob("*.[ch]")) if file.name != HEADER.name
}


def test_only_one_file_knows_what_is_in_it() -> None:
    inside = re.compile(r"\bhidden\b|\bforeign_word_at\b")
    assert inside.search(code(HEADER))
    assert [name for name, text in OTHERS.items() if inside.search(text)] == []


def test_an_address_is_given_to_the_kernel_and_to_python_alone() -> None:
    found = Counter({name: text.count("foreign_address(") for name, text in OTHERS.items()})
    assert +found == Counter(ADDRESSES)


def test_what_is_shared_is_foreign_at_once() -> None:
    shared = {name: text.count("MAP_SHARED") for name, text in OTHERS.items()}
    assert +Counter(shared) == {"session.c": 1}
    assert "foreign_from(address)" in OTHERS["session.c"]


USES = {
    "followed": "return *memory;",
    "followed by index": "return memory[0];",
    "cast": "return *(int *)memory;",
    "cast to a number": "return (int)(long)memory;",
    "moved": "return foreign_read_int(memory + 4);",
    "compared": "return memory == other;",
    "asked": "return memory ? 1 : 0;",
    "copied by hand": "int copy; memcpy(&copy, memory, sizeof copy); return copy;",
    "handed on": "return strlen(memory);",
}


def compiles(body: str, folder: Path) -> bool:
    source = folder / "use.c"
    source.write_text(
        '#include "extension/foreign.h"\n'
        "int foreign_read_int(struct foreign memory);\n"
        f"int use(struct foreign memory, struct foreign other) {{ {body} }}\n"
    )
    command = [sys.executable, "-m", "ziglang", "cc", "-std=c11", "-c", "-o"]
    made = subprocess.run(
        [*command, str(folder / "use.o"), f"-I{EXTENSION.parent}", str(source)],
        capture_output=True,
        check=False,
    )
    return made.returncode == 0


@pytest.mark.needs("ziglang", install="pip install ziglang")
@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_it_cannot_be(use: str, tmp_path: Path) -> None:
    assert compiles("int copy; foreign_read(&copy, memory, sizeof copy); return copy;", tmp_path)
    assert not compiles(use, tmp_path)
