"""Random functions and the plans of their calls, carried out in an emulator.

Every ABI whose CPU the emulator has is here. For Apple's and Windows' on Arm it is the
only place where their code runs: neither system can be had for these tests.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from libferry.abi import ABIS

from .batches import batches, tell
from .compiler import compile_library
from .emulator import Machine
from .planned import Caller, check
from .signatures import invent
from .source import header
from .source import library as library_source
from .targets import EMULATED, Target

pytestmark = [
    pytest.mark.needs("ziglang", install="pip install ziglang"),
    pytest.mark.needs("unicorn", install="pip install unicorn"),
]


@pytest.mark.parametrize(("start", "count"), batches())
@pytest.mark.parametrize("target", EMULATED, ids=lambda target: target.abi)
def test_every_byte_goes_where_the_compiler_looks_for_it(
    target: Target, start: int, count: int, tmp_path: Path
) -> None:
    functions = invent(target, count, start, data=False)
    path = compile_library(target, library_source(target, functions, arguments=True), tmp_path)
    _, names = header(functions)
    caller = Caller(target, ABIS[target.abi], Machine(target, path), names)
    tell(check(caller, functions), start, count)
