"""Real files for the tests: built here for many targets, or Debian's own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

Build = Callable[..., Path]

# One name of each kind: function, weak function, data, constant, thread-local, hidden.
SOURCE = """
    int answer(int x) { return x; }
    __attribute__((weak)) int maybe(void) { return 2; }
    int counter = 7;
    const int limit = 5;
    __thread int mine = 3;
    int touch(void) { return mine; }
    __attribute__((visibility("hidden"))) int secret(void) { return 3; }
    static int own(void) { return 4; }
    int (*table[])(void) = { own, secret };
"""

PE_SOURCE = """
    __declspec(dllexport) int answer(int x) { return x; }
    __declspec(dllexport) int counter = 7;
    __declspec(dllexport) const int limit = 5;
    int DllMainCRTStartup(void *a, unsigned b, void *c) { return 1; }
"""


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Compile C for any target: ``build("s390x-linux-gnu", SOURCE, *flags)``."""
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("needs the compiler in ziglang: pip install ziglang")
    directory = tmp_path_factory.mktemp("built")

    @cache
    def compile_for(
        target: str, source: str, *flags: str, name: str = "libsample.so", shared: bool = True
    ) -> Path:
        place = directory / f"{len(list(directory.iterdir()))}-{target}"
        place.mkdir()
        (place / "sample.c").write_text(source)
        command = [sys.executable, "-m", "ziglang", "cc", "-target", target, "-fno-sanitize=all"]
        command += [*(["-shared"] if shared else []), "-o", name, "sample.c", *flags]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return place / name

    return compile_for


@pytest.fixture(scope="session")
def small_elf(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a few kilobytes of ELF with versions and both hash tables."""
    versions = tmp_path_factory.mktemp("versions") / "versions.map"
    versions.write_text("SAMPLE_1 { answer; counter; }; SAMPLE_2 { maybe; mine; } SAMPLE_1;")
    return build(
        "x86_64-linux-gnu",
        SOURCE,
        "-nostdlib",
        "-s",
        f"-Wl,--version-script={versions}",
        "-Wl,-soname,libsample.so.1,-rpath,$ORIGIN/a:/b,--hash-style=both",
    )


@pytest.fixture(scope="session")
def small_pe(build: Build) -> Path:
    return build("x86_64-windows-gnu", PE_SOURCE, "-nostdlib", "-s", name="sample.dll")


@pytest.fixture(scope="session")
def small_macho(build: Build) -> Path:
    return build(
        "x86_64-macos",
        SOURCE,
        "-install_name",
        "@rpath/libsample.dylib",
        "-Wl,-rpath,@loader_path/../lib",
        name="libsample.dylib",
    )
