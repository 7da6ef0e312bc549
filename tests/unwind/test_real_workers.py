"""A library that crashes in a worker, and the backtrace that its caller gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import libferry as ferry
from tests.runtime.sides import SIDES, Side, opened

SOURCE = """
#include <stddef.h>
#include <stdlib.h>

#define FRAME __attribute__((noinline)) EXPORT
static volatile int kept;
FRAME int inner(int *p) { return *(volatile int *)p + 1; }
FRAME int middle(int *p) { return inner(p) * 2 + kept; }
FRAME int outer(int depth) { return (depth ? outer(depth - 1) : middle(NULL)) + 3 + kept; }

FRAME int compare(const void *a, const void *b) { return middle(NULL) + kept; }
FRAME int sorted(int last)
{
    int numbers[] = {3, 2, 1, last};
    qsort(numbers, 4, sizeof *numbers, compare);
    return numbers[0];
}

FRAME int wild(int (*function)(int)) { return function(1) + kept; }
"""
FOLDER = Path("/usr/lib/x86_64-linux-gnu/wine")

HEADER = "int outer(int depth); int sorted(int last); int wild(void *function);"

# The names of static functions are not in a stripped library, and qsort() has several.
WORKERS = [side for side in SIDES if "in-process" not in str(side.id)]


@pytest.mark.parametrize("side", WORKERS)
@pytest.mark.parametrize(
    ("function", "argument", "expected"),
    [
        ("outer", 2, ["inner", "middle", "outer", "outer", "outer"]),
        ("sorted", 0, ["inner", "middle", "compare", "sorted"]),
        ("wild", None, [None, "wild"]),
    ],
)
def test_a_backtrace_has_the_librarys_functions_and_none_of_ours(
    side: Side, function: str, argument: object, expected: list[str | None]
) -> None:
    with opened(side, SOURCE, HEADER) as lib:
        with pytest.raises(ferry.LibraryCrashed) as caught:
            getattr(lib, function)(argument)
        frames: Any = caught.value.backtrace
    if expected[0] is None:
        assert frames[0].address == 0
    ours = [frame.symbol for frame in frames if frame.file_name.startswith("lib.")]
    assert ours == [name for name in expected if name]
    assert not any(frame.file_name.startswith("worker-") for frame in frames)
    assert str(frames[-1]).startswith("lib.")


@pytest.mark.needs(f"{FOLDER}/i386-windows/msvcrt.dll", install="tools/setup-debian")
@pytest.mark.parametrize("abi", ["x86_64-windows", "i386-windows"])
def test_a_dll_of_the_system_is_that_of_the_workers_size(abi: str) -> None:
    """Both call it C:\\windows\\system32\\msvcrt.dll, and mean two files."""
    header = "typedef struct { int quot, rem; } div_t; div_t div(int, int);"
    with ferry.load(FOLDER / abi / "msvcrt.dll", header=header) as lib:
        with pytest.raises(ferry.LibraryCrashed) as caught:
            lib.div(1, 0)
        assert " (div+" in str(caught.value.backtrace[0])
