"""expect= in a sandbox: the verified copy is what is loaded, whatever becomes of the file."""

from __future__ import annotations

import gc
import hashlib
import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import libferry as ferry
from libferry.guard import files
from libferry.sandbox import confine
from tests.runtime.sides import SIDES, Side, compiled
from tests.sandbox.library import HEADER, library

pytestmark = [
    pytest.mark.needs("ziglang", install="pip install ziglang"),
    pytest.mark.needs("libseccomp.so.2", install="apt-get install libseccomp2"),
]
LINUX = [side for side in SIDES if "windows" not in str(side.id)]
ADD = "EXPORT int add(int a, int b) { return a + b; }\nEXPORT void die(void) { __builtin_trap(); }"
ADDS = "int add(int a, int b); void die(void);"


def digest(path: Path) -> str:
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def mapped(lib: Any) -> str:
    return Path(f"/proc/{lib.pid}/maps").read_text()


def copies_here() -> list[int]:
    """The inodes of the copies that this process has open."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself
            if "memfd:libcopy" in os.readlink(descriptor):
                found.append(descriptor.stat().st_ino)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return Path(shutil.copy(library(), tmp_path / "libcopy.so"))


def expecting(file: Path, **options: Any) -> ferry.Library:
    options.setdefault("expect", digest(file))
    return ferry.load(file, header=HEADER, isolation="sandbox", **options)


@pytest.mark.parametrize("side", LINUX)
def test_a_library_of_these_bytes_is_called(side: Side) -> None:
    path = compiled(ADD, side[0])
    with ferry.load(path, header=ADDS, isolation="sandbox", expect=digest(path)) as lib:
        assert lib.add(1, 2) == 3
        assert f"memfd:{path.name}" in mapped(lib)
        assert str(path) not in mapped(lib)


def test_others_are_refused(file: Path) -> None:
    with pytest.raises(ferry.UnexpectedCode, match="instead of sha256:00"):
        expecting(file, expect="sha256:" + "0" * 64)


def test_there_is_no_way_to_the_file_itself(file: Path) -> None:
    with expecting(file) as lib:
        assert lib.add(1, 2) == 3
        with pytest.raises(ferry.SandboxViolation) as caught:
            lib.open_file(str(file), os.O_RDONLY)
    assert caught.value.path == str(file)


def test_nobody_can_write_to_the_copy_from_inside(file: Path) -> None:
    profile = file.parent / "writes.toml"
    profile.write_text('inherits = "pure"\n[syscalls]\nallow = ["ftruncate", "pwrite64"]\n')
    with expecting(file, profile=profile) as lib:
        # ftruncate and pwrite64 of x86-64's table; descriptor 5 is the copy
        assert lib.call(77, 5, 0, 0, 0, 0, 0) < 0
        assert lib.call_at(18, 5, b"\xcc" * 8, 8, 0) < 0


def test_a_file_that_was_replaced_is_not_what_begins_again(file: Path) -> None:
    wanted = digest(file)
    with expecting(file, restart="next-call") as lib:
        file.write_bytes(b"something else")
        with pytest.raises(ferry.LibraryCrashed):
            lib.raises(11)
        assert lib.add(1, 2) == 3
        assert lib.restarts == 1
        assert wanted in {file.digest for file in lib.loaded}


def test_one_copy_serves_all_workers(file: Path) -> None:
    inodes = []
    with expecting(file, restart="next-call") as lib:
        for _ in range(3):
            line = next(line for line in mapped(lib).splitlines() if "memfd:libcopy" in line)
            inodes.append(int(line.split()[4]))
            with pytest.raises(ferry.LibraryCrashed):
                lib.raises(11)
            assert lib.add(1, 2) == 3
        assert copies_here().count(inodes[0]) == 1
    assert inodes == [inodes[0]] * 3


def test_a_spare_worker_has_it_too(file: Path) -> None:
    with expecting(file, restart="next-call", spare=True) as lib:
        file.unlink()
        for _ in range(3):
            time.sleep(0.3)  # for a spare to be made
            with pytest.raises(ferry.LibraryCrashed):
                lib.raises(11)
            assert lib.add(1, 2) == 3


def test_a_pool_of_them(file: Path) -> None:
    with ferry.pool(
        file, header=HEADER, workers=2, isolation="sandbox", expect=digest(file)
    ) as pool:
        assert pool.add.batch([(n, 1) for n in range(10)]) == list(range(1, 11))


def test_where_a_sandbox_has_no_proc_it_is_said(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container whose own /proc has holes gives no new one."""
    monkeypatch.setattr(confine, "proc_options", lambda: None)
    with pytest.raises(ferry.SandboxUnavailable, match="no /proc") as caught:
        expecting(file)
    assert "expect=" in caught.value.hint


def test_what_a_copy_needs_beside_the_file_is_not_opened_up(file: Path) -> None:
    """Only the library itself was verified by its digest; its folder is as closed as before."""
    (file.parent / "secret").write_text("secret")
    with expecting(file) as lib, pytest.raises(ferry.SandboxViolation):
        lib.open_file(str(file.parent / "secret"), os.O_RDONLY)


def test_what_a_sandbox_loaded_is_what_is_expected_later(file: Path, tmp_path: Path) -> None:
    with ferry.load(file, header=HEADER, isolation="sandbox") as lib:
        assert digest(file) in {one.digest for one in lib.loaded if one.path == str(file)}
        lib.loaded.write(tmp_path / "snapshot.json")
    with expecting(file, expect=ferry.snapshot(tmp_path / "snapshot.json")) as lib:
        assert lib.add(1, 2) == 3


def test_what_was_loaded_is_digested_without_roots_right_to_the_kernels_links(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The paths are those of the worker's mount namespace: most lead to the same file here."""
    real = files._open_regular

    def without_links(path: str) -> int | None:
        if "map_files" in path:
            raise PermissionError
        return real(path)

    monkeypatch.setattr(files, "_open_regular", without_links)
    with ferry.load(file, header=HEADER, isolation="sandbox") as lib:
        loaded = list(lib.loaded)
    assert [one for one in loaded if one.digest is None] == []
    assert digest(file) in {one.digest for one in loaded}


def test_a_library_that_was_closed_keeps_no_copy(file: Path) -> None:
    gc.disable()
    try:
        with expecting(file) as lib:
            line = next(line for line in mapped(lib).splitlines() if "memfd:libcopy" in line)
        left = copies_here()
    finally:
        gc.enable()
    assert int(line.split()[4]) not in left


@pytest.mark.parametrize("isolation", ["worker", "sandbox"])
def test_a_crash_in_a_copy_is_told_by_the_librarys_names(isolation: Any, tmp_path: Path) -> None:
    """Also when the file is another by then: it is the copy that is looked at."""
    path = Path(shutil.copy(compiled(ADD, "x86_64-sysv"), tmp_path / "libdies.so"))
    expect = digest(path)
    with ferry.load(
        path, header=ADDS, isolation=isolation, expect=expect, dump=tmp_path / "dumps"
    ) as lib:
        path.write_bytes(b"something else")
        with pytest.raises(ferry.LibraryCrashed) as caught:
            lib.die()
    assert re.fullmatch(r"libdies\.so\+0x[0-9a-f]+ \(die\+0x[0-9a-f]+\)", caught.value.place)
    assert caught.value.dump is not None
    assert str(path).encode("utf-16-le") in caught.value.dump.read_bytes()
