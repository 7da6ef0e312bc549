"""What depends on the machine, the user and the program: CPU levels, set-user-ID, the host."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .workshop import Loader, Workshop

pytestmark = pytest.mark.needs("gcc", install="apt-get install gcc libc6-dev")

RUNPATH = "-Wl,--enable-new-dtags,-rpath,"
QEMU = "qemu-x86_64-static"


@pytest.mark.needs(QEMU, install="apt-get install qemu-user-static")
@pytest.mark.parametrize(("level", "loads"), [("x86-64-v2", True), ("x86-64-v3", False)])
def test_a_library_for_a_better_cpu(tmp_path: Path, level: str, loads: bool) -> None:
    isa = frozenset({"x86-64", "x86-64-v2"})
    shop = Workshop(tmp_path, Loader(command=(QEMU, "-cpu", "Nehalem"), target={"isa": isa}))
    shop.library("libone.so", "", [], f"-Wl,-z,{level}")
    shop.program("host")
    outcome = shop.judge_dlopen("libone.so", "host")
    assert ("CPU ISA level is lower than required" in outcome.error) is not loads


@pytest.mark.needs(QEMU, install="apt-get install qemu-user-static")
def test_a_cpus_folder_that_is_too_good_for_it(tmp_path: Path) -> None:
    isa = frozenset({"x86-64", "x86-64-v2"})
    shop = Workshop(tmp_path, Loader(command=(QEMU, "-cpu", "Nehalem"), target={"isa": isa}))
    shop.library("libone.so")
    for level in ("x86-64-v2", "x86-64-v3"):
        shop.library(f"glibc-hwcaps/{level}/libone.so")
    shop.program("tool", ["libone.so"], RUNPATH + "$ORIGIN")
    assert shop.judge("tool").loaded[0] == "glibc-hwcaps/x86-64-v2/libone.so"


# ---- set-user-ID ------------------------------------------------------------------


@pytest.fixture
def as_somebody_else() -> Iterator[Workshop]:
    """A workshop whose programs run as another user than the one they are started by."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    command = ("setpriv", "--reuid=65534", "--clear-groups", "--")
    try:
        yield Workshop(folder, Loader(command=command))
    finally:
        shutil.rmtree(folder)


only_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes root to make such a program")


@only_root
@pytest.mark.needs("setpriv", install="apt-get install util-linux")
@pytest.mark.parametrize("secure", [True, False])
def test_a_set_user_id_program_does_not_obey_the_environment(
    as_somebody_else: Workshop, secure: bool
) -> None:
    shop = as_somebody_else
    shop.library("libone.so")
    shop.program("tool", ["libone.so"])
    (shop.folder / "tool").chmod(0o4755 if secure else 0o755)
    environment = {"LD_LIBRARY_PATH": str(shop.folder)}
    outcome = shop.judge("tool", environment=environment, secure=secure)
    assert ("libone.so: cannot open" in outcome.error) is secure


@only_root
@pytest.mark.needs("setpriv", install="apt-get install util-linux")
@pytest.mark.parametrize("path", ["$ORIGIN", "{}", "$ORIGIN/../nowhere:{}", "x$ORIGIN:{}"])
def test_a_set_user_id_program_trusts_no_origin(as_somebody_else: Workshop, path: str) -> None:
    shop = as_somebody_else
    shop.library("libone.so")
    shop.program("tool", ["libone.so"], RUNPATH + path.format(shop.folder))
    (shop.folder / "tool").chmod(0o4755)
    outcome = shop.judge("tool", secure=True)
    assert ("libone.so: cannot open" in outcome.error) is (path == "$ORIGIN")


@only_root
@pytest.mark.needs("setpriv", install="apt-get install util-linux")
def test_a_set_user_id_program_takes_no_path_to_preload(as_somebody_else: Workshop) -> None:
    shop = as_somebody_else
    shop.library("libp.so")
    shop.program("tool", [], RUNPATH + str(shop.folder))
    (shop.folder / "tool").chmod(0o4755)
    for preload in (str(shop.folder / "libp.so"), "libp.so"):
        outcome = shop.judge("tool", environment={"LD_PRELOAD": preload}, secure=True)
        assert outcome.loaded == ("libc.so.6",)
    (shop.folder / "libp.so").chmod(0o4755)
    outcome = shop.judge("tool", environment={"LD_PRELOAD": "libp.so"}, secure=True)
    assert outcome.loaded[0] == "libp.so"


# ---- the program ------------------------------------------------------------------


def test_a_program_whose_loader_is_missing(shop: Workshop) -> None:
    shop.program("tool", [], "-Wl,--dynamic-linker=/nowhere/ld.so")
    with pytest.raises(FileNotFoundError) as raised:
        shop.start("tool")
    _, resolution = shop.predict("tool")
    assert resolution.loads is False
    (problem,) = resolution.problems
    assert problem.id == "missing-interpreter"
    assert problem.message == f"/nowhere/ld.so: {raised.value.strerror}"


def test_pythons_own_names_are_there_in_python(shop: Workshop) -> None:
    shop.library(
        "libone.so", "void *Py_GetVersion(void); void *f(void) { return Py_GetVersion(); }"
    )
    file = shop.folder / "libone.so"
    program = os.path.realpath(sys.executable)
    load = [program, "-c", f"import ctypes; ctypes.CDLL({str(file)!r})"]
    assert subprocess.run(load).returncode == 0
    assert shop.predict("libone.so", program, now=True)[1].loads
    shop.program("host")
    assert "undefined symbol: Py_GetVersion" in shop.judge_dlopen("libone.so", "host").error
