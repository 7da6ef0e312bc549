"""Builds what the benchmarks call, with the one compiler that has every target.

Everything goes to `build/bench` and is built again only when its source is newer.
The cffi extension is the exception to the compiler: cffi's users build theirs with
the compiler their Python was built with, so ours is too where there is one.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parent
OUTPUT = SOURCES.parent / "build" / "bench"

# name of the file: how to build it from library.c
LIBRARIES = {
    "x86-64.so": "-target x86_64-linux-gnu.2.17 -shared",
    "i386.so": "-target x86-linux-gnu.2.17 -shared",
    "aarch64.so": "-target aarch64-linux-gnu.2.17 -shared",
    "x86-64.dll": "-target x86_64-windows-gnu -shared -nostdlib",
    "i386.dll": "-target x86-windows-gnu -shared -nostdlib",
}


class NotAvailableError(Exception):
    """A contender cannot run here; the message says what to install."""


def optional(module: str, install: str) -> Any:
    """Import a peer that may be missing, and whose types nobody here can rely on."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise NotAvailableError(install) from error


def library(name: str) -> Path:
    """Give the library of `library.c` for one target."""
    return _compile(SOURCES / "library.c", OUTPUT / name, LIBRARIES[name])


def limit_program() -> Path:
    """Give the program of `limit.c`: a worker, and a host in C."""
    return _compile(SOURCES / "limit.c", OUTPUT / "limit", "")


def limit_module() -> Any:
    """Give the Python extension of `limit.c`: a host in Python."""
    include = _python_headers()
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    path = _compile(
        SOURCES / "limit.c",
        OUTPUT / f"limit{suffix}",
        f"-shared -DLIMIT_MODULE -I{shlex.quote(include)}",
    )
    return _import_extension("limit", path)


def cffi_module() -> tuple[Any, str]:
    """Give cffi's compiled extension for `add`, and the compiler it was built with."""
    cffi = optional("cffi", "pip install cffi setuptools")
    optional("setuptools", "pip install cffi setuptools")
    _python_headers()
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    if shutil.which(shlex.split(compiler)[0]) is None:
        compiler = f"{shlex.quote(sys.executable)} -m ziglang cc"
        os.environ["CC"] = os.environ["LDSHARED"] = compiler
        os.environ["LDSHARED"] += " -shared"
    ffi = cffi.FFI()
    ffi.cdef("int add(int a, int b);")
    ffi.set_source(
        "bench_cffi", "int add(int a, int b);", extra_objects=[str(library("x86-64.so"))]
    )
    path = ffi.compile(tmpdir=str(OUTPUT))
    return _import_extension("bench_cffi", Path(path)), _version_of(compiler)


def _python_headers() -> str:
    include = sysconfig.get_path("include")
    if not Path(include, "Python.h").exists():
        raise NotAvailableError("apt-get install python3-dev")
    return include


def _version_of(compiler: str) -> str:
    shown = subprocess.run(
        [*shlex.split(compiler), "--version"], capture_output=True, text=True, check=False
    )
    return shown.stdout.partition("\n")[0]


def _compile(source: Path, output: Path, options: str) -> Path:
    if output.exists() and output.stat().st_mtime > source.stat().st_mtime:
        return output
    optional("ziglang", "pip install ziglang==0.17.0")
    output.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "ziglang", "cc", "-O2", "-s", *shlex.split(options)]
    subprocess.run([*command, "-o", str(output), str(source)], check=True)
    return output


def _import_extension(name: str, path: Path) -> Any:
    loader = importlib.machinery.ExtensionFileLoader(name, str(path))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module
