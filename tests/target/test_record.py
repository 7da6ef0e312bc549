"""A machine that is recorded answers as the machine itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from libferry.errors import BadBinary
from libferry.loader import resolve
from libferry.target import DescribedSystem, RootSystem, Target, file, this
from libferry.target.record import record, search_folders

from .test_list import versions_of

EVERY = 7  # of this machine's libraries, one in so many


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Target:
    """This machine, through a file."""
    path = tmp_path_factory.mktemp("copy") / "machine.toml"
    path.write_text(file.dump(record(this())))
    return file.load(path)


def test_a_recorded_machine_answers_as_the_machine_does(copy: Target) -> None:
    here, asked = this(), 0
    for folder in search_folders(here):
        for library in sorted(Path(folder).glob("*.so*"))[::EVERY]:
            try:
                real = resolve(library, here)
            except BadBinary:  # a linker script
                continue
            said = resolve(library, DescribedSystem(copy, [library]))
            assert said.loads == real.loads, library
            places = {node.name: node.path for node in real.root.walk() if node.state == "loaded"}
            for node in said.root.walk():
                if node.state == "loaded" and node.name in places:
                    assert node.path == places[node.name], library
            asked += 1
    assert asked > 20


def test_it_has_the_versions_that_readelf_shows(copy: Target) -> None:
    here = this()
    for name in ("libc.so.6", "libm.so.6", "libz.so.1"):
        found = here.find(copy.given[name].path)
        assert found is not None
        assert found.file is not None
        assert copy.given[name].versions == versions_of(found.file)


def test_it_has_every_library_that_ldconfig_lists(copy: Target) -> None:
    """ldconfig -p, as far as it is for this machine's own CPU and not for a special one."""
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True)
    names = {
        line.split()[0]
        for line in listed.stdout.splitlines()
        if "(libc6,x86-64)" in line and " => /" in line
    }
    here = this()
    missing = set()
    for name in names - copy.given.keys():
        path = next(
            line.split(" => ")[1] for line in listed.stdout.splitlines() if f"\t{name} " in line
        )
        found = here.find(path)
        if found is not None and here.read(found).soname == name:
            missing.add(name)
    assert here.target.cpu != "x86_64" or names
    assert not missing


def test_the_folders_of_ld_so_conf_with_all_that_it_includes(tmp_path: Path) -> None:
    (tmp_path / "etc/conf.d").mkdir(parents=True)
    (tmp_path / "etc/ld.so.conf").write_text(
        "/opt/first # a comment\ninclude conf.d/*.conf\n/opt/last\nhwcap 1 nosegneg\n"
    )
    (tmp_path / "etc/conf.d/b.conf").write_text("/opt/b/\n\n")
    (tmp_path / "etc/conf.d/a.conf").write_text("/opt/a=libc6\ninclude /etc/ld.so.conf\n")
    (tmp_path / "etc/conf.d/c.txt").write_text("/opt/c\n")
    target = Target(
        name="x",
        title="x",
        os="linux",
        cpu="x86_64",
        bits=64,
        endian="little",
        loader="glibc",
        version=(2, 36),
        default_paths=("/lib64",),
    )
    folders = search_folders(RootSystem(tmp_path, target))
    assert folders == ("/opt/first", "/opt/a", "/opt/b", "/opt/last", "/lib64")
