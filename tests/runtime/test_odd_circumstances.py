"""What users met that the other stories do not tell."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import libferry as ferry
from libferry.build import compile_library
from libferry.runtime import worker as workers
from tests.processes import children

from .conftest import HEADER, Compile
from .test_life import ended

WINE = pytest.mark.needs("/usr/lib/wine/wine64", install="apt-get install wine64")


def test_a_buffer_as_text_ends_where_it_ends(worker: ferry.Library) -> None:
    assert worker.length("a longer text before") == 20
    assert worker.length(bytearray(b"abc")) == 3
    assert worker.length(memoryview(b"abcdef")[:2]) == 2


def test_python_objects_are_no_memory_for_c(lib: ferry.Library) -> None:
    with pytest.raises(ferry.ArgumentTypeError, match="Python objects"):
        lib.fill(np.array([object()], dtype=object), 1, 8)


@pytest.mark.parametrize("isolation", ["in-process", "worker"])
def test_a_function_keeps_its_library(library_file: Path, isolation: str) -> None:
    assert ferry.load(library_file, header=HEADER, isolation=isolation).add(1, 2) == 3  # type: ignore[arg-type]


@pytest.mark.parametrize("arena", [0, -1, -4096, 2**64 - 1, 2**64, 1.5, "x"])
def test_an_arena_of_no_size_is_refused(library_file: Path, arena: object) -> None:
    with pytest.raises(ferry.ArgumentValueError, match="arena is"):
        ferry.load(library_file, isolation="worker", arena=arena)  # type: ignore[arg-type]


def test_a_tiny_arena_is_a_page(library_file: Path) -> None:
    with ferry.load(library_file, header=HEADER, isolation="worker", arena=1) as lib:
        assert lib.sum(b"\x01\x02", 2) == 3


@pytest.mark.parametrize("encoding", ["nope", 5])
def test_an_encoding_that_is_none_is_refused(library_file: Path, encoding: object) -> None:
    with pytest.raises(ferry.ArgumentValueError, match="not an encoding"):
        ferry.load(library_file, encoding=encoding)  # type: ignore[arg-type]


def test_names_of_c_that_begin_like_private_ones_are_functions(compile_c: Compile) -> None:
    file = compile_c("int _read(int a) { return a + 1; } int _open(int a) { return a + 2; }")
    with ferry.load(file, header="int _read(int a); int _open(int a);") as lib:
        assert (lib._read(1), lib._open(1)) == (2, 3)


def test_a_worker_starts_though_the_standard_streams_are_closed(
    library_file: Path, tmp_path: Path
) -> None:
    script = (
        "import os, sys, libferry as ferry\n"
        f"lib = ferry.load({str(library_file)!r}, isolation='worker',\n"
        "                 header='int add(int, int);')\n"
        f"with open({str(tmp_path / 'pid')!r}, 'w') as file: file.write(str(lib.pid))\n"
        "os._exit(lib.add(40, 2))\n"
    )
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        done = subprocess.run(["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, script])
        assert done.returncode == 42, closed
        assert ended(int((tmp_path / "pid").read_text())), closed  # it has no end of ours


def test_a_library_that_forks_leaves_no_second_worker(worker: ferry.Library) -> None:
    with ferry.load("libc.so.6", header="int fork(void);", isolation="worker") as lib:
        child = lib.fork()
        assert child > 0
        assert ended(child)
        assert all(lib.fork() > 0 for _ in range(20))


def test_what_an_index_raises_is_raised(lib: ferry.Library) -> None:
    class Broken:
        def __index__(self) -> int:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        lib.add(Broken(), 1)


def test_a_huge_int_is_refused_in_few_words(lib: ferry.Library) -> None:
    with pytest.raises(ferry.ArgumentValueError, match="does not fit") as caught:
        lib.add(10**5000, 1)
    assert len(str(caught.value)) < 200


def test_a_later_call_names_the_one_that_ended_the_worker(worker: ferry.Library) -> None:
    with pytest.raises(ferry.LibraryCrashed):
        worker.stop()
    with pytest.raises(ferry.LibraryCrashed, match=r"earlier call .*SIGABRT.* in: call stop"):
        worker.add(1, 2)


def test_an_out_parameter_may_bring_a_pointer_in(lib: ferry.Library) -> None:
    lib.thing_new(5, first := lib.out("thing *"))
    second = lib.out("thing *")
    thing = first.value
    assert isinstance(thing, ferry.Pointer)
    second.value = thing
    assert second.value == thing
    second.value = None
    assert second.value is None
    with pytest.raises(ferry.ArgumentTypeError):
        second.value = lib.owned()
    lib.thing_free(first.value)


def test_reading_more_than_the_arena_holds(library_file: Path) -> None:
    with ferry.load(library_file, header=HEADER, isolation="worker", arena=1 << 16) as lib:
        assert len(lib.cast("char *", lib.symbol("add") & ~0xFFF).read(100)) == 100
        with pytest.raises(ferry.ArgumentValueError):
            lib.owned().read(-1)


def test_a_program_is_not_a_library() -> None:
    with pytest.raises(ferry.LoadError, match="it is an executable"):
        ferry.load(Path(sys.executable).resolve())


def test_membership_is_that_of_exports(lib: ferry.Library) -> None:
    assert "add" in lib
    assert "nothing_such" not in lib
    assert "add" in list(lib)


@WINE
def test_get_last_error_may_be_called(tmp_path: Path) -> None:
    header = "DWORD WINAPI GetFileAttributesA(LPCSTR name); DWORD WINAPI GetLastError(void);"
    with ferry.load("KERNEL32.dll", header=header) as lib:  # whatever the case of its name
        assert lib.GetFileAttributesA("C:\\no\\such") == 0xFFFFFFFF
        with pytest.raises(ferry.SymbolNotFound):
            lib.symbol("NoSuchFunction")
        assert lib.last_error == lib.GetLastError() == 3  # ERROR_PATH_NOT_FOUND


@WINE
def test_a_cache_that_cannot_be_written_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = compile_library("int f(void) { return 1; }", "x86_64-windows", tmp_path, "f")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ferry.NoRunner) as caught:
        ferry.load(file)
    assert "XDG_CACHE_HOME" in caught.value.hint


def test_closing_from_another_thread_is_a_closed_library(worker: ferry.Library) -> None:
    threading.Timer(0.2, worker.close).start()
    start = time.monotonic()
    with pytest.raises(ferry.LibraryClosed):
        worker.pause_ms(60_000)
    assert time.monotonic() - start < 30


def test_ctrl_c_when_a_worker_was_just_born_leaves_no_zombie(
    library_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may come at any moment: here it does when nothing but the kernel knows the child."""
    ferry.load(library_file, isolation="worker").close()
    before, open_before = children(), len(os.listdir("/proc/self/fd"))

    def interrupted(pid: int, pidfd: int) -> None:
        os.close(pidfd)
        raise KeyboardInterrupt

    monkeypatch.setattr(workers, "Process", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ferry.load(library_file, isolation="worker")
    assert children() == before
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= open_before
