"""A target in a TOML file: what is written is read again, and a mistake names its key."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libferry.errors import TargetError
from libferry.target import Given, Target, file, list_targets, system_for, target_for

BOX = """
os = "linux"
cpu = "aarch64"
loader = "glibc"
version = "2.28"
default_paths = ["/lib64", "/usr/lib64"]

[given."libz.so.1"]
path = "/lib64/libz.so.1"
versions = ["ZLIB_1.2.9"]
"""


def test_what_follows_from_the_cpu_is_filled_in(tmp_path: Path) -> None:
    (tmp_path / "box.toml").write_text(BOX)
    target = target_for(str(tmp_path / "box.toml"))
    assert (target.name, target.bits, target.endian) == ("box", 64, "little")
    assert (target.interpreter, target.lib) == ("/lib/ld-linux-aarch64.so.1", "lib64")
    found = system_for(str(tmp_path / "box.toml")).find("/lib64/libz.so.1")
    assert found is not None
    assert found.given is not None
    assert found.given.versions == frozenset(["ZLIB_1.2.9"])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (BOX.replace("cpu", "cpo"), "cpo means nothing"),
        (BOX.replace('"2.28"', "2.28"), "version is 2.28"),
        (BOX.replace('"2.28"', '"2.x"'), "version is '2.x'"),
        (BOX.replace('"glibc"', '"glibcc"'), "loader is 'glibcc'"),
        (BOX.replace('version = "2.28"', ""), "version is missing"),
        (BOX.replace('path = "/lib64/libz.so.1"', ""), 'given."libz.so.1".path is missing'),
        (BOX.replace('["ZLIB_1.2.9"]', "[1]"), 'given."libz.so.1".versions has 1'),
        (BOX.replace('["/lib64", "/usr/lib64"]', '"/lib64"'), "default_paths is '/lib64'"),
        ("page_size = 5000\n" + BOX, "page_size is 5000"),
        ("bits = 33\n" + BOX, "bits is 33"),
        (BOX.replace("aarch64", "abacus"), "bits is missing"),
        (BOX + "\n[sources]\nx = 1", "sources.x is 1"),
        ("= nonsense", "not TOML"),
        ("a = " + "[" * 9000, "not TOML"),
    ],
)
def test_a_mistake_names_its_key(tmp_path: Path, wrong: str, says: str) -> None:
    (tmp_path / "box.toml").write_text(wrong)
    with pytest.raises(TargetError) as error:
        file.load(tmp_path / "box.toml")
    assert says in str(error.value)
    assert error.value.hint


@pytest.mark.parametrize("name", ["kylin-v10-server-arm64", "alpine-3.22-loong64", "this"])
def test_what_is_written_is_read_again(tmp_path: Path, name: str) -> None:
    assert name in list_targets()
    target = target_for(name)
    (tmp_path / "copy.toml").write_text(file.dump(target))
    assert file.load(tmp_path / "copy.toml") == target


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=20), name=st.text(max_size=10))
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, text: str, name: str) -> None:
    target = Target(
        name=text,
        title=text,
        os="linux",
        cpu="x86_64",
        bits=64,
        endian="little",
        loader="glibc",
        version=(2, 28),
        interpreter=name,
        given={
            name: Given(name.rpartition("/")[2], text, frozenset([text]), frozenset([name]), text)
        },
        facts={name: {text: [1, True, text]}},
        sources={name: text},
    )
    path = tmp_path_factory.mktemp("any") / "x.toml"
    path.write_text(file.dump(target), encoding="utf-8", newline="")
    assert file.load(path) == target


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=200) | st.text(alphabet='ab="[]{}.\n1', max_size=80).map(str.encode))
def test_any_bytes_are_a_target_or_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "x.toml"
    path.write_bytes(raw)
    with pytest.raises(TargetError):
        file.load(path)
