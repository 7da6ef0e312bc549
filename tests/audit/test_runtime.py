"""What goes wrong once it is loaded: thread-local storage, Go, and C runtimes of Windows."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from libferry.audit import Settings
from tests.audit.compiling import GCC, GO, ZIG, build, cross, findings, rules, the


def with_tls(size: int) -> str:
    return f"__thread char block[{size}]; char *f(int i) {{ return &block[i]; }}"


@GCC
def test_a_large_block_of_initial_exec_is_a_warning_and_a_small_one_a_note(tmp_path: Path) -> None:
    model = "-ftls-model=initial-exec"
    large = the("initial-exec-tls", findings(build(tmp_path, "a.so", model, code=with_tls(4096))))
    small = the("initial-exec-tls", findings(build(tmp_path, "b.so", model, code=with_tls(64))))
    assert (large.severity, small.severity) == ("warning", "note")


@GCC
def test_the_loader_refuses_the_large_one(tmp_path: Path) -> None:
    made = build(tmp_path, "a.so", "-ftls-model=initial-exec", code=with_tls(1 << 16))
    with pytest.raises(OSError, match="static TLS block"):
        ctypes.CDLL(str(made))
    assert "initial-exec-tls" in rules(made)


@GCC
def test_dynamic_thread_local_storage_is_fine(tmp_path: Path) -> None:
    assert "initial-exec-tls" not in rules(build(tmp_path, "a.so", code=with_tls(4096)))


@GCC
def test_an_alignment_beyond_a_page_is_found(tmp_path: Path) -> None:
    code = "_Thread_local _Alignas({}) char block[64]; char *f(void) {{ return block; }}"
    assert "tls-alignment" in rules(build(tmp_path, "a.so", code=code.format(8192)))
    assert "tls-alignment" not in rules(build(tmp_path, "b.so", code=code.format(64)))


@pytest.fixture(scope="module")
def go_libraries(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("go")
    (folder / "go.mod").write_text("module notice\n\ngo 1.20\n")
    source = 'package main\n\nimport "C"\n\n//export Notice\nfunc Notice() {}\n\nfunc main() {}\n'
    (folder / "main.go").write_text(source)
    command = ["go", "build", "-buildmode=c-shared", "-o"]
    environment = os.environ | {"CGO_ENABLED": "1", "GOFLAGS": "-mod=mod"}
    for name in ("libone.so", "libtwo.so"):
        subprocess.run([*command, name, "."], cwd=folder, env=environment, check=True)
    return folder / "libone.so", folder / "libtwo.so"


@GO
@GCC
def test_two_go_runtimes_in_one_process_are_found(go_libraries: tuple[Path, Path]) -> None:
    one, two = go_libraries
    alone = rules(one, Settings(together=(str(one),)))
    both = findings(one, Settings(together=(str(one), str(two))))
    assert "two-go-runtimes" not in alone
    assert the("two-go-runtimes", both).subject == "libtwo.so"


@GO
@GCC
def test_gos_own_symbols_are_leaked(go_libraries: tuple[Path, Path]) -> None:
    assert "leaked-runtime" in rules(go_libraries[0])


@GO
@GCC
def test_a_go_library_does_not_start_on_musl(go_libraries: tuple[Path, Path]) -> None:
    assert "go-on-musl" in rules(go_libraries[0], target="alpine-3.20-amd64")
    assert "go-on-musl" not in rules(go_libraries[0], target="debian-12-amd64")


WINDOWS = "x86_64-windows-gnu"


def windows_library(folder: Path, name: str, *imported: str) -> Path:
    """A DLL that asks for others, by import libraries made for it."""
    libraries = []
    for number, dll in enumerate(imported):
        definition = folder / f"{dll}.def"
        definition.write_text(f"LIBRARY {dll}\nEXPORTS\nborrowed{number}\n")
        library = folder / f"lib{dll}.a"
        tool = [sys.executable, "-m", "ziglang", "dlltool", "-m", "i386:x86-64"]
        subprocess.run([*tool, "-d", str(definition), "-l", str(library)], check=True)
        libraries.append(str(library))
    code = "\n".join(
        f"__declspec(dllimport) int borrowed{n}(void);\n"
        f"__declspec(dllexport) int f{n}(void) {{ return borrowed{n}(); }}"
        for n in range(len(imported))
    )
    options = ("-nostdlib", "-Wl,-e,f0", *libraries)
    return cross(folder, name, WINDOWS, *options, code=code)


@ZIG
def test_two_c_runtimes_in_one_dll_are_found(tmp_path: Path) -> None:
    mixed = windows_library(tmp_path, "mixed.dll", "msvcrt.dll", "ucrtbase.dll")
    assert the("mixed-c-runtimes", findings(mixed)).evidence["runtimes"] == ["msvcrt", "ucrt"]
    pure = windows_library(tmp_path, "pure.dll", "ucrtbase.dll", "api-ms-win-crt-heap-l1-1-0.dll")
    assert "mixed-c-runtimes" not in rules(pure)


@ZIG
def test_two_c_runtimes_in_one_process_are_found(tmp_path: Path) -> None:
    old = windows_library(tmp_path, "old.dll", "msvcr100.dll")
    new = windows_library(tmp_path, "new.dll", "ucrtbase.dll")
    found = findings(new, Settings(together=(str(old), str(new))))
    assert the("mixed-c-runtimes", found).subject == "old.dll"


@ZIG
@pytest.mark.parametrize("name", ["ucrtbased.dll", "VCRUNTIME140D.dll", "msvcr100d.dll"])
def test_a_debugging_runtime_is_found(name: str, tmp_path: Path) -> None:
    assert "debug-c-runtime" in rules(windows_library(tmp_path, "bad.dll", name))


@ZIG
@pytest.mark.parametrize("name", ["ucrtbase.dll", "VCRUNTIME140.dll", "libstd.dll"])
def test_others_whose_names_end_like_it_are_not(name: str, tmp_path: Path) -> None:
    assert "debug-c-runtime" not in rules(windows_library(tmp_path, "good.dll", name))
