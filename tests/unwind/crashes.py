"""Programs that crash on every CPU, as values: the Fault, and what another unwinder says."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from libferry.build.zig import TARGETS
from libferry.runtime import runner
from libferry.runtime.fault import Fault, Module

HERE = Path(__file__).parent
ZIG = (sys.executable, "-m", "ziglang", "cc")

_CROSS = "apt-get install qemu-user-static libc6-{}-cross"
# ABI -> what must exist to run its programs, and what brings that
NEEDS = {
    "x86_64-sysv": ("ziglang", "pip install ziglang"),
    "i386-sysv": ("/lib/ld-linux.so.2", "apt-get install libc6-i386"),
    "aarch64-aapcs64": ("/usr/aarch64-linux-gnu", _CROSS.format("arm64")),
    "arm-hardfloat": ("/usr/arm-linux-gnueabihf", _CROSS.format("armhf")),
    "riscv64-lp64d": ("/usr/riscv64-linux-gnu", _CROSS.format("riscv64")),
    "loongarch64-lp64d": ("/usr/loongarch64-linux-gnu", "tools/setup-debian"),
}


def on(*abis: str) -> list[object]:
    """Test parameters: these ABIs, or all."""
    return [
        pytest.param(
            abi,
            marks=[
                pytest.mark.needs("ziglang", install="pip install ziglang"),
                pytest.mark.needs(NEEDS[abi][0], install=NEEDS[abi][1]),
            ],
        )
        for abi in abis or NEEDS
    ]


@dataclass(frozen=True)
class Crash:
    """What a program wrote when it crashed.

    ``expected``: the frames from the one that crashed on, as ``_Unwind_Backtrace`` of LLVM's
    libunwind saw them in that moment, from within the signal handler. ``callers``: those of
    the function that was about to crash, seen from there; only if asked for.
    """

    fault: Fault
    expected: tuple[int, ...]
    callers: tuple[int, ...]


@functools.cache
def built(abi: str, *options: str) -> Path:
    """The program crash.c with its library deep.c."""
    folder = Path(tempfile.mkdtemp(prefix="libferry-tests-"))
    common = (*ZIG, "-target", TARGETS[abi].name, "-fno-sanitize=all", *options)
    library: tuple[str | Path, ...] = (
        *common,
        "-shared",
        "-fPIC",
        "-o",
        folder / "libdeep.so",
        HERE / "deep.c",
    )
    subprocess.run(library, check=True)
    program: tuple[str | Path, ...] = (
        *common,
        "-DWITH_UNWINDER",
        "-o",
        folder / "crash",
        HERE / "crash.c",
    )
    subprocess.run((*program, folder / "libdeep.so", "-Wl,-rpath,$ORIGIN", "-lunwind"), check=True)
    return folder / "crash"


def command(abi: str, program: Path) -> list[str]:
    """How a program of an ABI is started here."""
    found = runner.find(abi)
    if found.through == "this kernel":
        return [str(program)]
    return [*found.command[:-1], str(program)]


@functools.cache
def crashed(abi: str, how: str, *options: str, callers: bool = False) -> Crash:
    """The crash of that program."""
    program = built(abi, *options)
    done = subprocess.run(
        [*command(abi, program), how, *(["callers"] if callers else [])],
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    return read(done.stdout.decode(), abi)


def read(text: str, abi: str) -> Crash:
    """What crashing.h wrote."""
    head, _, maps = text.partition("\nmaps\n")
    words = [line.split() for line in head.splitlines()]
    found = {line[0]: line[1:] for line in words}
    pc = int(found["pc"][0], 16)
    expected = [int(line[1], 16) for line in words if line[0] == "expect"]
    registers_at = next(number for number, line in enumerate(words) if line[0] == "code")
    before = [int(line[1], 16) for line in words[:registers_at]]
    expected = expected[len(before) :]
    fault = Fault(
        abi=abi,
        code=int(found["code"][0]),
        address=None,
        program_counter=pc,
        registers={int(line[1]): int(line[2], 16) for line in words if line[0] == "reg"},
        stack_base=int(found["stack"][0], 16),
        stack=bytes.fromhex(found["stack"][1]),
        modules=tuple(map(_module, maps.splitlines())),
    )
    seen = tuple(expected[expected.index(pc) :]) if pc in expected else ()
    return Crash(fault, seen, tuple(before[2:]))  # without tell_callers() and the function


def _module(line: str) -> Module:
    words = line.split(maxsplit=5)
    start, end = (int(word, 16) for word in words[0].split("-"))
    path = words[5] if len(words) > 5 else ""
    return Module(start, end, int(words[2], 16), path, "x" in words[1])
