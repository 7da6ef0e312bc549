"""Random functions, compiled for each ABI and run for real: every byte must arrive."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

import libferry

from .batches import batches, tell
from .check import Caller, check, check_facts
from .compiler import compile_library
from .signatures import invent
from .source import header
from .source import library as library_source
from .targets import SIDES, Target

pytestmark = pytest.mark.needs("ziglang", install="pip install ziglang")


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
    declarations, names = header(functions)
    timeout = 60 if isolation == "worker" else None
    with libferry.load(
        path, header=declarations, isolation=isolation, encoding=None, timeout=timeout
    ) as library:
        assert library.abi == target.abi
        assert library.isolation == isolation
        check_facts(target, library)
        stories = check(Caller(target, library, names), functions)
    tell(stories, start, count)
