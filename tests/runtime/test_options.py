"""What cannot be meant is refused, with a word on what can, and leaves no process."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import libferry as ferry

from .conftest import Compile

HEADER = "int add(int a, int b);"
KIND, VALUE = ferry.ArgumentTypeError, ferry.ArgumentValueError

LOADS: list[tuple[dict[str, Any], type[ferry.FerryError], str]] = [
    ({"path": 5}, KIND, "path is 5"),
    ({"path": b"libz.so.1"}, KIND, "path is b'libz.so.1'"),
    ({"header": 5}, KIND, "header is 5"),
    ({"contract": 5}, KIND, "contract is 5"),
    ({"include": "folder"}, KIND, "include is 'folder'"),
    ({"define": ["NDEBUG"]}, KIND, "define is"),
    ({"sysroot": 5}, KIND, "sysroot is 5"),
    ({"initialise": "setup"}, KIND, "initialise is 'setup'"),
    ({"isolation": "sanbox"}, KIND, "isolation is 'sanbox'"),
    ({"isolation": None}, KIND, "isolation is None"),
    ({"threads": 2}, KIND, "threads is 2"),
    ({"encoding": "utf-9"}, VALUE, "'utf-9' is not an encoding"),
    ({"arena": 0}, VALUE, "arena is 0"),
    ({"arena": True}, VALUE, "arena is True"),
    # a sandbox's
    ({"profile": "pure", "isolation": "worker"}, KIND, "isolation is 'worker'"),
    ({"require": "all"}, KIND, "isolation is 'auto'"),
    ({"profile": 5, "isolation": "sandbox"}, KIND, "profile is 5"),
    ({"profile": "poor", "isolation": "sandbox"}, ferry.DeclarationError, "no such profile"),
    ({"require": 5, "isolation": "sandbox"}, KIND, "require is 5"),
    ({"require": ["walls"], "isolation": "sandbox"}, VALUE, "'walls'"),
    # a worker's
    *[
        ({name: value, "isolation": isolation}, KIND, "in-process")
        for name, value in (("timeout", 1), ("restart", "next-call"), ("output", "capture"))
        for isolation in ("in-process", "namespace")
    ],
    ({"timeout": 0, "isolation": "worker"}, VALUE, "timeout is 0"),
    ({"timeout": -1, "isolation": "worker"}, VALUE, "timeout is -1"),
    ({"timeout": math.nan, "isolation": "worker"}, VALUE, "timeout is nan"),
    ({"timeout": 1 << 20_000, "isolation": "worker"}, VALUE, "timeout is too large"),
    ({"timeout": "1", "isolation": "worker"}, KIND, "timeout is '1'"),
    ({"output": "print", "isolation": "worker"}, KIND, "output is 'print'"),
    ({"restart": "always", "isolation": "worker"}, KIND, "restart is 'always'"),
    ({"restart": 0, "isolation": "worker"}, VALUE, "restart is 0"),
    ({"spare": True, "isolation": "worker"}, KIND, "never restarted"),
    ({"expect": 5}, KIND, "expect is 5"),
    ({"expect": "sha256:zz"}, VALUE, "'sha256:zz' is no digest"),
]
POOLS: list[tuple[dict[str, Any], type[ferry.FerryError], str]] = [
    ({"path": 5}, KIND, "path is 5"),
    ({"workers": 0}, VALUE, "workers is 0"),
    ({"workers": True}, VALUE, "workers is True"),
    ({"workers": "2"}, VALUE, "workers is '2'"),
    ({"calls": 0}, VALUE, "calls is 0"),
    ({"calls": 49}, VALUE, "calls is 49"),
    ({"waiting": -1}, VALUE, "waiting is -1"),
    ({"wait_timeout": -1}, VALUE, "wait_timeout is -1"),
    ({"wait_timeout": "1"}, KIND, "wait_timeout is '1'"),
    ({"isolation": "in-process"}, KIND, "a pool is of processes"),
    ({"restart": "next-call"}, KIND, "replaces its workers itself"),
    ({"spare": True}, KIND, "never restarted"),
    ({"timeout": 0}, VALUE, "timeout is 0"),
]


@pytest.fixture(scope="module")
def small(compile_c: Compile) -> Path:
    return compile_c("int add(int a, int b) { return a + b; }")


def _name(value: object) -> str:
    return ",".join(value) if isinstance(value, dict) else ""


@pytest.mark.parametrize(("options", "error", "words"), LOADS, ids=_name)
def test_load_refuses(
    small: Path, options: dict[str, Any], error: type[ferry.FerryError], words: str
) -> None:
    given: dict[str, Any] = {"path": small, "header": HEADER, **options}
    with pytest.raises(error) as caught:
        ferry.load(**given)
    assert words in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(("options", "error", "words"), POOLS, ids=_name)
def test_pool_refuses(
    small: Path, options: dict[str, Any], error: type[ferry.FerryError], words: str
) -> None:
    given: dict[str, Any] = {"path": small, "header": HEADER, "workers": 1, **options}
    with pytest.raises(error) as caught:
        ferry.pool(**given)
    assert words in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("isolation", ["in-process", "namespace", "worker"])
@pytest.mark.parametrize("seconds", [0, -1, math.nan, True, "1"])
def test_a_call_is_refused_such_a_timeout(small: Path, isolation: Any, seconds: Any) -> None:
    with ferry.load(small, header=HEADER, isolation=isolation) as lib:
        with pytest.raises((KIND, VALUE)):
            lib.add.within(seconds)
        with pytest.raises((KIND, VALUE)):
            lib.function(HEADER, timeout=seconds)
        assert lib.add(1, 2) == 3


@pytest.mark.parametrize("isolation", ["in-process", "namespace"])
def test_no_call_in_this_process_has_a_timeout(small: Path, isolation: Any) -> None:
    with ferry.load(small, header=HEADER, isolation=isolation) as lib:
        with pytest.raises(KIND, match="cannot be ended"):
            lib.add.within(1)
        with pytest.raises(KIND, match="cannot be ended"):
            lib.function(HEADER, timeout=1)
