"""Other CPUs' C libraries, each in a folder that is a root: we find what their loaders find.

The loaders run under qemu, which looks for every absolute path below the folder first.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from libferry.binary import read
from libferry.errors import BadBinary
from libferry.loader import resolve
from libferry.target import system_for

from .listing import listing

ROOTS = [
    ("aarch64", "/usr/aarch64-linux-gnu", "ld-linux-aarch64.so.1", "libc6-arm64-cross"),
    ("arm", "/usr/arm-linux-gnueabihf", "ld-linux-armhf.so.3", "libc6-armhf-cross"),
    ("riscv64", "/usr/riscv64-linux-gnu", "ld-linux-riscv64-lp64d.so.1", "libc6-riscv64-cross"),
]


@pytest.mark.parametrize(
    ("cpu", "root", "loader"),
    [
        pytest.param(
            *(cpu, root, loader),
            id=cpu,
            marks=[
                pytest.mark.needs(f"{root}/lib/{loader}", install=f"apt-get install {package}"),
                pytest.mark.needs(f"qemu-{cpu}-static", install="apt-get install qemu-user-static"),
            ],
        )
        for cpu, root, loader, package in ROOTS
    ],
)
def test_every_library_of_another_cpus_root(cpu: str, root: str, loader: str) -> None:
    system = system_for(sysroot=root, cpu=cpu)
    command = [f"qemu-{cpu}-static", "-L", root, f"{root}/lib/{loader}"]
    asked = 0
    for file in sorted(Path(root, "lib").glob("lib*.so.*")):
        try:
            needed = read(file).needed
        except BadBinary:
            continue  # a linker script
        if not needed:
            continue
        resolution = resolve(file, system)
        ours = {
            node.name: node.path if node.found else None
            for node in resolution.root.walk()
            if node is not resolution.root and node.state in ("loaded", "missing")
        }
        theirs = listing(command, f"/lib/{file.name}").paths
        asked += "libc.so.6" in theirs
        assert {path or name for name, path in ours.items() if "ld-linux" not in name} == {
            path or name for name, path in theirs.items() if "ld-linux" not in name
        }
    assert asked > 5
