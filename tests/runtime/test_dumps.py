"""load(dump=): each crash of a worker leaves a minidump, and nothing hides the crash."""

from __future__ import annotations

import logging
import os
import re
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from minidump.minidumpfile import MinidumpFile

import libferry as ferry

from .conftest import HEADER
from .sides import compiled
from .test_life import ended

CRASH = "int crash(int by);"
CRASHING = "EXPORT int crash(int by) { *(volatile int *)16 = by; return by; }"


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The reader looks for a Windows PEB and reports with a traceback that there is none."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


def crashed(lib: Any) -> ferry.LibraryCrashed:
    with pytest.raises(ferry.LibraryCrashed) as caught:
        lib.crash_at(16)
    return caught.value


def kept(library_file: Path, folder: Path, **options: Any) -> ferry.Library:
    options.setdefault("isolation", "worker")
    return ferry.load(library_file, header=HEADER, dump=folder, **options)


def test_a_crash_leaves_a_minidump_that_others_read(library_file: Path, tmp_path: Path) -> None:
    with kept(library_file, tmp_path) as lib:
        error = crashed(lib)
        pid = lib.pid
    (path,) = tmp_path.iterdir()
    assert error.dump == path
    assert re.fullmatch(rf"lib-\d{{8}}-\d{{6}}-{pid}\.dmp", path.name)
    read: Any = MinidumpFile.parse(str(path))
    exception = read.exception.exception_records[0]
    assert exception.ExceptionRecord.ExceptionCode_raw == signal.SIGSEGV
    assert exception.ExceptionRecord.ExceptionAddress == 16
    assert str(library_file) in {module.name for module in read.modules.modules}


def test_whoever_reads_the_error_is_told(library_file: Path, tmp_path: Path) -> None:
    with kept(library_file, tmp_path) as lib:
        error = crashed(lib)
    assert f"dump: {error.dump}" in error.report().splitlines()
    assert error.as_dict()["dump"] == str(error.dump)
    assert f"dump: {error.dump}" in error.__notes__


def test_only_its_owner_can_read_it(library_file: Path, tmp_path: Path) -> None:
    """On a stack there are passwords."""
    with kept(library_file, tmp_path) as lib:
        error = crashed(lib)
    assert error.dump is not None
    assert stat.S_IMODE(error.dump.stat().st_mode) == 0o600


def test_all_who_learn_of_one_crash_are_told_of_one_file(
    library_file: Path, tmp_path: Path
) -> None:
    errors: list[ferry.LibraryCrashed] = []
    with kept(library_file, tmp_path) as lib:
        begun = threading.Barrier(9)

        def wait() -> None:
            begun.wait()
            with pytest.raises(ferry.LibraryCrashed) as caught:
                lib.pause_ms(60_000)
            errors.append(caught.value)

        threads = [threading.Thread(target=wait) for _ in range(8)]
        for thread in threads:
            thread.start()
        begun.wait()
        errors.append(crashed(lib))
        for thread in threads:
            thread.join(60)
        with pytest.raises(ferry.LibraryCrashed) as late:
            lib.add(1, 2)
    (path,) = tmp_path.iterdir()
    assert {error.dump for error in [*errors, late.value]} == {path}
    assert len(errors) == 9


def test_each_restart_may_crash_anew(library_file: Path, tmp_path: Path) -> None:
    with kept(library_file, tmp_path, restart="next-call") as lib:
        found = {crashed(lib).dump for _ in range(3)}
    assert found == set(tmp_path.iterdir())
    assert len(found) == 3


def test_a_pools_workers_leave_one_each(library_file: Path, tmp_path: Path) -> None:
    with ferry.pool(library_file, header=HEADER, workers=2, dump=tmp_path) as pool:
        found = {crashed(pool).dump for _ in range(4)}
    assert found == set(tmp_path.iterdir())
    assert len(found) == 4


def test_a_pools_worker_that_dies_between_two_calls_leaves_one_too(
    library_file: Path, tmp_path: Path
) -> None:
    with ferry.pool(library_file, header=HEADER, workers=1, dump=tmp_path) as pool:
        with pool.session() as lib:
            pid = lib.pid
        os.kill(pid, signal.SIGSEGV)
        assert ended(pid)
        end = time.monotonic() + 20
        while not list(tmp_path.iterdir()) and time.monotonic() < end:
            with suppress(ferry.LibraryCrashed):  # it may be chosen before its death is known
                assert pool.add(1, 2) == 3
    assert [f"-{pid}." in path.name for path in tmp_path.iterdir()] == [True]


def test_nothing_is_written_over(library_file: Path, tmp_path: Path) -> None:
    """Somebody has guessed the names of the next seconds, and made them links elsewhere."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "dumps"
    with kept(library_file, folder) as lib:
        now = time.time()
        for second in range(60):
            when = time.strftime("%Y%m%d-%H%M%S", time.localtime(now + second))
            (folder / f"lib-{when}-{lib.pid}.dmp").symlink_to(victim)
        error = crashed(lib)
    assert error.dump is not None
    assert error.dump.name.endswith("-2.dmp")
    assert not error.dump.is_symlink()
    assert victim.read_text() == "precious"


def test_a_library_that_only_leaves_has_no_record_to_keep(
    library_file: Path, tmp_path: Path
) -> None:
    with kept(library_file, tmp_path) as lib, pytest.raises(ferry.LibraryCrashed) as caught:
        lib.leave(3)
    assert caught.value.dump is None
    assert "no dump: its worker left no record of its end" in caught.value.report()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_hides_no_crash(library_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dumps"
    with kept(library_file, folder) as lib:
        folder.rmdir()
        error = crashed(lib)
    assert (error.signal, error.function, error.dump) == (signal.SIGSEGV, "crash_at", None)
    assert "No such file or directory" in error.dump_problem
    assert error.as_dict()["dump_problem"] == error.dump_problem
    assert any(note.startswith("no dump: ") for note in error.__notes__)


def test_a_file_that_may_not_grow_hides_no_crash(library_file: Path, tmp_path: Path) -> None:
    """RLIMIT_FSIZE, as a quota: the half that was written is not left there."""
    with kept(library_file, tmp_path) as lib:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            error = crashed(lib)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (error.signal, error.dump) == (signal.SIGSEGV, None)
    assert os.strerror(27) in error.dump_problem
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_hides_no_crash(library_file: Path, tmp_path: Path) -> None:
    script = f"""
set -e
mount -t tmpfs -o size=4k tmpfs {tmp_path}
exec {sys.executable} -c '
import libferry, os
with libferry.load("{library_file}", header="void crash_at(uintptr_t at);",
                   isolation="worker", dump="{tmp_path}") as lib:
    try: lib.crash_at(16)
    except libferry.LibraryCrashed as error:
        print(error.signal, error.dump, error.dump_problem, os.listdir("{tmp_path}"))'
"""
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    if done.returncode != 0 and "mount" in done.stderr:
        pytest.skip("needs tmpfs mounts in a user namespace")
    assert done.stdout.startswith("11 None "), done.stderr
    assert done.stdout.endswith("No space left on device []\n")


@pytest.mark.needs("/usr/riscv64-linux-gnu", install="apt-get install libc6-riscv64-cross")
def test_a_cpu_that_minidumps_do_not_know(tmp_path: Path) -> None:
    path = compiled(CRASHING, "riscv64-lp64d")
    with (
        ferry.load(path, header=CRASH, isolation="worker", dump=tmp_path) as lib,
        pytest.raises(ferry.LibraryCrashed) as caught,
    ):
        lib.crash(1)
    assert caught.value.signal == signal.SIGSEGV
    assert "no registers of that CPU" in caught.value.dump_problem


@pytest.mark.needs("/usr/lib/wine/wine64", install="apt-get install wine64")
def test_a_windows_library_leaves_one_too(tmp_path: Path) -> None:
    path = compiled(CRASHING, "x86_64-windows")
    with (
        ferry.load(path, header=CRASH, isolation="worker", dump=tmp_path) as lib,
        pytest.raises(ferry.LibraryCrashed) as caught,
    ):
        lib.crash(1)
    read: Any = MinidumpFile.parse(str(caught.value.dump))
    record = read.exception.exception_records[0].ExceptionRecord
    assert record.ExceptionCode_raw == 0xC0000005


def test_the_folder_is_made(library_file: Path, tmp_path: Path) -> None:
    with kept(library_file, tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()


def test_the_folder_is_the_same_wherever_the_program_goes(
    library_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with kept(library_file, Path("dumps")) as lib:
        monkeypatch.chdir("/")
        error = crashed(lib)
    assert error.dump is not None
    assert error.dump.parent == tmp_path / "dumps"


@pytest.mark.parametrize("folder", ["/proc", "/dev/null", "a\0b", 5])
def test_a_folder_that_is_none_is_refused(folder: Any, library_file: Path) -> None:
    with pytest.raises(ferry.ArgumentValueError, match="dump is") as refused:
        ferry.load(library_file, isolation="worker", dump=folder)
    assert "made if it is missing" in refused.value.hint


@pytest.mark.parametrize("isolation", ["in-process", "namespace"])
def test_no_crash_in_this_process_can_be_kept(
    isolation: Any, library_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(ferry.ArgumentTypeError, match="dump="):
        ferry.load(library_file, isolation=isolation, dump=tmp_path)


def test_a_sandbox_leaves_one_too(library_file: Path, tmp_path: Path) -> None:
    """The worker calls itself 1; the file has its number outside."""
    with kept(library_file, tmp_path, isolation="sandbox") as lib:
        error = crashed(lib)
        assert error.dump is not None
        assert error.dump.name.endswith(f"-{lib.pid}.dmp")
