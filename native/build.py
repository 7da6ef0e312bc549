"""Compile the C core with ``zig cc``: the extension and one worker per target.

zig brings a C compiler, a linker and the C library's headers and stubs for every
target in one package, so that one machine builds for all of them and a user's
machine needs no compiler at all. Two things to know:

* ``-target x86_64-linux-gnu.2.17`` links against the symbol versions of glibc
  2.17 (CentOS 7): what is built here runs on every glibc since 2012.
* zig would build mingw's C runtime from source, a minute per target, for the
  Windows workers. They need none (native/worker/worker.h says why), so only the
  headers are taken from it.

Used by the packaging hook (hatch_build.py), and by hand::

    python native/build.py            # into src/libferry, for an editable install
    python native/build.py --sanitize # with ASan and UBSan, into build/sanitized
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

NATIVE = Path(__file__).resolve().parent
ROOT = NATIVE.parent
GLIBC = "2.17"

WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wstrict-prototypes", "-Wundef"]
LIBRARIES = ["-ldl", "-lm"]
COMMON = ["-std=c11", "-O2", "-g0", *WARNINGS, f"-I{NATIVE}"]


@dataclass(frozen=True)
class Worker:
    """One worker program: its ABI's name, zig's name of the target, its sources."""

    abi: str
    target: str
    platform: str
    arch: str
    suffix: str = ""
    options: tuple[str, ...] = ()

    def sources(self) -> list[Path]:
        """What it is compiled from."""
        parts = ["main", "lane", "callback", "services", "fault", *PLATFORMS[self.platform]]
        files = [NATIVE / "worker" / f"{part}.c" for part in parts]
        files += [NATIVE / "entry.c", NATIVE / "map.c"]
        if self.platform == "linux":
            files.append(NATIVE / "placement.c")
        return [*files, *arch_sources(self.arch)]


def arch_sources(name: str) -> list[Path]:
    """The two ways between C and a frame."""
    return [NATIVE / "arch" / f"{name}.S", NATIVE / "arch" / f"{name}_entry.S"]


PLATFORMS = {
    "linux": ("posix", "fault_posix", "posix_services", "linux"),
    "macos": ("posix", "fault_posix", "posix_services", "macos"),
    "windows": ("windows", "fault_windows"),
}

# Each for the oldest CPU that its system runs on. zig's Arm has Neon and all 32 registers
# of VFPv3; Debian and its relatives ask for neither. RISC-V and LoongArch have no glibc
# as old as 2.17: theirs is the first that zig can link against.
WORKERS = (
    Worker(
        "x86_64-sysv",
        f"x86_64-linux-gnu.{GLIBC}",
        "linux",
        "x86_64_sysv",
        options=("-fPIE", "-pie"),  # to lie beside the libraries: runtime/runner.py
    ),
    Worker("i386-sysv", f"x86-linux-gnu.{GLIBC}", "linux", "i386"),
    Worker("aarch64-aapcs64", f"aarch64-linux-gnu.{GLIBC}", "linux", "aarch64"),
    Worker(
        "arm-hardfloat",
        f"arm-linux-gnueabihf.{GLIBC}",
        "linux",
        "arm_hardfloat",
        options=("-mcpu=baseline-neon-d32",),
    ),
    Worker("riscv64-lp64d", "riscv64-linux-gnu.2.27", "linux", "riscv64_lp64d"),
    Worker("loongarch64-lp64d", "loongarch64-linux-gnu.2.36", "linux", "loongarch64_lp64d"),
    Worker("x86_64-windows", "x86_64-windows-gnu", "windows", "x86_64_windows", ".exe"),
    Worker("i386-windows", "x86-windows-gnu", "windows", "i386", ".exe"),
    Worker("aarch64-windows", "aarch64-windows-gnu", "windows", "aarch64", ".exe"),
    Worker("aarch64-apple", "aarch64-macos.11.0", "macos", "aarch64"),
)

# What of arch/ is linked into the extension, by the host's own CPU.
HOST_ARCH = {"x86_64": "x86_64_sysv", "aarch64": "aarch64"}


def zig_home() -> Path:
    """Find the installed ``ziglang`` package."""
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        raise SystemExit("native/build.py: ziglang is missing: pip install ziglang")
    return Path(spec.origin).parent


def run(command: Sequence[str | Path]) -> None:
    """Run a compiler; on failure show its words and stop."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.stderr.write(" ".join(map(str, command)) + "\n" + done.stderr)
        raise SystemExit(f"native/build.py: {command[0]} failed ({done.returncode})")


def zig_cc(*arguments: str | Path) -> None:
    """Run ``zig cc``."""
    run([zig_home() / "zig", "cc", *arguments])


def build_worker(worker: Worker, folder: Path) -> Path:
    """Compile one worker into ``folder``; its file is named by its ABI."""
    output = folder / f"worker-{worker.abi}{worker.suffix}"
    link: list[str | Path] = ["-pthread", *LIBRARIES]
    if worker.platform == "windows":
        include = zig_home() / "lib/libc/include/any-windows-any"
        link = ["-nostdlib", "-isystem", include, "-lkernel32", "-Wl,-e,start", "-fno-builtin"]
        link += ["-Wl,--subsystem,console"]
    options = [*COMMON, *worker.options, *link, "-s"]
    zig_cc("-target", worker.target, *options, *worker.sources(), "-o", output)
    output.with_suffix(".pdb").unlink(missing_ok=True)
    return output


def extension_parts() -> tuple[str, list[Path], list[str | Path]]:
    """The running machine's CPU, the extension's sources, and options for any compiler."""
    machine = sysconfig.get_platform().rsplit("-", 1)[-1]
    if machine not in HOST_ARCH or not sys.platform.startswith("linux"):
        raise SystemExit(
            f"native/build.py: no in-process support for {sys.platform} on {machine} yet; "
            f"supported: Linux on {', '.join(HOST_ARCH)}"
        )
    sources = [
        *sorted((NATIVE / "extension").glob("*.c")),
        NATIVE / "worker" / "services.c",
        NATIVE / "worker" / "posix_services.c",
        NATIVE / "placement.c",
        NATIVE / "entry.c",
        NATIVE / "map.c",
        *arch_sources(HOST_ARCH[machine]),
    ]
    options: list[str | Path] = ["-shared", "-fPIC", "-fvisibility=hidden", "-pthread"]
    return machine, sources, [*options, "-isystem", sysconfig.get_path("include")]


def extension_file(folder: Path) -> Path:
    """Where the extension for the running Python goes."""
    return folder / f"_core{sysconfig.get_config_var('EXT_SUFFIX')}"


def build_extension(folder: Path) -> Path:
    """Compile the extension for the running Python into ``folder``."""
    machine, sources, options = extension_parts()
    output = extension_file(folder)
    target = f"{machine}-linux-gnu.{GLIBC}"
    # -flto: the path of a call goes through several files
    zig_cc("-target", target, *COMMON, *options, "-s", "-flto", *sources, *LIBRARIES, "-o", output)
    return output


def build_sanitized(package: Path) -> None:
    """Make a second package with the extension and the native worker sanitized.

    With the system's compiler: zig brings no ASan runtime. It also sees to it that
    the core compiles without a warning in a second compiler.
    """
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree(ROOT / "src" / "libferry", package, ignore=shutil.ignore_patterns("_core*.so"))
    machine, sources, options = extension_parts()
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g", "-O1"]
    compiler = [os.environ.get("CC", "gcc"), *COMMON, *sanitize, "-fno-omit-frame-pointer"]
    worker = next(w for w in WORKERS if w.arch == HOST_ARCH[machine])
    output = package / "runtime" / "workers" / f"worker-{worker.abi}"
    run([*compiler, *options, *sources, *LIBRARIES, "-o", extension_file(package)])
    run([*compiler, "-pthread", *worker.sources(), *LIBRARIES, "-o", output])


def build(package: Path) -> list[Path]:
    """Build everything into the package folder ``package``; give what was made."""
    workers = package / "runtime" / "workers"
    workers.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor() as pool:
        made = [pool.submit(build_worker, worker, workers) for worker in WORKERS]
        extension = pool.submit(build_extension, package)
        return [extension.result(), *(one.result() for one in made)]


def main() -> None:
    """Build from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sanitize", action="store_true", help="ASan and UBSan, build/sanitized")
    if parser.parse_args().sanitize:
        build_sanitized(ROOT / "build" / "sanitized" / "libferry")
        return
    for made in build(ROOT / "src" / "libferry"):
        print(made.relative_to(ROOT))


if __name__ == "__main__":
    main()
