"""Random functions, compiled for each ABI and run for real: every byte must arrive."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import pytest

import libferry

from .check import check, check_facts
from .compiler import compile_library
from .signatures import invent
from .source import library as library_source
from .targets import SIDES, Target

CASES = int(os.environ.get("FERRY_CASES", "200"))
SEED = int(os.environ.get("FERRY_SEED", "0"))
BATCH = 200  # functions for one run of the compiler
STORIES = 3  # told of a batch that fails; a wrong rule fails dozens

pytestmark = pytest.mark.needs("ziglang", install="pip install ziglang")


def batches() -> list[tuple[int, int]]:
    """Give each batch's start for Hypothesis, and its number of functions."""
    return [(SEED + at // BATCH, min(BATCH, CASES - at)) for at in range(0, CASES, BATCH)]


@pytest.mark.parametrize(("start", "count"), batches())
@pytest.mark.parametrize(("target", "isolation"), SIDES)
def test_every_argument_and_result_arrives(
    target: Target,
    isolation: Literal["in-process", "worker"],
    start: int,
    count: int,
    tmp_path: Path,
) -> None:
    functions = invent(target, count, start)
    assert len(functions) == count
    path = compile_library(target, library_source(target, functions), tmp_path)
    timeout = 60 if isolation == "worker" else None
    with libferry.load(path, isolation=isolation, encoding=None, timeout=timeout) as library:
        assert library.abi == target.abi
        assert library.isolation == isolation
        check_facts(target, library)
        stories = check(target, library, functions)
    if stories:
        again = f"FERRY_SEED={start} FERRY_CASES={count}"
        told = "\n\n".join(stories[:STORIES])
        pytest.fail(f"{len(stories)} of {count} functions, {again}\n\n{told}", pytrace=False)
