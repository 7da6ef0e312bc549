"""Builds what the benchmarks call, with the one compiler that has every target.

Everything goes to `build/bench` and is built again only when its source is newer.
The cffi extension is the exception to the compiler: cffi's users build theirs with
the compiler their Python was built with, so ours is too where there is one.
"""

from __future__ import annotations

import functools
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

# what is in it, for all who call it
DECLARATIONS = """
struct point { int x, y; };
int add(int a, int b);
double add_doubles(double a, double b);
double scale(int count, double value);
int sum(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j, int k, int l);
struct point mirror(struct point p);
int apply(int (*f)(int), int value, int times);
unsigned work(unsigned value, int steps);
"""


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


def allocation_counter() -> Path:
    """Give the library of `allocations.c`, for this CPU."""
    options = f"-target {os.uname().machine}-linux-gnu.2.17 -shared -fPIC"
    return _compile(SOURCES / "allocations.c", OUTPUT / "allocations.so", options)


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


@functools.cache
def cffi_module() -> tuple[Any, str]:
    """Give cffi's compiled extension for the library, and the compiler it was built with.

    Python's side of callbacks is the function `plus`, to be defined with `def_extern`.
    """
    cffi = optional("cffi", "pip install cffi setuptools")
    optional("setuptools", "pip install cffi setuptools")
    _python_headers()
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    if shutil.which(shlex.split(compiler)[0]) is None:
        compiler = f"{shlex.quote(sys.executable)} -m ziglang cc"
        os.environ["CC"] = os.environ["LDSHARED"] = compiler
        os.environ["LDSHARED"] += " -shared"
    ffi = cffi.FFI()
    ffi.cdef(DECLARATIONS + 'extern "Python" int plus(int value);')
    ffi.set_source("bench_cffi", DECLARATIONS, extra_objects=[str(library("x86-64.so"))])
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
