"""Symbol versions, compared as lists of names before any symbol is."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from .workshop import Loader, Workshop

pytestmark = pytest.mark.needs("gcc", install="apt-get install gcc libc6-dev")

RUNPATH = "-Wl,--enable-new-dtags,-rpath,$ORIGIN"
ANSWER = "int answer(void) { return 42; }"
USER = "int answer(void); int use(void) { return answer(); }"


def versions(shop: Workshop, name: str, *nodes: str) -> str:
    """A linker script with these versions; the last has ``answer``."""
    script = shop.folder / name
    lines = [f"{node} {{ }};" for node in nodes[:-1]]
    script.write_text("\n".join([*lines, f"{nodes[-1]} {{ global: answer; local: *; }};"]))
    return f"-Wl,--version-script,{script}"


def build(shop: Workshop, *then: str) -> None:
    """A program whose library was linked against version V2, and then gets another."""
    shop.library("libone.so", ANSWER, [], versions(shop, "new", "V1", "V2"))
    shop.library("libuser.so", USER, ["libone.so"], RUNPATH)
    shop.program("tool", ["libuser.so"], RUNPATH)
    if then:
        shop.library("libone.so", ANSWER, [], *then)


def test_a_version_that_is_there(shop: Workshop) -> None:
    build(shop)
    assert "libone.so" in shop.judge("tool").loaded


def test_a_version_that_is_missing(shop: Workshop) -> None:
    build(shop)
    shop.library("libone.so", ANSWER, [], versions(shop, "old", "V1"))
    outcome = shop.judge("tool")
    assert "version `V2' not found" in outcome.error
    assert outcome.resolution is not None
    assert outcome.resolution.problems[0].id == "missing-version"


def test_a_library_without_versions_is_taken(shop: Workshop) -> None:
    build(shop)
    shop.library("libone.so", ANSWER)
    assert "libone.so" in shop.judge("tool").loaded


def test_a_weak_version_may_be_missing(shop: Workshop) -> None:
    build(shop)
    file = shop.folder / "libuser.so"
    file.write_bytes(made_weak(file.read_bytes(), b"V2"))
    shop.library("libone.so", ANSWER, [], versions(shop, "old", "V1"))
    # the version is no matter then, but nobody has the symbol with it
    assert (
        "undefined symbol: answer, version V2"
        in shop.judge("tool", now=True, environment={"LD_BIND_NOW": "1"}).error
    )


def made_weak(data: bytes, version: bytes) -> bytes:
    """Set VER_FLG_WEAK in the Vernaux whose hash is that of ``version``."""
    number = 0
    for byte in version:  # gABI, "Hash Table": elf_hash; short names have no high bits
        number = (number << 4) + byte
    at = data.index(number.to_bytes(4, "little") + b"\0\0")
    return data[: at + 4] + b"\2\0" + data[at + 6 :]


def test_a_program_for_a_newer_c_library(shop: Workshop) -> None:
    shop.library("libc.so.6", ANSWER, [], versions(shop, "future", "GLIBC_2.99"))
    shop.library("libuser.so", USER, ["libc.so.6"], RUNPATH)
    (shop.folder / "libc.so.6").unlink()
    shop.program("tool", ["libuser.so"], RUNPATH)
    assert "version `GLIBC_2.99' not found" in shop.judge("tool").error


def test_a_version_of_a_library_that_dlopen_brings(shop: Workshop) -> None:
    build(shop)
    shop.library("libone.so", ANSWER, [], versions(shop, "old", "V1"))
    shop.program("host")
    assert "version `V2' not found" in shop.judge_dlopen("libuser.so", "host").error


@pytest.mark.needs("qemu-loongarch64", install="tools/setup-debian")
@pytest.mark.needs("ziglang", install="pip install --group dev")
def test_a_library_of_loongarchs_old_world(tmp_path: Path) -> None:
    root, loader = Path("/usr/loongarch64-linux-gnu"), "ld-linux-loongarch-lp64d.so.1"
    zig = (sys.executable, "-m", "ziglang", "cc", "-target", "loongarch64-linux-gnu", "-w")
    shop = Workshop(
        tmp_path,
        Loader(
            root=root,
            command=(
                shutil.which("qemu-loongarch64") or "",
                str(root / "lib" / loader),
            ),
            libraries=str(root / "lib"),
            compiler=zig,
            linker=(*zig, "-rdynamic"),
            target={"abi": "new-world"},
        ),
    )
    old = versions(shop, "nodes", "GLIBC_2.27")
    shop.library("old/libc.so.6", ANSWER, [], old)
    shop.library("libone.so", USER, ["old/libc.so.6"])
    shop.program("host")
    outcome = shop.judge_dlopen("libone.so", "host")
    assert "version `GLIBC_2.27' not found" in outcome.error
    assert outcome.resolution is not None
    assert outcome.resolution.problems[0].id == "loongarch-world"
