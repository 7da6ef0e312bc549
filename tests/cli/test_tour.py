"""``libferry tour``, and the compiler behind it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import libferry
from libferry.abi import ABIS
from libferry.build import BuildError, compile_library
from libferry.build.zig import TARGETS
from tests.cli.conftest import NEEDS_ZIG, ferry

# Division of 64 bits is a helper of the compiler on 32-bit CPUs, memset the C library's.
SOURCE = """
#include <stdint.h>
#include <string.h>
#ifdef _WIN32
__declspec(dllexport)
#endif
uint64_t fraction(uint64_t a, uint64_t b) {
    char bytes[256];
    memset(bytes, (int)b, sizeof bytes);
    return a / (unsigned char)bytes[b];
}
"""


@NEEDS_ZIG
def test_it_calls_the_same_library_on_every_target_it_can() -> None:
    ran = ferry("tour")
    assert ran.code == 0, ran.err
    rows = {line.split()[0]: line for line in reversed(ran.out.splitlines()) if line.strip()}
    for abi in ABIS:
        assert "as expected" in rows[abi] or "not here" in rows[abi]
    assert "in-process" in rows["x86_64-sysv"]
    assert "wrong" not in ran.out


@NEEDS_ZIG
def test_it_shows_where_the_arguments_go() -> None:
    places = {tuple(line.split()) for line in ferry("tour").out.splitlines()}
    # double discount(double, int): the second argument takes the second register on
    # Windows, the first of its class elsewhere
    assert ("x86_64-sysv", "xmm0", "rdi", "xmm0") in places
    assert ("x86_64-windows", "xmm0", "rdx", "xmm0") in places
    assert ("aarch64-aapcs64", "v0", "x0", "v0") in places


@NEEDS_ZIG
def test_it_shows_where_a_structure_goes() -> None:
    """Where Clang looks for it: zig cc -target T -g -O2 -S tour.c"""
    lines = ferry("tour").out.splitlines()
    rows = lines[lines.index("target             account") :]
    places = dict(line.split(maxsplit=1) for line in rows[1:])
    assert places["x86_64-sysv"] == "xmm0, rdi"
    assert places["x86_64-windows"] == "its address in rdx"  # rcx has that of the result
    assert places["aarch64-aapcs64"] == "x0, x1"
    assert places["arm-hardfloat"] == "r2, r3, stack + 0"  # aligned to 8, after the result's
    assert places["riscv64-lp64d"] == "fa0, a0"
    assert places["i386-sysv"] == "stack + 4"
    assert places.keys() == ABIS.keys()


@NEEDS_ZIG
def test_a_target_that_cannot_be_hosted_is_shown_with_what_to_install() -> None:
    ran = ferry("tour", environment={"PATH": "/nonexistent"})
    assert ran.code == 0, ran.err
    assert any(line.split() == ["aarch64-aapcs64", "not", "here"] for line in ran.out.splitlines())
    assert "apt-get install qemu-user-static libc6-arm64-cross" in ran.out


def test_without_the_compiler_it_says_how_to_get_it() -> None:
    program = (
        "import sys; sys.modules['ziglang'] = None; "
        "from libferry.cli import main; sys.exit(main(['tour']))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert ran.stderr == (
        "error: find a compiler: the package ziglang is not installed\n"
        "hint: pip install 'libferry[build]'\n"
    )


def test_there_is_a_compiler_target_for_every_abi() -> None:
    assert TARGETS.keys() == ABIS.keys()


@NEEDS_ZIG
@pytest.mark.parametrize("abi", TARGETS)
def test_a_library_is_for_its_abi_and_alone_in_its_folder(abi: str, tmp_path: Path) -> None:
    made = compile_library(SOURCE, abi, tmp_path / "new", "fraction")
    assert list((tmp_path / "new").iterdir()) == [made]
    binary = libferry.inspect(made)
    # zig's linker exports two names of its own from a Mach-O library
    exports = {export.name for export in binary.exports} - {"_mh_dylib_header", "__dso_handle"}
    assert (binary.cpu, exports) == (ABIS[abi].cpu, {"fraction"})
    assert binary.os in ABIS[abi].os


@NEEDS_ZIG
@pytest.mark.parametrize("abi", ["x86_64-sysv", "i386-windows"])
def test_what_the_compiler_says_is_the_error(abi: str, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"wrong\.c:1:22: error: use of undeclared") as caught:
        compile_library("int f(void) { return x; }", abi, tmp_path, "wrong")
    assert str(tmp_path) not in str(caught.value)
    assert not list(tmp_path.iterdir())
