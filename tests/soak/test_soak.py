"""`make soak` in a quarter of a minute: no wrong answer, no hang, nothing left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.needs("ziglang", install="pip install ziglang")
def test_faults_from_eight_threads_leave_right_answers_and_nothing_else(tmp_path: Path) -> None:
    result = tmp_path / "soak.json"
    command = [sys.executable, "-m", "bench.soak", "--seconds", "6", "--cycles", "300"]
    with (tmp_path / "said").open("w+") as said:
        done = subprocess.run(
            [*command, "--result", str(result)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": os.environ.get("PYTHONPATH", "src")},
            stdout=said,
            stderr=said,
            timeout=400,
            check=False,
        )
        said.seek(0)
        assert done.returncode == 0, said.read()[-4000:]
    told = json.loads(result.read_text())
    assert told["wrong"] == []
    assert told["left"] == {} == told["cycle"]["left"]
    assert sum(told["calls"].values()) > 100
    assert told["injected"]
