"""Whatever the bytes are: a backtrace and a minidump, soon, and never an exception.

The seeds are real: a crash, and the files it happened in. Then anything is changed in the
registers, the stack, the maps, or a file.
"""

from __future__ import annotations

import os
import random
import struct
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libferry.runtime.fault import Fault, Module
from libferry.unwind import Frame, backtrace, minidump
from libferry.unwind.cpus import CPUS
from libferry.unwind.expressions import evaluate
from libferry.unwind.limits import Budget, NotUnwindable
from tests.unwind.crashes import built, crashed, on

SECONDS = 10  # for one of each, on a machine that does much else
ABIS = on("x86_64-sysv", "aarch64-aapcs64", "arm-hardfloat")
MUTATIONS = 100

WORDS = st.one_of(
    st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1])
)
ONE_EACH = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def soon(fault: Fault) -> tuple[Frame, ...]:
    begin = time.monotonic()
    frames = backtrace(fault)
    for frame in frames:
        assert "\n" not in str(frame)
    assert 1 <= len(frames) <= 64
    with tempfile.TemporaryDirectory() as folder:
        assert minidump.write(Path(folder) / "it.dmp", fault, pid=1).read_bytes()[:4] == b"MDMP"
    assert time.monotonic() - begin < SECONDS
    return frames


@pytest.mark.parametrize("abi", ABIS)
@given(data=st.data())
@ONE_EACH
def test_any_registers(abi: str, data: Any) -> None:
    fault = crashed(abi, "signal", "-O2").fault
    changed = data.draw(st.dictionaries(st.sampled_from(sorted(fault.registers)), WORDS))
    pc = data.draw(st.one_of(WORDS, st.just(fault.program_counter)))
    soon(replace(fault, registers={**fault.registers, **changed}, program_counter=pc))


@pytest.mark.parametrize("abi", ABIS)
@given(data=st.data())
@ONE_EACH
def test_any_stack(abi: str, data: Any) -> None:
    fault = crashed(abi, "signal", "-O2").fault
    stack = bytearray(fault.stack)
    for at, word in data.draw(
        st.lists(st.tuples(st.integers(0, len(stack) // 8 - 1), WORDS), max_size=40)
    ):
        stack[8 * at : 8 * at + 8] = word.to_bytes(8, "little")
    size = data.draw(st.one_of(st.just(len(stack)), st.integers(0, len(stack))))
    soon(replace(fault, stack=bytes(stack[:size])))


@pytest.mark.parametrize("abi", ABIS)
@given(data=st.data())
@ONE_EACH
def test_any_maps(abi: str, data: Any) -> None:
    fault = crashed(abi, "signal", "-O2").fault
    path = st.one_of(st.sampled_from([m.path for m in fault.modules]), st.text(max_size=20))
    module = st.builds(Module, WORDS, WORDS, WORDS, path, st.booleans())
    more = data.draw(st.lists(module, max_size=5))
    places = st.integers(0, len(fault.modules) - 1)
    kept = [m for n, m in enumerate(fault.modules) if n not in data.draw(st.sets(places))]
    soon(replace(fault, modules=(*more, *kept)))


@pytest.mark.parametrize("abi", ABIS)
def test_any_file(abi: str, tmp_path: Path) -> None:
    fault = crashed(abi, "signal", "-O2").fault
    library = built(abi, "-O2").parent / "libdeep.so"
    raw = library.read_bytes()
    copy = tmp_path / "libdeep.so"
    fault = replace(
        fault,
        modules=tuple(
            m._replace(path=str(copy)) if m.path == str(library) else m for m in fault.modules
        ),
    )
    copy.write_bytes(raw)
    assert len(soon(fault)) > 15
    regions = [(0, 1024), *interesting(library)]
    chance = random.Random(1)
    for _ in range(MUTATIONS):
        changed = bytearray(raw)
        for _ in range(chance.choice((1, 2, 8, 64))):
            start, size = chance.choice(regions)
            changed[start + chance.randrange(size)] = chance.choice((0, 1, 0x7F, 0xFF, 0x80, 0x33))
        if chance.random() < 0.1:
            del changed[chance.randrange(len(changed)) :]
        copy.write_bytes(changed or b"\0")
        soon(fault)


def interesting(library: Path) -> list[tuple[int, int]]:
    """Where in a file what an unwinder reads is."""
    wanted = (".eh_frame", ".eh_frame_hdr", ".ARM.exidx", ".ARM.extab", ".symtab", ".debug_frame")
    with open(library, "rb") as file:
        elf = ELFFile(file)
        sections = [s for s in map(elf.get_section_by_name, wanted) if s is not None]
        headers = elf["e_shoff"], elf["e_shnum"] * elf["e_shentsize"]
        return [(s["sh_offset"], s["sh_size"]) for s in sections] + [headers]


@given(code=st.binary(max_size=60), first=WORDS)
@settings(max_examples=500, deadline=None)
def test_any_expression(code: bytes, first: int) -> None:
    def load(address: int, size: int) -> int:
        return address % 251

    cpu = CPUS["x86_64"]
    registers = dict.fromkeys(range(17), 0x1234)
    try:
        value = evaluate(code, cpu.word, registers, load, Budget(10_000), first)
    except NotUnwindable:
        return
    assert 0 <= value <= cpu.mask


def test_an_expression_that_loops_ends() -> None:
    loop = b"\x2f" + struct.pack("<h", -3)  # DW_OP_skip, to itself
    with pytest.raises(NotUnwindable, match="steps"):
        evaluate(loop, 8, {}, lambda address, size: 0, Budget(10_000))


@pytest.mark.parametrize("abi", on("x86_64-sysv"))
def test_a_stack_of_frames_without_end_ends(abi: str) -> None:
    """Frame pointers that lead from each word of the stack to the next."""
    options = ("-O2", "-g0", "-fno-asynchronous-unwind-tables", "-fno-omit-frame-pointer")
    fault = crashed(abi, "nowhere", *options).fault
    base = fault.stack_base
    words = [w for n in range(4000) for w in (base + 16 * (n + 1), fault.program_counter)]
    stack = struct.pack(f"<{len(words)}Q", *words)
    registers = {**fault.registers, 6: base, 7: base}
    looping = replace(fault, stack=stack, registers=registers)
    assert len(backtrace(looping)) == 64
    assert len(backtrace(looping, limit=1 << 40)) == 1024


@pytest.mark.parametrize("abi", on("x86_64-sysv"))
def test_a_file_that_is_large_and_cheap_costs_no_more(abi: str, tmp_path: Path) -> None:
    """A terabyte of nothing, which takes no room on a disk, as the last segment's contents."""
    fault = crashed(abi, "nowhere", "-O2").fault
    library = built(abi, "-O2").parent / "libdeep.so"
    raw = bytearray(library.read_bytes())
    with open(library, "rb") as file:
        elf = ELFFile(file)
        for number, segment in enumerate(elf.iter_segments()):
            at = elf["e_phoff"] + number * elf["e_phentsize"]
            if segment["p_type"] == "PT_LOAD":  # p_filesz, p_memsz
                struct.pack_into("<QQ", raw, at + 32, 1 << 40, 1 << 40)
            if segment["p_type"] == "PT_GNU_EH_FRAME":
                struct.pack_into("<QQ", raw, at + 32, 1 << 40, 1 << 40)
        hashes = elf.get_section_by_name(".gnu.hash")
        assert hashes is not None
        # every bucket's chain begins at the last symbol there can be
        struct.pack_into("<I", raw, hashes["sh_offset"] + 16 + 8, 1 << 31)
        elf_end = len(raw)
    copies = []
    for number in range(20):
        copy = tmp_path / f"libdeep{number}.so"
        copy.write_bytes(raw[:elf_end])
        os.truncate(copy, 1 << 40)
        copies.append(str(copy))
    modules = [m for m in fault.modules if m.path != str(library)]
    for number, path in enumerate(copies):
        base = 0x10000 * (number + 1)
        modules.append(Module(base, base + 0x10000, 0, path, True))
    words = [0x10000 * (n % 20 + 1) + 0x2000 for n in range(200)]
    stack = struct.pack(f"<{len(words)}Q", *words)
    soon(replace(fault, modules=tuple(modules), stack=stack, program_counter=0))
