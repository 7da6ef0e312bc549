"""Every row of real libraries' call frame information, beside pyelftools' reading of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elftools.dwarf.callframe import FDE, CFARule, RegisterRule
from elftools.elf.elffile import ELFFile

from libferry.binary.elf import Image
from libferry.binary.opening import open_window
from libferry.unwind.call_frames import Row, row_at
from libferry.unwind.cpus import CPUS
from libferry.unwind.frame_tables import FrameTables
from libferry.unwind.limits import Budget
from tests.unwind.crashes import built, on

AT_LEAST = 500  # rows of a C library that the test is to have seen
EVERY = 7  # of some thousand functions; pyelftools takes its time

# Each CPU's C library
LIBRARIES = {
    "x86_64": "/lib/x86_64-linux-gnu/libc.so.6",
    "i386": "/lib32/libc.so.6",
    "aarch64": "/usr/aarch64-linux-gnu/lib/libc.so.6",
    "riscv64": "/usr/riscv64-linux-gnu/lib/libc.so.6",
    "loongarch64": "/usr/loongarch64-linux-gnu/lib/libc.so.6",
}

HOW = {
    RegisterRule.UNDEFINED: "undefined",
    RegisterRule.SAME_VALUE: "same",
    RegisterRule.OFFSET: "at",
    RegisterRule.VAL_OFFSET: "value",
    RegisterRule.REGISTER: "register",
    RegisterRule.EXPRESSION: "expression",
    RegisterRule.VAL_EXPRESSION: "value of",
}
UNKNOWN_TO_PYELFTOOLS = 0x2E  # DW_CFA_GNU_args_size
PLENTY = Budget(1 << 40, seconds=3600)
RA_SIGN_STATE = 34  # aadwarf64: no register, but whether the return address is signed


def test_rows_of_eh_frame_are_those_of_pyelftools(cpu: str) -> None:
    rows = 0
    with open(LIBRARIES[cpu], "rb") as file, open_window(LIBRARIES[cpu]) as window:
        tables = FrameTables(Image(window), PLENTY)
        entries = ELFFile(file).get_dwarf_info().EH_CFI_entries()
        functions = [entry for entry in entries if isinstance(entry, FDE)]
        for function in functions[::EVERY]:
            for address, theirs in rows_of(function):
                entry = tables.find(address)
                assert entry is not None
                ours = row_at(entry, address, CPUS[cpu], PLENTY)
                assert as_theirs(ours) == theirs, hex(address)
                rows += 1
    assert rows > AT_LEAST


@pytest.mark.parametrize("abi", on("x86_64-sysv", "riscv64-lp64d"))
def test_rows_of_debug_frame_are_those_of_pyelftools(abi: str) -> None:
    options = ("-O2", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables")
    library = built(abi, *options).parent / "libdeep.so"
    cpu = abi.split("-")[0]
    rows = 0
    with open(library, "rb") as file, open_window(library) as window:
        tables = FrameTables(Image(window), PLENTY)
        for function in ELFFile(file).get_dwarf_info().CFI_entries():
            for address, theirs in rows_of(function) if isinstance(function, FDE) else ():
                entry = tables.find(address)
                assert entry is not None
                assert as_theirs(row_at(entry, address, CPUS[cpu], PLENTY)) == theirs
                rows += 1
    assert rows > 30


@pytest.fixture(
    params=[
        pytest.param(cpu, marks=pytest.mark.needs(path, install="tools/setup-debian"))
        for cpu, path in LIBRARIES.items()
    ]
)
def cpu(request: pytest.FixtureRequest) -> str:
    assert Path(LIBRARIES[request.param]).exists()
    return str(request.param)


def rows_of(function: FDE) -> Iterator[tuple[int, dict[Any, object]]]:
    """pyelftools' rows of a function: the address where each begins, and its columns."""
    found: dict[int, dict[Any, object]] = {}
    if any(instruction.opcode == UNKNOWN_TO_PYELFTOOLS for instruction in function.instructions):
        return
    end = function["initial_location"] + function["address_range"]
    for line in function.get_decoded().table:
        columns: dict[Any, object] = {}
        for column, rule in line.items():
            if isinstance(rule, CFARule):
                columns["cfa"] = bytes(rule.expr) if rule.expr else (rule.reg, rule.offset)
            elif isinstance(rule, RegisterRule) and column != RA_SIGN_STATE:
                argument = bytes(rule.arg) if isinstance(rule.arg, list) else rule.arg
                columns[column] = (HOW[rule.type], argument or 0)
        if line["pc"] < end:
            found[line["pc"]] = columns  # of two at one address, the second holds
    yield from found.items()


def as_theirs(row: Row) -> dict[Any, object]:
    columns: dict[Any, object] = {
        number: (saved.how, saved.code or saved.number) for number, saved in row.saved.items()
    }
    columns["cfa"] = row.cfa_code or (row.cfa_register, row.cfa_offset)
    return columns
