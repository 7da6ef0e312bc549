"""The frame's layout is written down twice; the two must say the same."""

from __future__ import annotations

import re
from pathlib import Path

from libferry.abi import frame

HEADER = Path(__file__).parents[2] / "native" / "frame.h"


def test_offsets_are_those_of_the_c_header() -> None:
    defined = dict(re.findall(r"#define FRAME_(\w+) (\d+)", HEADER.read_text()))
    ours = {name: value for name, value in vars(frame).items() if name.isupper()}
    cells = {"INTEGER_CELL": 8, "VECTOR_CELL": 16}  # said in words there
    assert {name: int(defined[name]) for name in ours if name not in cells} == {
        name: value for name, value in ours.items() if name not in cells
    }
    assert {name: ours[name] for name in cells} == cells
