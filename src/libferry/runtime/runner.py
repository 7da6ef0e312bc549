"""What this machine can host, and through what.

One row per ABI says how a worker for it is started on a Linux machine of some CPU:
directly by the kernel, through qemu-user, or through Wine. ``find`` checks that the
pieces are there, and says which package brings a missing one.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from libferry.abi import ABIS, Abi
from libferry.binary import Binary
from libferry.errors import NoRunner
from libferry.loader.search import DEFAULT_FOLDERS
from libferry.runtime import wine

WORKERS = Path(__file__).parent / "workers"


@dataclass(frozen=True)
class Runner:
    """How to start the worker of one ABI here.

    Attributes:
        abi: the ABI's name.
        through: what runs it, for people: ``this kernel``, ``qemu-aarch64-static``.
        command: the words before the worker's own arguments.
        environment: variables to set for it.
        windows: whether the worker is a Windows program under Wine.
        emulated: whether the worker's code is for another CPU, and runs in qemu-user.
    """

    abi: str
    through: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    windows: bool = False
    emulated: bool = False


@dataclass(frozen=True)
class _Native:
    """A Linux ABI: its program interpreter, and what brings that on Debian.

    ``runs_on`` names the host CPUs that execute it directly; ``qemu`` the qemu-user
    program for the others, and ``oldest_qemu`` the oldest major version that is known
    to do. ``sysroot`` is where Debian keeps a cross C library.
    """

    interpreter: str
    runs_on: tuple[str, ...]
    package: str
    qemu: str
    sysroot: str
    oldest_qemu: int = 0

    @property
    def install(self) -> str:
        """What to type on Debian, for qemu and the C library."""
        if self.oldest_qemu:
            return (
                "on Debian 12 run tools/setup-debian of libferry's source; from Debian 13 on "
                f"apt-get install qemu-user {self.package}"
            )
        return f"apt-get install qemu-user-static {self.package}"


# Interpreters: the psABI supplements' "Program Interpreter" and glibc's shlib-versions.
_NATIVE = {
    "x86_64-sysv": _Native(
        "/lib64/ld-linux-x86-64.so.2",
        ("x86_64",),
        "libc6",
        "qemu-x86_64",
        "/usr/x86_64-linux-gnu",
    ),
    "i386-sysv": _Native(
        "/lib/ld-linux.so.2",
        ("x86_64", "i386"),
        "libc6-i386",
        "qemu-i386",
        "/usr/i686-linux-gnu",
    ),
    "aarch64-aapcs64": _Native(
        "/lib/ld-linux-aarch64.so.1",
        ("aarch64",),
        "libc6-arm64-cross",
        "qemu-aarch64",
        "/usr/aarch64-linux-gnu",
    ),
    "arm-hardfloat": _Native(
        "/lib/ld-linux-armhf.so.3",
        ("arm",),
        "libc6-armhf-cross",
        "qemu-arm",
        "/usr/arm-linux-gnueabihf",
    ),
    "riscv64-lp64d": _Native(
        "/lib/ld-linux-riscv64-lp64d.so.1",
        ("riscv64",),
        "libc6-riscv64-cross",
        "qemu-riscv64",
        "/usr/riscv64-linux-gnu",
    ),
    # C libraries for it use vectors, of which QEMU 7.2 (Debian 12) knows nothing: it
    # dies of an illegal instruction.
    "loongarch64-lp64d": _Native(
        "/lib64/ld-linux-loongarch-lp64d.so.1",
        ("loongarch64",),
        "libc6-loong64-cross",
        "qemu-loongarch64",
        "/usr/loongarch64-linux-gnu",
        oldest_qemu=10,
    ),
}

# Systems of which nothing on Linux runs the programs.
_ELSEWHERE = {
    "aarch64-windows": "an Arm64 Windows",
    "aarch64-apple": "a Mac with Apple silicon",
}


def host_cpu() -> str:
    """This machine's CPU, as ``libferry.binary`` names it."""
    machine = platform.machine().lower()
    if machine.startswith(("armv7", "armv8")):
        return "arm"  # a 32-bit system, also on a 64-bit CPU
    return {"amd64": "x86_64", "arm64": "aarch64", "i686": "i386"}.get(machine, machine)


def host_abi() -> str:
    """The ABI of this process."""
    return next(
        (abi.name for abi in ABIS.values() if abi.cpu == host_cpu() and "linux" in abi.os), "none"
    )


def abi_of(binary: Binary) -> Abi:
    """The ABI of a library.

    Raises:
        NoRunner: there is no worker for it.
    """
    for abi in ABIS.values():
        if abi.cpu == binary.cpu and binary.os in abi.os and binary.endian == "little":
            return abi
    raise NoRunner(
        f"host {binary.path.name}",
        f"it is a {binary.endian}-endian {binary.bits}-bit {binary.cpu} library for "
        f"{binary.os}, and there is no worker for that yet",
        hint=f"workers exist for {', '.join(ABIS)}",
    )


def find(abi_name: str, sysroot: Path | None = None) -> Runner:
    """How a worker of that ABI is started here.

    Args:
        abi_name: a key of ``libferry.abi.ABIS``.
        sysroot: a folder that has the target's C library, instead of this system's.

    Raises:
        NoRunner: something is missing; the hint names the package.
    """
    worker = next(WORKERS.glob(f"worker-{abi_name}*"), None)
    if worker is None:
        raise NoRunner(
            f"host {abi_name}",
            "this installation of libferry has no worker for it",
            hint="install libferry from its wheel, or run native/build.py in a checkout",
        )
    if abi_name in _ELSEWHERE:
        raise NoRunner(
            f"host {abi_name}",
            f"it takes {_ELSEWHERE[abi_name]}, and this is Linux on {host_cpu()}",
            hint="load a build of the library for another system or CPU; its declarations, "
            "layouts and call plans can be looked at here all the same",
        )
    if ABIS[abi_name].os == ("windows",):
        return _through_wine(abi_name, worker)
    native = _NATIVE[abi_name]
    if host_cpu() in native.runs_on:
        return _direct(abi_name, native, worker, sysroot)
    return _through_qemu(abi_name, native, worker, sysroot)


def interpreter_of(abi_name: str) -> str:
    """The path of the loader of such programs, on the system that they are for."""
    return _NATIVE[abi_name].interpreter


def _direct(abi_name: str, native: _Native, worker: Path, sysroot: Path | None) -> Runner:
    if sysroot is None:
        if not os.path.exists(native.interpreter):
            raise NoRunner(
                f"host {abi_name}",
                f"its program interpreter {native.interpreter} is missing",
                hint=f"apt-get install {native.package}, or give a sysroot= that has it",
            )
        # Its interpreter maps a program where it maps libraries. Started by itself it would
        # lie more than 4 GiB away from them, and a call that far costs an AMD Zen 4 eight
        # cycles instead of five: a third of what a row of map() takes.
        return Runner(abi_name, "this kernel", (native.interpreter, str(worker)))
    interpreter = _interpreter(abi_name, native, sysroot)
    cpu = ABIS[abi_name].cpu
    folders = ":".join(str(sysroot / folder) for folder in DEFAULT_FOLDERS[cpu])
    command = (str(interpreter), "--library-path", folders, str(worker))
    return Runner(abi_name, f"this kernel, with {sysroot}", command)


def _through_qemu(abi_name: str, native: _Native, worker: Path, sysroot: Path | None) -> Runner:
    found = [
        path for name in (f"{native.qemu}-static", native.qemu) if (path := shutil.which(name))
    ]
    oldest = native.oldest_qemu
    qemu = next((path for path in found if not oldest or _major_version(path) >= oldest), None)
    if qemu is None:
        lacking = (
            f"{found[0]} is older than version {oldest}" if found else f"{native.qemu} is missing"
        )
        raise NoRunner(
            f"host {abi_name}",
            f"this machine is {host_cpu()}, and {lacking}",
            hint=native.install,
        )
    root = sysroot or Path(native.sysroot)
    _interpreter(abi_name, native, root)
    command = (qemu, "-L", str(root), str(worker))
    return Runner(abi_name, Path(qemu).name, command, emulated=True)


@cache
def _major_version(qemu: str) -> int:
    """The first number of ``qemu-arm version 7.2.15 (Debian ...)``; 0 if there is none."""
    done = subprocess.run([qemu, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r" version (\d+)", done.stdout)
    return int(found[1]) if found else 0


def _interpreter(abi_name: str, native: _Native, sysroot: Path) -> Path:
    interpreter = sysroot / native.interpreter.lstrip("/")
    if not interpreter.exists():
        raise NoRunner(
            f"host {abi_name}",
            f"the sysroot {sysroot} has no {native.interpreter}",
            hint=f"{native.install}, or give a sysroot= that has the target's C library",
        )
    return interpreter


def _through_wine(abi_name: str, worker: Path) -> Runner:
    program = wine.program()
    if program is None:
        raise NoRunner(f"host {abi_name}", "Wine is missing", hint="apt-get install wine64")
    if ABIS[abi_name].cpu == "i386" and not wine.has_32_bit():
        raise NoRunner(
            f"host {abi_name}",
            "this Wine has no 32-bit part (no i386-windows/ntdll.dll in its library folder)",
            hint="tools/setup-debian adds it without i386 packages; elsewhere install wine32, "
            "or Wine 8 or later built for WoW64",
        )
    return Runner(
        abi_name, Path(program).name, (program, str(worker)), wine.environment(), windows=True
    )
