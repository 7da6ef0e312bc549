"""``zig cc``: one compiler with the headers and the C library of every target.

Two things to know:

* ``-target x86_64-linux-gnu.2.17`` links against the symbol versions of glibc 2.17
  (CentOS 7), so that what is compiled here loads on every glibc since 2012.
* For Windows, zig would build mingw's C runtime from its source first, a minute for
  each target. A DLL needs little of it: an entry point, which we compile in; the C
  library, for which it is linked with ``ucrtbase.dll``, a part of Windows since
  version 10 and of Wine; and the compiler's own helpers, such as 64-bit division on
  a 32-bit CPU, which ``compiler_rt`` has. What remains missing is what mingw adds to
  Windows: ``printf`` and its family, C++, and thread-local variables.

The first library for a target takes some three seconds, because zig makes its
stubs of the target's C library then; the next ones take a tenth of that.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from libferry.errors import BuildError

COMMON = ("-std=c11", "-O2", "-g0", "-s", "-shared", "-fPIC")

# What Windows calls when it loads or unloads a DLL; 1 means that all is well.
_DLL_ENTRY = """
int __stdcall DllMainCRTStartup(void *dll, unsigned reason, void *reserved) {
    (void)dll, (void)reason, (void)reserved;
    return 1;
}
"""
_DLL_OPTIONS = ("-nostdlib", "-lucrtbase", "-lcompiler_rt", "-lkernel32")
_DLL_HEADERS = "lib/libc/include/any-windows-any"


@dataclass(frozen=True)
class _Target:
    """What zig calls a target, and how its libraries' names end."""

    name: str
    suffix: str
    options: tuple[str, ...] = ()

    @property
    def windows(self) -> bool:
        return self.suffix == ".dll"


TARGETS = {
    "x86_64-sysv": _Target("x86_64-linux-gnu.2.17", ".so"),
    "i386-sysv": _Target("x86-linux-gnu.2.17", ".so"),
    "aarch64-aapcs64": _Target("aarch64-linux-gnu.2.17", ".so"),
    # mingw's long double has 80 bits on x86; Windows' own, and so libferry's, is a double
    "x86_64-windows": _Target("x86_64-windows-gnu", ".dll", ("-mlong-double-64",)),
    "i386-windows": _Target("x86-windows-gnu", ".dll", ("-mlong-double-64",)),
    "aarch64-apple": _Target("aarch64-macos.11.0", ".dylib"),
    "aarch64-windows": _Target("aarch64-windows-gnu", ".dll"),
    "arm-hardfloat": _Target("arm-linux-gnueabihf.2.17", ".so"),
    # the first versions of glibc that have these
    "riscv64-lp64d": _Target("riscv64-linux-gnu.2.27", ".so"),
    "loongarch64-lp64d": _Target("loongarch64-linux-gnu.2.36", ".so"),
}

TIMEOUT = 300  # seconds; its first run compiles parts of the C library


def compile_library(source: str, abi: str, folder: Path, name: str) -> Path:
    """Compile C11 source to ``folder/name.so`` or ``.dll``.

    Args:
        source: the text of one C file. For Windows, mark what the library exports
            with ``__declspec(dllexport)``.
        abi: a key of ``libferry.abi.ABIS``.
        folder: where the library goes; made if there is none.
        name: the file's name without its suffix.

    Raises:
        BuildError: there is no compiler, none for that ABI, or the source is wrong.
    """
    target = TARGETS.get(abi)
    if target is None:
        raise BuildError(
            f"compile {name} for {abi}",
            "there is no compiler target for it",
            hint=f"targets exist for {', '.join(TARGETS)}",
        )
    home = zig_home()
    result = folder / (name + target.suffix)
    # In a folder of its own: the linker leaves import libraries and the like there.
    with tempfile.TemporaryDirectory(prefix="libferry-build-") as scratch:
        place = Path(scratch)
        source_file = place / f"{name}.c"
        source_file.write_text(source, encoding="utf-8")
        command: list[str | Path] = [home / "zig", "cc", "-target", target.name, *COMMON]
        command += target.options
        command += ["-o", place / result.name, source_file]
        if target.windows:
            entry = place / "dll_entry.c"
            entry.write_text(_DLL_ENTRY, encoding="utf-8")
            command += [entry, "-isystem", home / _DLL_HEADERS, *_DLL_OPTIONS]
        _run(command, place, f"compile {name} for {abi}")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.move(place / result.name, result)
    return result


def zig_home() -> Path:
    """The folder of the installed ``ziglang`` package.

    Raises:
        BuildError: it is not installed.
    """
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        raise BuildError(
            "find a compiler",
            "the package ziglang is not installed",
            hint="pip install 'libferry[build]'",
        )
    return Path(spec.origin).parent


def _run(command: list[str | Path], folder: Path, tried: str) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise BuildError(
            tried,
            f"the compiler had not finished after {TIMEOUT} s",
            hint="zig needs a cache it can write to: set ZIG_GLOBAL_CACHE_DIR to such a folder",
        ) from None
    except OSError as error:
        raise BuildError(
            tried,
            f"{command[0]} cannot be started: {error.strerror}",
            hint="pip install --force-reinstall ziglang",
        ) from None
    if done.returncode != 0:
        words = done.stderr.replace(f"{folder}/", "").strip()
        raise BuildError(
            tried,
            words or f"the compiler ended with {done.returncode} and said nothing",
            hint="correct the source where the compiler points",
        )
