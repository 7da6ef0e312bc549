"""``import libferry`` costs little, and nobody notices that most of it comes later."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import libferry


def in_a_fresh_process(script: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd="/"
    ).stdout.strip()


def test_importing_it_imports_no_room() -> None:
    script = "import libferry, sys; print(sorted(m for m in sys.modules if 'ferry' in m))"
    assert in_a_fresh_process(script) == "['libferry', 'libferry.errors']"


@pytest.mark.parametrize("name", libferry.__all__)
def test_every_name_is_there_and_listed(name: str) -> None:
    script = f"import libferry\nprint('{name}' in dir(libferry))\nfrom libferry import {name}"
    assert in_a_fresh_process(script) == "True"


@pytest.mark.parametrize("room", ["abi", "binary", "runtime", "sandbox", "unwind"])
def test_a_room_is_an_attribute_without_its_own_import(room: str) -> None:
    script = f"import libferry; print(libferry.{room}.__name__)"
    assert in_a_fresh_process(script) == f"libferry.{room}"


def test_what_is_not_there_is_an_attribute_error() -> None:
    door: Any = libferry
    with pytest.raises(AttributeError, match="has no attribute 'laod'"):
        _ = door.laod


def test_a_name_is_the_same_object_each_time() -> None:
    assert libferry.load is libferry.runtime.load is libferry.load


def test_a_quick_question_does_not_wait_for_what_it_does_not_need() -> None:
    """Each of these takes longer to import than the answer takes."""
    script = (
        "import sys\n"
        "from libferry.cli import main\n"
        f"main(['check', {sys.executable!r}])\n"
        "print(sorted({'pydantic', 'rich', 'libferry.runtime'} & set(sys.modules)))"
    )
    assert in_a_fresh_process(script).splitlines()[-1] == "[]"
