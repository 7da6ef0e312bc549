"""Wheels that many people install: what others say they need, and what we say.

auditwheel reads symbol versions and compares them with the policy of each platform tag;
delvewheel follows imports, and knows which DLLs every Windows has. Differences that stay,
and why:

- auditwheel leaves out the versions of the loader itself, ``ld-linux-x86-64.so.2``, which is
  of the same glibc as ``libc.so.6``.
- delvewheel says nothing of a wheel that it has repaired itself, unless it is told to look
  into the DLLs that it put there; such wheels are left out here.
- auditwheel names a tag, of which there is none for glibc 2.25 and 2.26. So a wheel that
  needs 2.25 is ``manylinux_2_27`` for it, the next one that there is.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from libferry.audit.asking import Question
from libferry.audit.inputs import opened
from libferry.audit.inputs.wheel import GLIBC, platforms, target_of
from libferry.audit.many import Run, check_inputs
from libferry.audit.report import Report
from libferry.binary import read

from ..wheels import needs_wheels, wheels_of

LINUX = pytest.mark.parametrize("wheel", wheels_of("linux-x64"), ids=lambda wheel: wheel.name[:20])
WINDOWS = pytest.mark.parametrize(
    "wheel", wheels_of("windows-x64"), ids=lambda wheel: wheel.name[:20]
)
# what a policy allows for is in every system of its tag: PEP 600
NEWEST_OF_TAG = re.compile(r"manylinux_(\d+)_(\d+)_x86_64")


def check(wheel: Path, target: str | None = None) -> Report:
    (report,) = check_inputs([wheel], [Question(target=target)], Run(jobs=1, keep=False))
    return report


def auditwheel(wheel: Path) -> dict[str, object]:
    command = [sys.executable, "-m", "auditwheel", "show", "--json", str(wheel)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    read_: dict[str, object] = json.loads(told)
    return read_


def test_there_are_wheels_to_compare() -> None:
    """Without wheels the tests below would not be there, and not be missed."""
    if not wheels_of("linux-x64") or not wheels_of("windows-x64"):
        pytest.skip("needs wheels: make wheels")


@needs_wheels("linux-x64")
@LINUX
def test_symbol_versions_are_those_of_auditwheel(wheel: Path) -> None:
    needed: dict[str, set[str]] = {}
    with opened(wheel) as tree:
        for item in tree.items:
            for need in read(item.file).versions_needed:
                needed.setdefault(need.library, set()).add(need.version)
    needed.pop("ld-linux-x86-64.so.2", None)
    told = auditwheel(wheel)["versioned_symbols"]
    assert isinstance(told, dict)
    assert needed == {library: set(versions) for library, versions in told.items()}


@needs_wheels("linux-x64")
@LINUX
def test_it_loads_on_the_system_of_the_tag_and_on_none_that_is_older(wheel: Path) -> None:
    """The tag is auditwheel's answer; the systems are known by their own C libraries."""
    match = NEWEST_OF_TAG.fullmatch(str(auditwheel(wheel)["overall_tag"]))
    assert match
    floor = int(match[1]), int(match[2])
    for version, system in GLIBC:
        answer = check(wheel, f"{system}-amd64").answer
        assert answer is (version >= floor), f"{system} has glibc {version}"


@needs_wheels("linux-x64")
@LINUX
def test_it_does_what_its_own_name_promises(wheel: Path) -> None:
    assert platforms(wheel.name)
    report = check(wheel)
    assert report.answer is True
    assert report.target == target_of(wheel.name)


def delvewheel(wheel: Path) -> set[str] | None:
    """The DLLs that it leaves to the system; None if it has repaired the wheel itself."""
    command = [sys.executable, "-m", "delvewheel", "show", "--analyze-existing", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    if "already repaired" in done.stdout:
        return None
    parts = done.stdout.partition("present in the end user's environment")
    assert parts[1], done.stdout
    return set(re.findall(r"^    (\S+\.dll)\b", parts[2].lower(), re.MULTILINE))


@needs_wheels("windows-x64")
@WINDOWS
def test_external_dlls_are_those_of_delvewheel(wheel: Path) -> None:
    told = delvewheel(wheel)
    if told is None:  # nothing to compare with; that it loads is what is left to ask
        assert [file.reason for file in check(wheel).files if file.answer is not True] == []
        return
    files = check(wheel).files
    own = {Path(file.file).name.lower() for file in files}
    needed = {
        edge.name.lower()
        for file in files
        for edge in file.needs
        if edge.requester.lower().endswith(Path(file.file).name.lower())
    }
    assert needed - own == told


def test_the_target_of_a_name() -> None:
    """By what the tags mean (PEP 600, PEP 656); the systems' versions are their own."""
    assert target_of("x-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl") == (
        "centos-7-amd64"
    )
    assert target_of("x-1-cp311-cp311-manylinux_2_28_aarch64.whl") == "rocky-8-arm64"
    assert target_of("x-1-cp311-cp311-manylinux1_i686.whl") == "centos-7-i386"
    assert str(target_of("x-1-cp311-cp311-musllinux_1_2_x86_64.whl")).startswith("alpine-")
    assert target_of("x-1-py3-none-any.whl") is None


@pytest.mark.needs("cc", install="apt-get install gcc")
@pytest.mark.parametrize(("function", "loads"), [("PyLong_FromLong", True), ("gone_Py", False)])
def test_what_python_has_is_not_missing(tmp_path: Path, function: str, loads: bool) -> None:
    (tmp_path / "x.c").write_text(f"void {function}(void); void *p = {function};")
    name = "x-1-cp311-cp311-linux_x86_64.whl"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "x.so", "x.c"], cwd=tmp_path, check=True)
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.write(tmp_path / "x.so", "x.so")
    assert check(tmp_path / name, "this").answer is loads
