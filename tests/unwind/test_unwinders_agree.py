"""Every frame of a crash is where another unwinder saw it, in the same process.

The other is LLVM's libunwind, in the program's own signal handler, and gdb on the CPUs that
this machine has. Both know more than we do: they had the process.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from libferry.unwind import backtrace
from tests.unwind.crashes import crashed, on
from tests.unwind.debugger import crashed_under_gdb

WAYS = ("nowhere", "signal", "qsort")
OPTIONS = (("-O2",), ("-O0",), ("-O2", "-fomit-frame-pointer"), ("-O2", "-s"))
LIBUNWIND = ("x86_64-sysv", "i386-sysv", "aarch64-aapcs64", "arm-hardfloat", "riscv64-lp64d")


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("abi", on(*LIBUNWIND))
def test_frames_are_those_of_libunwind(abi: str, how: str, options: tuple[str, ...]) -> None:
    crash = crashed(abi, how, *options)
    ours = [frame.address for frame in backtrace(crash.fault)]
    assert len(crash.expected) >= 14
    assert ours[: len(crash.expected)] == list(crash.expected)
    assert len(ours) - len(crash.expected) <= 1  # _start, for which libunwind has no table


# On LoongArch libunwind does not find out of a signal handler, so it is asked before.
@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
@pytest.mark.parametrize("how", ["nowhere", "qsort"])
@pytest.mark.parametrize("abi", on("loongarch64-lp64d"))
def test_callers_are_those_of_libunwind(abi: str, how: str, options: tuple[str, ...]) -> None:
    crash = crashed(abi, how, *options, callers=True)
    ours = [frame.address for frame in backtrace(crash.fault)]
    assert len(crash.callers) >= 12
    assert ours[2:] == list(crash.callers)  # without leaf() and write_nowhere()


# The signature of each return address is above its 48 bits.
@pytest.mark.parametrize("keys", ["pac-ret", "pac-ret+leaf+b-key"])
@pytest.mark.parametrize("abi", on("aarch64-aapcs64"))
def test_signed_return_addresses_are_addresses(abi: str, keys: str) -> None:
    crash = crashed(abi, "nowhere", "-O2", f"-mbranch-protection={keys}")
    stack = memoryview(crash.fault.stack[: len(crash.fault.stack) // 8 * 8]).cast("Q")
    assert any(word >> 48 and word & 0xFFFF_FFFF_FFFF in crash.expected for word in stack)
    ours = [frame.address for frame in backtrace(crash.fault)]
    assert ours[: len(crash.expected)] == list(crash.expected)


@pytest.mark.parametrize("abi", on("arm-hardfloat"))
def test_thumb_code_is_unwound_as_arm_code_is(abi: str) -> None:
    crash = crashed(abi, "qsort", "-O2", "-mthumb")
    ours = [frame.address for frame in backtrace(crash.fault)]
    assert len(crash.expected) > 15
    assert ours[: len(crash.expected)] == list(crash.expected)


@pytest.mark.needs("gdb", install="apt-get install gdb")
@pytest.mark.parametrize("options", [("-O2",), ("-O2", "-fomit-frame-pointer")], ids=" ".join)
@pytest.mark.parametrize("how", ["nowhere", "null", "abort", "signal", "qsort", "strlen"])
@pytest.mark.parametrize("abi", on("x86_64-sysv", "i386-sysv"))
def test_frames_and_functions_are_those_of_gdb(
    abi: str, how: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    crash, theirs = crashed_under_gdb(abi, how, tmp_path, *options)
    ours = backtrace(crash.fault)
    assert len(theirs) >= 15
    assert len(ours) == len(theirs)
    for frame, (address, function) in zip(ours, theirs, strict=True):
        if function:  # gdb gives no address where a signal handler returns to
            assert frame.address == address
        if function and frame.module != "[vdso]":  # which is in no file
            assert (frame.symbol or "??") == function
