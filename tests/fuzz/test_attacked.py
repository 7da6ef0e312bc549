"""The host is attacked: a short run of attacked.py; `make soak` has a long one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .building import build

CASES = int(os.environ.get("FERRY_CASES", "150"))
SEED = int(os.environ.get("FERRY_SEED", "0"))
SECONDS = float(os.environ.get("FERRY_FUZZ_SECONDS", "15"))

pytestmark = [
    pytest.mark.needs("ziglang", install="pip install ziglang"),
    pytest.mark.skipif(sys.platform != "linux", reason="the adversary knows Linux only"),
]


def test_no_worker_hurts_its_host(tmp_path: Path) -> None:
    """In a process of its own, since it may end; under the sanitizers if this one is."""
    build(tmp_path)
    command = [sys.executable, "-m", "tests.fuzz.attacked", str(tmp_path)]
    command += ["--seed", str(SEED), "--cases", str(CASES), "--seconds", str(SECONDS)]
    paths = [os.environ.get("PYTHONPATH", "src"), "."]
    with (tmp_path / "said").open("w+") as said:
        done = subprocess.run(
            command,
            cwd=Path(__file__).parents[2],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            stdout=said,
            stderr=said,
            timeout=SECONDS + 200,
            check=False,
        )
        said.seek(0)
        assert done.returncode == 0, said.read()[-6000:]
