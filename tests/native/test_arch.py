"""The trampolines and the entry thunks, on every CPU.

Each C program here is compiled with the parts of the core that it tests, and run on
this machine's CPU, through qemu-user or through Wine. For Apple and for Windows on
Arm there is nothing here to run it; there the compiler has to accept it.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from libferry.runtime import wine

HERE = Path(__file__).parent
NATIVE = HERE.parents[1] / "native"


@dataclass(frozen=True)
class Target:
    """How to compile for one ABI, and what runs the outcome; None: nothing here."""

    triple: str
    arch: str
    runner: tuple[str, ...] | None = ()

    @property
    def windows(self) -> bool:
        return "windows" in self.triple


def cross(cpu: str, sysroot: str) -> tuple[str, ...]:
    static = f"/usr/bin/qemu-{cpu}-static"
    return (static if cpu != "loongarch64" else f"qemu-{cpu}", "-L", f"/usr/{sysroot}")


def needs(path: str, install: str = "tools/setup-debian") -> pytest.MarkDecorator:
    return pytest.mark.needs(path, install=install)


WINE = ("/usr/lib/wine/wine64",)
RUNNABLE = [
    pytest.param(Target("x86_64-linux-gnu.2.17", "x86_64_sysv"), id="x86_64-sysv"),
    pytest.param(
        Target("x86-linux-gnu.2.17", "i386"),
        id="i386-sysv",
        marks=needs("/lib/ld-linux.so.2", "apt-get install libc6-i386"),
    ),
    pytest.param(
        Target("aarch64-linux-gnu.2.17", "aarch64", cross("aarch64", "aarch64-linux-gnu")),
        id="aarch64-aapcs64",
        marks=needs("/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1"),
    ),
    pytest.param(
        Target("arm-linux-gnueabihf.2.17", "arm_hardfloat", cross("arm", "arm-linux-gnueabihf")),
        id="arm-hardfloat",
        marks=needs("/usr/arm-linux-gnueabihf/lib/ld-linux-armhf.so.3"),
    ),
    pytest.param(
        Target("riscv64-linux-gnu.2.27", "riscv64_lp64d", cross("riscv64", "riscv64-linux-gnu")),
        id="riscv64-lp64d",
        marks=needs("/usr/riscv64-linux-gnu/lib/ld-linux-riscv64-lp64d.so.1"),
    ),
    pytest.param(
        Target(
            "loongarch64-linux-gnu.2.36",
            "loongarch64_lp64d",
            cross("loongarch64", "loongarch64-linux-gnu"),
        ),
        id="loongarch64-lp64d",
        marks=needs("/usr/loongarch64-linux-gnu/lib/ld-linux-loongarch-lp64d.so.1"),
    ),
    pytest.param(
        Target("x86_64-windows-gnu", "x86_64_windows", WINE),
        id="x86_64-windows",
        marks=needs("/usr/lib/wine/wine64", "apt-get install wine64"),
    ),
]
# Windows on i386 unwinds by a chain of handlers, which needs nothing of us.
WITHOUT_TABLES = [
    pytest.param(
        Target("x86-windows-gnu", "i386", WINE),
        id="i386-windows",
        marks=needs("/usr/lib/x86_64-linux-gnu/wine/i386-windows/ntdll.dll"),
    ),
]
COMPILED_ONLY = [
    pytest.param(Target("aarch64-windows-gnu", "aarch64", None), id="aarch64-windows"),
    pytest.param(Target("aarch64-macos.11.0", "aarch64", None), id="aarch64-apple"),
]


def compile_program(name: str, target: Target, output: Path, *options: str) -> None:
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", target.triple]
    # zig's default is to trap on undefined behaviour, by way of a runtime of its own
    flags = ["-std=gnu11", "-O2", "-fno-sanitize=all", "-Wall", "-Wextra", "-Werror", f"-I{NATIVE}"]
    if target.windows:
        found = importlib.util.find_spec("ziglang")
        assert found is not None
        assert found.origin is not None
        include = Path(found.origin).parent / "lib/libc/include/any-windows-any"
        flags += ["-nostdlib", "-isystem", str(include), "-lkernel32", "-fno-builtin"]
        flags += ["-Wl,-e,start", "-Wl,--subsystem,console", "-g0"]
    else:
        flags += options
    sources = [HERE / f"{name}.c", NATIVE / "entry.c"]
    sources += [NATIVE / "arch" / f"{target.arch}{part}.S" for part in ("", "_entry")]
    command = [*zig, *flags, *map(str, sources), "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def check(name: str, target: Target, directory: Path, *options: str) -> None:
    program = directory / ("program.exe" if target.windows else "program")
    compile_program(name, target, program, *options)
    if target.runner is None:
        return
    environment = dict(os.environ)
    if target.runner == WINE:
        wine.ensure_running()
        environment |= wine.environment()
    command = [*target.runner, str(program)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize("target", [*RUNNABLE, *WITHOUT_TABLES, *COMPILED_ONLY])
def test_every_register_and_slot_has_its_place_in_the_frame(target: Target, tmp_path: Path) -> None:
    check("cells", target, tmp_path)


@pytest.mark.parametrize("target", [*RUNNABLE, *WITHOUT_TABLES, *COMPILED_ONLY])
def test_a_call_through_a_thunk_and_a_trampoline_is_the_same_call(
    target: Target, tmp_path: Path
) -> None:
    check("same_call", target, tmp_path)


@pytest.mark.parametrize("target", [*RUNNABLE, *COMPILED_ONLY])
def test_the_stack_can_be_unwound_through_both(target: Target, tmp_path: Path) -> None:
    check("unwinding", target, tmp_path, "-funwind-tables", "-lunwind")
