"""Which program runs a worker, and what is said where there is none."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

import libferry as ferry
from libferry.runtime import runner


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An x86-64 machine whose only programs are those in the folder given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    return folder


@pytest.fixture
def sysroot(tmp_path: Path) -> Path:
    folder = tmp_path / "loongarch"
    (folder / "lib64").mkdir(parents=True)
    (folder / "lib64/ld-linux-loongarch-lp64d.so.1").touch()
    return folder


def put_qemu(path: Path, name: str, version: str) -> str:
    program = path / name
    program.write_text(f"#!/bin/sh\necho '{name} version {version} (Debian 1:{version}+dfsg)'\n")
    program.chmod(0o755)
    return str(program)


def test_a_qemu_too_old_for_loongarch_is_passed_over(path: Path, sysroot: Path) -> None:
    put_qemu(path, "qemu-loongarch64-static", "7.2.15")
    new = put_qemu(path, "qemu-loongarch64", "10.0.13")

    found = runner.find("loongarch64-lp64d", sysroot)

    assert found.command[:3] == (new, "-L", str(sysroot))


def test_if_there_is_only_that_it_says_so(path: Path, sysroot: Path) -> None:
    old = put_qemu(path, "qemu-loongarch64-static", "7.2.15")

    with pytest.raises(ferry.NoRunner) as caught:
        runner.find("loongarch64-lp64d", sysroot)

    assert caught.value.happened == f"this machine is x86_64, and {old} is older than version 10"
    assert "tools/setup-debian" in caught.value.hint


@pytest.mark.parametrize(
    ("abi", "package"),
    [("arm-hardfloat", "libc6-armhf-cross"), ("riscv64-lp64d", "libc6-riscv64-cross")],
)
def test_a_missing_qemu_has_a_command(path: Path, abi: str, package: str) -> None:
    with pytest.raises(ferry.NoRunner) as caught:
        runner.find(abi)

    assert caught.value.hint == f"apt-get install qemu-user-static {package}"


@pytest.mark.parametrize("abi", ["aarch64-apple", "aarch64-windows"])
def test_nothing_here_runs_programs_of_apple_and_of_windows_on_arm(path: Path, abi: str) -> None:
    with pytest.raises(ferry.NoRunner, match="and this is Linux on x86_64"):
        runner.find(abi)
