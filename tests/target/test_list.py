"""The targets of the list, against the packages of the systems themselves."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from libferry import cli
from libferry.errors import LibraryNotFound
from libferry.loader import resolve
from libferry.target import DescribedSystem, linux, list_targets, system_for, this

NAMES = [name for name in list_targets() if name != "this"]


def versions_of(file: Path) -> frozenset[str]:
    """What readelf says that a library gives."""
    said = subprocess.run(
        ["readelf", "--version-info", "--wide", file], capture_output=True, text=True, check=True
    ).stdout
    given = re.search(r"'\.gnu\.version_d'.*?(?=Version needs|\Z)", said, re.DOTALL)
    names = re.findall(r"Flags: (?!BASE).*Name: (\S+)", given[0]) if given else []
    return frozenset(names)


@pytest.mark.parametrize("name", NAMES)
def test_a_target_has_a_c_library_in_the_folder_where_its_loader_looks(name: str) -> None:
    system = system_for(name)
    target = system.target
    assert target.name == name
    assert target.version
    assert target.page_size in (4096, 16384, 65536)
    if target.os != "linux":
        return
    assert target.interpreter is not None
    assert system.find(target.interpreter) is not None
    if target.loader == "glibc":
        found = system.find(f"{target.default_paths[0]}/libc.so.6")
        assert found is not None
        assert found.given is not None
        newest = ".".join(map(str, target.version))
        assert all(
            tuple(map(int, one[6:].split("."))) <= target.version
            for one in found.given.versions or ()
            if re.fullmatch(r"GLIBC_[\d.]+", one)
        ), newest


@pytest.mark.needs("readelf", install="apt-get install binutils")
def test_debian_12_has_the_versions_that_this_machine_has() -> None:
    here = this()
    if "Debian GNU/Linux 12" not in here.target.title or here.target.cpu != "x86_64":
        pytest.skip("this is no Debian 12 for amd64")
    described = system_for("debian-12-amd64").target
    assert described.default_paths == here.target.default_paths
    assert described.lib == here.target.lib
    assert described.interpreter == here.target.interpreter
    for name, given in described.given.items():
        found = here.find(given.path)
        assert found is not None, name
        assert found.file is not None
        assert versions_of(found.file) == given.versions, name


CROSS = [  # Debian 12's cross packages have the libraries of the other CPUs' libc6
    ("debian-12-arm64", "/usr/aarch64-linux-gnu/lib", "libc6-arm64-cross"),
    ("debian-12-armhf", "/usr/arm-linux-gnueabihf/lib", "libc6-armhf-cross"),
]


@pytest.mark.needs("readelf", install="apt-get install binutils")
@pytest.mark.parametrize(
    ("name", "folder"),
    [
        pytest.param(
            name,
            folder,
            marks=pytest.mark.needs(f"{folder}/libc.so.6", install=f"apt-get install {package}"),
        )
        for name, folder, package in CROSS
    ],
)
def test_other_cpus_have_the_versions_of_their_own_glibc(name: str, folder: str) -> None:
    seen = 0
    for soname, given in system_for(name).target.given.items():
        file = Path(folder, soname)
        if file.exists() and given.versions and any("GLIBC" in one for one in given.versions):
            assert versions_of(file) == given.versions, soname
            seen += 1
    assert seen > 5


# tools/setup-debian unpacks these: what the list says of a release is what its packages have
RELEASES = [
    ("debian-11-amd64", "bullseye-amd64-libc6"),
    ("debian-11-i386", "bullseye-i386-libc6"),
    ("debian-11-arm64", "bullseye-arm64-libc6"),
    ("debian-13-amd64", "trixie-amd64-libc6"),
    ("debian-13-i386", "trixie-i386-libc6"),
    ("debian-13-arm64", "trixie-arm64-libc6"),
]
BUILD = Path(__file__).parents[2] / "build/debian"


@pytest.mark.needs("readelf", install="apt-get install binutils")
@pytest.mark.parametrize(
    ("name", "folder"),
    [
        pytest.param(
            *release, marks=pytest.mark.needs(str(BUILD / release[1]), install="tools/setup-debian")
        )
        for release in RELEASES
    ],
)
def test_debian_11_and_13_have_the_versions_of_their_packages(name: str, folder: str) -> None:
    seen = 0
    for given in system_for(name).target.given.values():
        files = [file for file in (BUILD / folder).rglob(given.name) if file.is_file()]
        if files:
            assert versions_of(files[0]) == given.versions, given.name
            seen += 1
    assert seen > 10


@pytest.mark.parametrize("name", linux.releases())
def test_each_fact_of_a_release_has_a_source_or_says_that_it_has_none(name: str) -> None:
    target = system_for(name).target
    facts = linux.releases()[name].facts
    assert {fact for fact in ("glibc", "musl", "gcc", "zlib") if fact in facts} <= set(
        target.sources
    )
    assert all(given.source for given in target.given.values())


def test_what_nobody_checked_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["target", "show", "--json", "ubuntu-26.04-amd64"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["unchecked"] == ["gcc"]
    assert cli.main(["target", "show", "--json", "debian-13-amd64"]) == 0
    assert json.loads(capsys.readouterr().out)["unchecked"] == []


def test_kylin_v10_is_three_systems() -> None:
    versions = {
        name: system_for(name).target.version
        for name in (
            "kylin-v10-server-arm64",
            "kylin-v10-desktop-arm64",
            "kylin-v10-desktop-2.23-arm64",
        )
    }
    assert list(versions.values()) == [(2, 28), (2, 31), (2, 23)]


def test_the_worlds_of_loongarch_have_loaders_and_versions_of_their_own() -> None:
    old = system_for("loongnix-20-loong64-old-world").target
    new = system_for("openeuler-24.03-loong64").target
    assert (old.abi, old.interpreter) == ("old-world", "/lib64/ld.so.1")
    assert new.abi == "new-world"
    assert new.interpreter == "/lib64/ld-linux-loongarch-lp64d.so.1"
    assert not (old.given["libc.so.6"].versions or set()) & (
        new.given["libc.so.6"].versions or set()
    ) - {"GLIBC_PRIVATE"}


def test_options_behind_the_name_change_the_machine() -> None:
    assert system_for("rocky-8-arm64").target.page_size == 65536
    assert system_for("rocky-8-arm64+4k").target.page_size == 4096
    assert system_for("openeuler-24.03-loong64").target.page_size == 16384
    assert "x86-64-v3" in system_for("debian-12-amd64+x86-64-v3").target.isa
    assert system_for("debian-12-amd64+zhaoxin").target.isa == {"x86-64", "x86-64-v2"}


@pytest.mark.needs("qemu-x86_64-static", install="apt-get install qemu-user-static")
@pytest.mark.parametrize(
    ("option", "model"),
    [("hygon", "Dhyana"), ("x86-64-v2", "Nehalem"), ("x86-64-v3", "Haswell")],
)
def test_a_level_is_what_glibc_says_on_such_a_cpu(option: str, model: str) -> None:
    loader = "/lib64/ld-linux-x86-64.so.2"
    said = subprocess.run(
        ["qemu-x86_64-static", "-cpu", model, loader, "--help"],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    supported = set(re.findall(r"(x86-64-v\d) \(supported", said))
    assert supported
    assert system_for(f"debian-12-amd64+{option}").target.isa == {"x86-64", *supported}


@pytest.mark.needs("gcc", install="apt-get install gcc")
@pytest.mark.parametrize(
    ("name", "loads"),
    [
        ("debian-12-amd64", None),  # which machine it is, is not known
        ("rocky-10-amd64", True),  # needs x86-64-v3 itself
        ("debian-12-amd64+zhaoxin", False),
        ("debian-12-amd64+x86-64-v4", True),
        ("debian-11-amd64+zhaoxin", True),  # glibc 2.31 does not look
    ],
)
def test_a_library_for_a_newer_cpu(tmp_path: Path, name: str, loads: bool | None) -> None:
    library = tmp_path / "libv3.so"
    command = ["gcc", "-shared", "-nostdlib", "-x", "c", "/dev/null", "-Wl,-z,x86-64-v3"]
    subprocess.run([*command, "-o", library], check=True)
    assert resolve(library, system_for(name, carried=[library])).loads is loads


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("debain-12-amd64", "debian-12-amd64"),
        ("nothing", "libferry target list"),
        ("rocky-8-arm64+63k", "64k"),
        ("missing/file.toml", "libferry target list"),
    ],
)
def test_an_unknown_name_gets_a_hint(name: str, hint: str) -> None:
    with pytest.raises(LibraryNotFound) as error:
        system_for(name)
    assert hint in error.value.hint


def test_a_described_system_does_not_claim_what_it_does_not_know() -> None:
    system = system_for("debian-12-amd64")
    assert isinstance(system, DescribedSystem)
    assert system.find("/usr/lib/x86_64-linux-gnu/libz.so.1") is not None
    assert system.find("/usr/lib/x86_64-linux-gnu/libpng16.so.16") is None
    assert not system.complete
