"""A compiled library as bytes at addresses, and where its functions are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import lief

from ..targets import TARGETS


def compile_image(
    abi: str, source: str, directory: Path
) -> tuple[list[tuple[int, bytes]], dict[str, int]]:
    """Compile C for an ABI; give the segments and the functions' addresses."""
    (directory / "batch.c").write_text(source)
    command = [sys.executable, "-m", "ziglang", "cc", *TARGETS[abi], "-std=gnu17", "-O1"]
    command += ["-ffreestanding", "-fno-builtin", "-fno-sanitize=all", "-fno-stack-protector"]
    command += ["-fvisibility=hidden", "-shared", "-nostdlib", "-fomit-frame-pointer"]
    command += ["-o", "batch.image", "batch.c"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    binary = lief.parse(str(directory / "batch.image"))
    assert binary is not None
    segments: list[tuple[int, bytes]] = []
    if isinstance(binary, lief.PE.Binary):
        base = binary.optional_header.imagebase
        for section in binary.sections:
            segments.append((base + section.virtual_address, bytes(section.content)))
        functions = {
            e.name.lstrip("_@").partition("@")[0]: base + e.address
            for e in binary.get_export().entries
        }
        return segments, functions
    base = 0  # where it is linked to be: i386 reaches fixed addresses by their distance
    if isinstance(binary, lief.ELF.Binary):
        for segment in binary.segments:
            if segment.type == lief.ELF.Segment.TYPE.LOAD:
                segments.append((base + segment.virtual_address, bytes(segment.content)))
        functions = {s.name: base + s.value for s in binary.exported_symbols}
        return segments, functions
    assert isinstance(binary, lief.MachO.Binary)
    for command_ in binary.segments:
        segments.append((base + command_.virtual_address, bytes(command_.content)))
    functions = {
        s.name.removeprefix("_"): base + s.value
        for s in binary.symbols
        if s.name.startswith(("_f", "_g"))
    }
    return segments, functions
