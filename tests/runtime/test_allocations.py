"""A scalar call takes nothing from malloc: not here, and not in the worker.

The library of the test is also a preload that counts. Python takes its objects from
malloc too (PYTHONMALLOC), and results are small numbers, which Python keeps.
"""

from __future__ import annotations

import os
import subprocess
import sys

from .conftest import Compile

SOURCE = """
#include <stdatomic.h>
#include <stddef.h>
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
static atomic_ulong taken;
void *malloc(size_t size) { taken++; return __libc_malloc(size); }
void *calloc(size_t count, size_t size) { taken++; return __libc_calloc(count, size); }
void *realloc(void *old, size_t size) { taken++; return __libc_realloc(old, size); }
unsigned long allocations(void) { return taken; }
int add(int a, int b) { return a + b; }
"""

SCRIPT = """
import ctypes, os, sys
from unittest import mock
import libferry as ferry

path, isolation = sys.argv[1:]
header = "int add(int a, int b); unsigned long allocations(void);"
# a worker is given no preloads of ours; here they are what it is about
with mock.patch("libferry.runtime.worker.child_environment", lambda more: os.environ | more):
    lib = ferry.load(path, header=header, isolation=isolation)
here = ctypes.CDLL(path).allocations
here.restype = ctypes.c_ulong

def allocated(calls):
    numbers, add = [1] * calls, lib.add
    theirs, ours = lib.allocations(), here()
    for number in numbers:
        add(number, 2)
    ours = here() - ours
    return ours, lib.allocations() - theirs

assert here() > 1000 and lib.allocations() > 0, "nothing counts"
allocated(1000)
print(allocated(10) == allocated(1010))  # what asking takes is in both
"""


def agrees(path: str, isolation: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, path, isolation],
        env=os.environ | {"LD_PRELOAD": path, "PYTHONMALLOC": "malloc"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_call_in_this_process_allocates_nothing(compile_c: Compile) -> None:
    assert agrees(str(compile_c(SOURCE)), "in-process") == "True\n"


def test_a_call_of_a_worker_allocates_nothing_on_either_side(compile_c: Compile) -> None:
    assert agrees(str(compile_c(SOURCE)), "worker") == "True\n"
