"""Whatever the DLLs are: an answer, and never anything else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libferry.errors import FerryError
from libferry.loader import Options
from libferry.loader import resolve as resolve_file
from libferry.loader.model import Resolution
from libferry.loader.windows import resolve_name
from libferry.target.choose import system_for

CASES = int(os.environ.get("FERRY_CASES", "150"))
NUMBERS = st.one_of(
    st.sampled_from([0, 1, 0xFFFF, 0x80000000, 0xFFFFFFFF]), st.integers(0, 1 << 31)
)

pytestmark = pytest.mark.needs("ziglang", install="pip install ziglang")


@settings(max_examples=CASES, deadline=None)
@given(data=st.data())
def test_damaged_dlls_are_resolved_or_refused(
    data: st.DataObject, libraries: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("damaged")
    names = ["top.dll", "hop.dll", "leaf.dll"]
    for name in names:
        raw = bytearray(libraries[name].read_bytes())
        for _ in range(data.draw(st.integers(0, 4), "changes")):
            at = data.draw(st.integers(0, len(raw) - 4), "at")
            raw[at : at + 4] = data.draw(NUMBERS, "number").to_bytes(4, "little")
        (place / name).write_bytes(raw)
    try:
        resolution = resolve_file(place / "top.dll", system_for("windows-10-x64", carried=[place]))
    except FerryError:
        return
    assert isinstance(resolution, Resolution)
    assert resolution.loads is not None
    shutil.rmtree(place)


@settings(max_examples=CASES, deadline=None)
@given(name=st.text(max_size=40))
def test_any_name_is_answered(name: str) -> None:
    resolution = resolve_name(name, system_for("windows-10-x64"), Options())
    assert resolution.loads in (True, False, None)


def test_dlls_that_need_each_other(libraries: dict[str, Path], tmp_path: Path) -> None:
    """mid.dll needs leaf.dll, and here that is mid.dll again by another name."""
    for name in ("mid.dll", "leaf.dll"):
        raw = libraries["mid.dll"].read_bytes()
        (tmp_path / name).write_bytes(raw.replace(b"\0mid\0", b"\0leaf\0"[:5]))
    resolution = resolve_file(
        tmp_path / "mid.dll", system_for("windows-10-x64", carried=[tmp_path])
    )
    assert [node.name.lower() for node in resolution.root.walk()][1:] == ["leaf.dll"] * 2
