"""The wheel runs where it says it runs."""

from __future__ import annotations

import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

ROOT = Path(__file__).parents[1]
WORKERS = {
    "worker-x86_64-sysv",
    "worker-i386-sysv",
    "worker-aarch64-aapcs64",
    "worker-x86_64-windows.exe",
    "worker-i386-windows.exe",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built as a user's pip builds it, but with what is installed here."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", str(folder), str(ROOT)], check=True)
    (file,) = folder.glob("*.whl")
    return file


def test_it_is_tagged_for_an_old_glibc(wheel: Path) -> None:
    assert re.search(r"-cp3\d+-cp3\d+-manylinux_2_17_\w+\.whl$", wheel.name)


def test_it_has_a_worker_for_every_abi(wheel: Path) -> None:
    names = {Path(name).name for name in zipfile.ZipFile(wheel).namelist()}
    assert names >= WORKERS


# These CPUs came to glibc later than the tag's 2.17: its NEWS for 2.27 and 2.36.
FIRST_GLIBC = {"worker-riscv64-lp64d": 27, "worker-loongarch64-lp64d": 36}


def test_nothing_in_it_needs_a_newer_glibc_than_its_tag_says(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    checked = 0
    for file in (tmp_path / "libferry").rglob("*"):
        if not file.is_file() or file.read_bytes()[:4] != b"\x7fELF":
            continue
        with file.open("rb") as stream:
            for section in ELFFile(stream).iter_sections():
                if isinstance(section, GNUVerNeedSection):
                    for _, versions in section.iter_versions():
                        for version in versions:
                            number = re.fullmatch(r"GLIBC_2\.(\d+)(\.\d+)?", version.name)
                            assert number, version.name
                            newest = FIRST_GLIBC.get(file.name, 17)
                            assert int(number[1]) <= newest, f"{file.name} needs {version.name}"
                            checked += 1
    assert checked > 10


def test_it_calls_a_library_in_an_environment_without_a_compiler(
    wheel: Path, tmp_path: Path
) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", wheel], check=True)
    script = (
        "import libferry as ferry\n"
        "for isolation in ('in-process', 'worker'):\n"
        "    with ferry.load('libz.so.1', isolation=isolation,\n"
        "                    header='unsigned long crc32(unsigned long, const void *, unsigned);')"
        " as lib:\n"
        "        print(lib.crc32(0, b'hello', 5))\n"
    )
    done = subprocess.run(
        [python, "-c", script], capture_output=True, text=True, cwd=tmp_path, env={"PATH": ""}
    )
    assert (done.stdout, done.stderr) == ("907060870\n" * 2, "")
