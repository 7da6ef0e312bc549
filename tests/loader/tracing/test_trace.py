"""Real programs under their real loader, compared with the prediction."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from libferry.errors import FerryError, LibraryNotFound, NotTraceable
from libferry.loader.tracing import Traced, trace
from libferry.loader.tracing.log import Asked, events

pytestmark = [
    pytest.mark.needs("gcc", install="apt-get install gcc"),
    pytest.mark.needs("/lib64/ld-linux-x86-64.so.2", install="apt-get install libc6"),
]


def compiled(folder: Path, name: str, source: str, *options: str) -> Path:
    (folder / f"{name}.c").write_text(source)
    shared = ["-shared", "-fPIC", f"-Wl,-soname,{name}"] if ".so" in name else []
    path = folder / name
    subprocess.run(["gcc", *shared, "-o", path, folder / f"{name}.c", *options], check=True)
    return path


def library(name: str) -> str:
    """Source with an initialiser, and a function of its name."""
    return f"""
    #include <stdio.h>
    __attribute__((constructor)) static void start(void) {{ puts("{name}"); fflush(stdout); }}
    int {name}(void) {{ return 1; }}
    int everywhere(void) {{ return __LINE__; }}
    """


def assert_agrees(done: Traced) -> None:
    assert [str(one) for one in done.comparison.differences] == []
    assert done.agrees


def test_a_program_of_the_system() -> None:
    done = trace(["/bin/ls", "/"])
    assert_agrees(done)
    assert done.comparison.libraries >= 1
    assert done.comparison.bindings > 20


def test_a_host_that_loads_dozens_of_libraries_while_it_runs() -> None:
    done = trace([sys.executable, "-c", "import ssl, sqlite3, numpy"])
    assert_agrees(done)
    assert done.comparison.libraries > 10
    assert done.comparison.initialisers > 10
    assert done.comparison.bindings > 1000


def test_runpath_environment_and_two_libraries_of_one_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("first", "second", "third"):
        (tmp_path / folder).mkdir()
        compiled(tmp_path / folder, "liba.so", library("a"))
        compiled(tmp_path / folder, "libb.so", library("b"))
    os.unlink(tmp_path / "first/liba.so")
    program = compiled(
        tmp_path, "p", "int a(void), b(void); int main(void) { return a() + b() - 2; }",
        f"-L{tmp_path}/third", "-la", "-lb", f"-Wl,-rpath,{tmp_path}/third:{tmp_path}/none",
    )  # fmt: skip
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path}/first:{tmp_path}/second")
    done = trace([str(program)])
    assert_agrees(done)
    assert done.code == 0
    found = {node.name: node.path for node in done.prediction.order}
    assert found["liba.so"] == f"{tmp_path}/second/liba.so"
    assert found["libb.so"] == f"{tmp_path}/first/libb.so"


def test_preloads_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled(tmp_path, "liba.so", library("a"))
    preload = compiled(tmp_path, "libpre.so", library("pre"))
    source = "int everywhere(void); int main(void) { return everywhere() > 0 ? 0 : 1; }"
    program = compiled(
        tmp_path, "p", source, f"-L{tmp_path}", "-la", f"-Wl,-rpath,{tmp_path}"
    )  # fmt: skip
    monkeypatch.setenv("LD_PRELOAD", str(preload))
    done = trace([str(program)])
    assert_agrees(done)


@pytest.mark.parametrize("flags", ["RTLD_NOW", "RTLD_LAZY | RTLD_GLOBAL"])
def test_dlopen_of_what_is_there_not_there_and_broken(tmp_path: Path, flags: str) -> None:
    compiled(tmp_path, "libb.so", library("b"))
    compiled(
        tmp_path, "liba.so", "int b(void); int a(void) { return b(); }",
        f"-L{tmp_path}", "-lb", "-Wl,-rpath,$ORIGIN",
    )  # fmt: skip
    compiled(
        tmp_path, "libc1.so", "int b(void); int everywhere(void); "
        "int c(void) { return b() + everywhere(); }", "-Wl,-rpath,$ORIGIN",
        f"-L{tmp_path}", "-lb",
    )  # fmt: skip
    (tmp_path / "libbroken.so").write_text("this is no library" * 10)
    source = f"""
    #include <dlfcn.h>
    int main(void) {{
        void *a = dlopen("{tmp_path}/liba.so", {flags});
        void *c = dlopen("libc1.so", {flags});
        int (*f)(void) = dlsym(a, "a"), (*g)(void) = dlsym(c, "c");
        dlopen("libnowhere.so.3", RTLD_NOW);
        dlopen("{tmp_path}/libbroken.so", RTLD_NOW);
        return f() + (g() > 0) - 2;
    }}
    """
    program = compiled(tmp_path, "p", source, f"-Wl,-rpath,{tmp_path}")
    done = trace([str(program)])
    assert_agrees(done)
    assert done.code == 0
    assert done.comparison.libraries == 6  # with the C library


def test_symbolic_and_copied_references(tmp_path: Path) -> None:
    a = "int shown = 1; int everywhere(void) { return 1; } int a(void) { return everywhere(); }"
    compiled(tmp_path, "liba.so", a, "-Wl,-Bsymbolic")
    b = "int everywhere(void) { return 2; } int b(void) { return everywhere(); }"
    compiled(tmp_path, "libb.so", b)
    program = compiled(
        tmp_path, "p", "extern int shown; int a(void), b(void), everywhere(void);"
        "int main(void) { return a() + b() + shown + everywhere() - 7; }",
        "-no-pie", f"-L{tmp_path}", "-lb", "-la", f"-Wl,-rpath,{tmp_path}",
    )  # fmt: skip
    done = trace([str(program)])
    assert_agrees(done)


def test_a_wrong_prediction_is_found(tmp_path: Path) -> None:
    """The library appears after the prediction, before the program starts."""
    compiled(tmp_path, "liba.so", library("a"))
    program = compiled(
        tmp_path, "p", "int a(void); int main(void) { return a() - 1; }",
        f"-L{tmp_path}", "-la", f"-Wl,-rpath,{tmp_path}/early:{tmp_path}",
    )  # fmt: skip
    (tmp_path / "early").mkdir()
    real = subprocess.Popen.__init__

    def moved(self: object, *args: object, **kwargs: object) -> None:
        os.replace(tmp_path / "liba.so", tmp_path / "early/liba.so")
        real(self, *args, **kwargs)  # type: ignore[call-overload]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", moved)
        done = trace([str(program)])
    assert done.code == 0
    search = next(one for one in done.comparison.differences if one.what == "search")
    assert search.about == "liba.so"
    assert "early" in search.seen
    assert {"search", "initialiser"} <= {one.what for one in done.comparison.differences}


def test_the_exit_code_of_a_program_that_is_killed(tmp_path: Path) -> None:
    program = compiled(
        tmp_path, "p", "#include <signal.h>\nint main(void) { return raise(SIGKILL); }"
    )
    assert trace([str(program)]).code == -9


# ---- what cannot be traced ----


def test_what_has_no_loader_that_tells_is_refused(tmp_path: Path) -> None:
    static = compiled(tmp_path, "p", "int main(void) { return 0; }", "-static")
    with pytest.raises(NotTraceable, match="no interpreter"):
        trace([str(static)])


def test_no_such_program() -> None:
    with pytest.raises(LibraryNotFound):
        trace(["./nothing-of-that-name"])


def test_a_script_is_traced_through_its_interpreter(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/bash\nexit 3\n")
    script.chmod(0o755)
    done = trace([str(script)])
    assert done.program == Path("/bin/bash")
    assert done.code == 3
    assert_agrees(done)
    script.write_text("#!/usr/bin/env python3\n")
    with pytest.raises(FerryError, match="finds a program for"):
        trace([str(script)])


# ---- the log ----


@pytest.mark.parametrize(
    "lines",
    [
        ["  7:\tfile=liba.so [0];  needed by p [0]", "  7:\t  trying file=/x/liba.so"],
        ["  7:\tfile=liba.so;  needed by p", "  7:\t  trying file=/x/liba.so"],  # glibc 2.17
    ],
)
def test_lines_of_older_and_newer_loaders(lines: Iterable[str]) -> None:
    assert list(events(lines, 7)) == [Asked("liba.so", "p", False, ["/x/liba.so"])]


def test_any_text_is_no_error() -> None:
    lines = ["", "7:", "     7:\t", "7:\tbinding file", "x" * 200_000, "\udcff", "9:\tfile=a"]
    assert list(events(lines, 7)) == []


# ---- Windows programs ----

_ENTRY = "int __stdcall DllMain(void *a, unsigned b, void *c) { return 1; }"
_PROGRAM = """
__declspec(dllimport) int mid(void);
__declspec(dllimport) void *__stdcall LoadLibraryA(const char *name);
__declspec(dllimport) void __stdcall ExitProcess(unsigned code);
void start(void) {
    LoadLibraryA("late.dll");
    LoadLibraryA("nowhere.dll");
    ExitProcess(mid() + 6);
}
"""


def windows(folder: Path, name: str, source: str, *options: str) -> None:
    (folder / "source.c").write_text(source)
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-windows-gnu", "-O2"]
    command += ["-fno-sanitize=all", "-nostdlib", "-o", name, "source.c", *options]
    subprocess.run(command, check=True, cwd=folder)


@pytest.mark.needs("/usr/lib/wine/wine64", "/usr/bin/wine64", install="apt-get install wine64")
@pytest.mark.needs("ziglang", install="pip install ziglang")
def test_a_windows_program_and_what_it_brings(tmp_path: Path) -> None:
    shared = ("-shared", "-Wl,-e,DllMain")
    windows(tmp_path, "base.dll", f"__declspec(dllexport) int base(void) {{ return 1; }}{_ENTRY}",
            *shared)  # fmt: skip
    windows(
        tmp_path, "mid.dll", "__declspec(dllimport) int base(void);"
        f"__declspec(dllexport) int mid(void) {{ return base(); }}{_ENTRY}", *shared, "base.dll",
    )  # fmt: skip
    windows(tmp_path, "late.dll", f"__declspec(dllexport) int late(void) {{ return 1; }}{_ENTRY}",
            *shared)  # fmt: skip
    windows(tmp_path, "prog.exe", _PROGRAM, "-Wl,-e,start", "mid.dll", "-lkernel32")
    done = trace([str(tmp_path / "prog.exe")])
    assert_agrees(done)
    assert done.code == 7
    assert done.comparison.libraries == 4  # with the program
    assert done.comparison.initialisers == 3


@pytest.mark.parametrize("first_line", [b"#!/nowhere/at/all\n", b"#!\xff\0/x\n"])
def test_a_script_whose_interpreter_is_not_there(tmp_path: Path, first_line: bytes) -> None:
    script = tmp_path / "script"
    script.write_bytes(first_line)
    script.chmod(0o755)
    with pytest.raises(FerryError):
        trace([str(script)])


def test_a_pipe_is_no_program(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o755)
    with pytest.raises(FerryError, match="a pipe"):
        trace([str(tmp_path / "pipe")])
