"""Libraries that a real loader refuses: the error alone says why."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import libferry as ferry
from libferry.build import compile_library
from libferry.runtime import reasons

NEEDS_ZIG = pytest.mark.needs("ziglang", install="pip install 'libferry[build]'")
NEEDS_I386 = pytest.mark.needs("/lib/ld-linux.so.2", install="apt-get install libc6-i386")
NEEDS_QEMU = pytest.mark.needs("qemu-aarch64-static", install="apt-get install qemu-user-static")
NEEDS_ARM64 = pytest.mark.needs(
    "/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1", install="apt-get install libc6-arm64-cross"
)
NEEDS_WINE = pytest.mark.needs(
    "/usr/lib/wine/wine64", "/usr/bin/wine64", install="apt-get install wine64"
)

pytestmark = NEEDS_ZIG

EVERYWHERE = [
    pytest.param("x86_64-linux-gnu.2.17", "in-process"),
    pytest.param("x86_64-linux-gnu.2.17", "worker"),
    pytest.param("x86-linux-gnu.2.17", "auto", marks=NEEDS_I386),
    pytest.param("aarch64-linux-gnu.2.17", "auto", marks=[NEEDS_QEMU, NEEDS_ARM64]),
]


def compiled(folder: Path, target: str, name: str, source: str, *options: str) -> Path:
    (folder / "source.c").write_text(source)
    command = [sys.executable, "-m", "ziglang", "cc", "-target", target, "-shared", "-fPIC", "-O2"]
    command += [f"-Wl,-soname,{name}", "-o", name, "source.c", *options]
    subprocess.run(command, check=True, cwd=folder)
    return folder / name


def with_a_gap(folder: Path, target: str) -> Path:
    """libtop needs libmid, which needs libgone, which is gone."""
    compiled(folder, target, "libgone.so.1", "int base(void) { return 1; }")
    compiled(
        folder, target, "libmid.so", "int base(void); int mid(void) { return base(); }",
        "libgone.so.1", "-Wl,-rpath,/opt/nowhere:$ORIGIN/lib",
    )  # fmt: skip
    top = compiled(
        folder, target, "libtop.so", "int mid(void); int top(void) { return mid(); }",
        "libmid.so", "-Wl,-rpath,$ORIGIN",
    )  # fmt: skip
    (folder / "libgone.so.1").unlink()
    return top


def refused(path: Path, isolation: str = "auto") -> ferry.LoadError:
    with pytest.raises(ferry.LoadError) as caught:
        ferry.load(path, isolation=isolation)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize(("target", "isolation"), EVERYWHERE)
def test_what_is_missing_who_needs_it_and_where_was_looked(
    tmp_path: Path, target: str, isolation: str
) -> None:
    error = refused(with_a_gap(tmp_path, target), isolation)
    assert "libgone.so.1: cannot open shared object file" in str(error)  # the loader's words
    assert f"libgone.so.1 is needed by {tmp_path}/libmid.so" in str(error)
    assert f"RUNPATH of {tmp_path}/libmid.so (/opt/nowhere, {tmp_path}/lib)" in str(error)
    assert "default path (/lib" in str(error)
    assert f"libferry check {tmp_path}/libtop.so" in error.hint
    assert error.resolution is not None
    assert error.resolution.loads is False
    assert [one.id for one in error.resolution.problems] == ["missing-library"]
    assert "missing-library" in [finding.rule for finding in error.findings]


@pytest.mark.parametrize(("target", "isolation"), EVERYWHERE)
def test_a_symbol_that_nobody_has(tmp_path: Path, target: str, isolation: str) -> None:
    source = "int nobody(void); int (*pointer)(void) = nobody;"
    library = compiled(tmp_path, target, "libx.so", source, "-Wl,--allow-shlib-undefined")
    error = refused(library, isolation)
    assert "undefined symbol: nobody" in str(error)
    assert "libx.so needs the symbol, and none of these has it" in str(error)
    assert "missing-symbol" in [finding.rule for finding in error.findings]


def test_a_symbol_version_that_the_library_here_is_too_old_for(tmp_path: Path) -> None:
    target = "x86_64-linux-gnu.2.17"
    for versions in ("A_1 { a; }; A_2 { b; };", "A_1 { a; b; };"):
        (tmp_path / "versions").write_text(versions)
        source = "int a(void) { return 1; } int b(void) { return 2; }"
        compiled(tmp_path, target, "liba.so.1", source, "-Wl,--version-script=versions")
        if "A_2" in versions:
            library = compiled(
                tmp_path, target, "libx.so", "int b(void); int x(void) { return b(); }",
                "liba.so.1", "-Wl,-rpath,$ORIGIN",
            )  # fmt: skip
    error = refused(library)
    assert "version `A_2' not found" in str(error)
    assert error.resolution is not None
    assert "missing-version" in [one.id for one in error.resolution.problems]


@NEEDS_WINE
def test_windows_error_126_names_the_dll_and_the_folders(tmp_path: Path) -> None:
    error = refused(windows_library(tmp_path, "x86_64-windows", gone=True))
    assert "126" in str(error)
    assert r"base.dll is needed by C:\app\top.dll" in str(error)
    assert r"system directory (C:\Windows\System32)" in str(error)
    assert "missing-library" in [finding.rule for finding in error.findings]


@NEEDS_WINE
@pytest.mark.needs(
    "/usr/lib/x86_64-linux-gnu/wine/i386-windows/ntdll.dll", install="tools/setup-debian"
)
def test_a_32_bit_dll_is_explained_too(tmp_path: Path) -> None:
    error = refused(windows_library(tmp_path, "i386-windows", gone=True))
    assert r"base.dll is needed by C:\app\top.dll" in str(error)


def windows_library(folder: Path, abi: str, *, gone: bool) -> Path:
    base = compile_library("int base(void) { return 1; }", abi, folder, "base")
    source = "__declspec(dllimport) int base(void); int top(void) { return base(); }"
    (folder / "top.c").write_text(source)
    target = "x86_64-windows-gnu" if abi.startswith("x86_64") else "x86-windows-gnu"
    command = [sys.executable, "-m", "ziglang", "cc", "-target", target, "-shared", "-nostdlib"]
    command += ["-Wl,-e,top", "-Wl,--export-all-symbols", "-o", "top.dll", "top.c", str(base)]
    subprocess.run(command, check=True, cwd=folder)
    if gone:
        base.unlink()
    return folder / "top.dll"


# ---- what it must not do ----


def test_a_mistake_in_the_explanation_does_not_hide_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = with_a_gap(tmp_path, "x86_64-linux-gnu.2.17")

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(reasons, "_resolve", broken)
    error = refused(library)
    assert "libgone.so.1: cannot open shared object file" in str(error)
    assert error.resolution is None
    assert error.findings == ()


def test_a_load_that_succeeds_imports_no_engine_and_no_audit() -> None:
    code = (
        "import sys, libferry as ferry\n"
        "ferry.load('libz.so.1')\n"
        "rooms = ('libferry.audit', 'libferry.target', 'libferry.loader.glibc.starting')\n"
        "print([name for name in sys.modules if name.startswith(rooms)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_error_as_data_has_every_place(tmp_path: Path) -> None:
    error = refused(with_a_gap(tmp_path, "x86_64-linux-gnu.2.17"))
    problems: Any = error.as_dict()["problems"]
    (problem,) = problems
    assert problem["subject"] == "libgone.so.1"
    assert f"RUNPATH of {tmp_path}/libmid.so" in {step["source"] for step in problem["tried"]}


def test_an_error_of_another_kind_has_nothing_to_add() -> None:
    error = ferry.LoadError("load x", "it is a program", hint="give a library")
    assert error.resolution is None
    assert error.findings == ()
    assert pickle.dumps(str(error))
