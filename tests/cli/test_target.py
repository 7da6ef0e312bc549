"""``libferry target``: what is known, what one target is, and recording a machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from libferry.target import file, list_targets, this
from tests.cli.conftest import ferry


def test_all_targets_are_listed_with_a_title() -> None:
    listed = ferry("target", "list")
    lines = listed.out.splitlines()
    assert [line.split()[0] for line in lines] == list(list_targets())
    assert all(len(line.split()) > 1 for line in lines)


def test_words_choose() -> None:
    chosen = ferry("target", "list", "KYLIN", "arm64")
    assert "kylin-v10-server-arm64" in chosen.out
    assert "amd64" not in chosen.out
    assert ferry("target", "list", "nothing like this").code == 1


def test_one_is_shown_with_its_sources() -> None:
    shown = ferry("target", "show", "kylin-v10-server-arm64")
    assert "pages" in shown.out
    assert "65536 bytes" in shown.out
    assert "rustfs/rustfs/issues/3276" in shown.out
    assert "/lib64/libc.so.6  ... GLIBC_2.26 GLIBC_2.27 GLIBC_2.28" in shown.out


def test_json_is_the_same() -> None:
    said = json.loads(ferry("target", "show", "alpine-3.22-amd64+x86-64-v3", "--json").out)
    assert said["version"] == "1.2.5"
    assert "x86-64-v3" in said["isa"]
    assert "reallocarray" in said["given"]["ld-musl-x86_64.so.1"]["exports"]
    assert ferry("target", "list", "--json").out.startswith("[")


def test_a_misspelled_name_gets_a_hint() -> None:
    failed = ferry("target", "show", "debian-12-amd46")
    assert failed.code == 2
    assert "near matches: debian-12-amd64" in failed.err


def test_a_machine_is_described_as_a_file_that_can_be_shown(tmp_path: Path) -> None:
    written = ferry("target", "describe")
    (tmp_path / "box.toml").write_text(written.out)
    described = file.load(tmp_path / "box.toml")
    assert described.version == this().target.version
    assert ferry("target", "show", str(tmp_path / "box.toml")).code == 0


@pytest.mark.needs(
    "/usr/aarch64-linux-gnu/lib/libc.so.6", install="apt-get install libc6-arm64-cross"
)
def test_a_root_folder_is_described_without_running_it(tmp_path: Path) -> None:
    written = ferry("target", "describe", "--sysroot", "/usr/aarch64-linux-gnu")
    (tmp_path / "arm.toml").write_text(written.out)
    described = file.load(tmp_path / "arm.toml")
    assert (described.cpu, described.loader) == ("aarch64", "glibc")
    assert "GLIBC_2.17" in (described.given["libc.so.6"].versions or ())


def test_a_folder_that_is_no_root_is_an_error(tmp_path: Path) -> None:
    failed = ferry("target", "describe", "--sysroot", str(tmp_path))
    assert failed.code == 2
    assert "loader" in failed.err
