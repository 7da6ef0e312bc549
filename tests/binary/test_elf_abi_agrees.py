"""The calling convention that a file says it has, as compilers make it and readelf prints it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from libferry.binary import read
from libferry.binary.elf.view import ElfView

from .conftest import Build

pytestmark = pytest.mark.needs("readelf", install="apt-get install binutils")

SOURCE = "double twice(double x) { return x + x; }"


def view_of(path: Path) -> ElfView:
    view = read(path).view
    assert isinstance(view, ElfView)
    return view


def readelf(path: Path, option: str) -> str:
    command = ["readelf", "-W", option, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def flags(path: Path) -> str:
    found = re.search(r"Flags: +(.*)", readelf(path, "-h"))
    assert found
    return found[1]


@pytest.mark.parametrize("target", ["arm-linux-gnueabihf", "arm-linux-gnueabi"])
def test_arm_libraries_say_where_floating_point_arguments_go(build: Build, target: str) -> None:
    made = build(target, SOURCE, "-nostdlib")
    hard = "hard-float ABI" in flags(made)
    assert hard == target.endswith("hf")
    assert hard == ("Tag_ABI_VFP_args: VFP registers" in readelf(made, "-A"))
    abi = view_of(made).abi
    assert abi.float_abi == ("hard" if hard else "soft")
    assert abi.object_abi == "eabi5"
    assert "Version5 EABI" in flags(made)


def test_arm_attributes_decide_where_the_header_says_nothing(build: Build, tmp_path: Path) -> None:
    """EF_ARM_ABI_FLOAT_HARD is of 2012; older linkers left it out."""
    raw = bytearray(build("arm-linux-gnueabihf", SOURCE, "-nostdlib").read_bytes())
    raw[0x25] &= 0xF9  # e_flags: neither hard nor soft
    made = tmp_path / "older.so"
    made.write_bytes(raw)
    assert "float" not in flags(made)
    assert "Tag_ABI_VFP_args: VFP registers" in readelf(made, "-A")
    assert view_of(made).abi.float_abi == "hard"


@pytest.mark.parametrize("abi", ["lp64", "lp64d"])
def test_risc_v_libraries_say_it_in_the_header_and_their_extensions(build: Build, abi: str) -> None:
    made = build("riscv64-linux-musl", SOURCE, "-nostdlib", f"-mabi={abi}")
    said = flags(made)
    found = view_of(made).abi
    expected = {"lp64": ("soft", "soft-float"), "lp64d": ("double", "double-float")}[abi]
    assert expected[1] in said
    assert found.float_abi == expected[0]
    arch = re.search(r'Tag_RISCV_arch: "(.*)"', readelf(made, "-A"))
    assert arch
    assert found.attributes["arch"] == arch[1]
    alignment = re.search(r"Tag_RISCV_stack_align: (\d+)", readelf(made, "-A"))
    assert found.attributes.get("stack_align") == (int(alignment[1]) if alignment else None)


LOONGARCH = "/usr/loongarch64-linux-gnu/lib/libc.so.6"


@pytest.mark.needs(LOONGARCH, install="apt-get install libc6-loong64-cross")
def test_a_c_library_of_loongarch_is_of_the_new_world() -> None:
    """Of the old world, the oldest version is GLIBC_2.27, and Debian never had it."""
    said = flags(Path(LOONGARCH))
    assert "GLIBC_2.36" in readelf(Path(LOONGARCH), "-V")
    view = view_of(Path(LOONGARCH))
    assert (view.loongarch_world, view.abi.float_abi) == ("new", "double")
    assert ("v1" if "OBJ-v1" in said else "v0") == view.abi.object_abi


def test_a_program_for_the_old_loader_of_loongarch_is_of_the_old_world(build: Build) -> None:
    for loader, world in (
        ("/lib64/ld.so.1", "old"),
        ("/lib64/ld-linux-loongarch-lp64d.so.1", "new"),
    ):
        made = build("loongarch64-linux-gnu", START, "-nostdlib", f'-DLOADER="{loader}"')
        assert f"[Requesting program interpreter: {loader}]" in readelf(made, "-l")
        assert view_of(made).loongarch_world == world


START = """
    const char loader[] __attribute__((section(".interp"), used)) = LOADER;
    void _start(void) {}
"""


def test_other_cpus_have_no_such_choice(small_elf: Path) -> None:
    abi = view_of(small_elf).abi
    assert (abi.float_abi, abi.object_abi, abi.attributes) == (None, None, {})
