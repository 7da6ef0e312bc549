"""Profiles: what is read, what is inherited, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from libferry.errors import DeclarationError
from libferry.sandbox import Profile, read_profile
from libferry.sandbox.profile import shipped


def written(folder: Path, text: str, name: str = "mine.toml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_the_profiles_that_come_with_libferry_are_read_by_name() -> None:
    names = ["files-read", "files-write", "network-client", "network-server", "pure"]
    assert shipped() == names
    for name in names:
        assert read_profile(name).description.endswith(".")


def test_pure_has_neither_network_nor_processes_nor_code() -> None:
    pure = read_profile("pure")
    assert (pure.network, pure.processes, pure.code, pure.write) == (
        False,
        False,
        False,
        ("/dev/null",),
    )


def test_a_profile_adds_to_what_it_inherits(tmp_path: Path) -> None:
    text = """
        inherits = "pure"
        environment = ["HOME"]
        [files]
        read = ["/data"]
        [limits]
        memory = "1 GiB"
    """
    mine = read_profile(written(tmp_path, text))
    pure = read_profile("pure")
    assert mine.read == (*pure.read, "/data")
    assert mine.environment == (*pure.environment, "HOME")
    assert mine.limits == {**pure.limits, "memory": 1 << 30}
    assert mine.name == "mine"


def test_what_was_refused_may_be_allowed_by_who_inherits(tmp_path: Path) -> None:
    text = 'inherits = "pure"\n[syscalls]\nallow = ["mbind"]\nrefuse = {getcwd = "ENOENT"}'
    mine = read_profile(written(tmp_path, text))
    assert "mbind" not in mine.refuse
    assert "getcwd" not in mine.allow


def test_paths_are_counted_from_the_profiles_folder(tmp_path: Path) -> None:
    mine = read_profile(written(tmp_path, '[files]\nread = ["data", "~/x", "$LIBRARY/y", "/z"]'))
    assert mine.read == (str(tmp_path / "data"), "~/x", "$LIBRARY/y", "/z")


def test_limits_have_units(tmp_path: Path) -> None:
    text = '[limits]\nmemory = "2 MiB"\ncpu = "2 min"\nfiles = 5\nfile-size = 4096'
    limits = read_profile(written(tmp_path, text)).limits
    assert limits == {"memory": 2 << 20, "cpu": 120, "files": 5, "file-size": 4096}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inherit = 'pure'", "near matches: inherits"),
        ("[files]\nreads = []", "near matches: read"),
        ("[files]\nread = '/etc'", "give a list"),
        ("[files]\nread = [5]", "files and folders"),
        ("[network]\nconnect = [70000]", "65535"),
        ("[network]\nconnect = [true]", "65535"),
        ("[limits]\nmemory = '5 apples'", "GiB"),
        ("[limits]\nmemory = -5", "GiB"),
        ("processes = 1", "true or false"),
        ("[syscalls]\nallow = ['open(9 == 1)']", "getpid"),
        ("[syscalls.refuse]\nopen = 'EVIL'", "error that the call fails with"),
        ("environment = ['A=b']", "give names"),
        ("inherits = 'nothing'", "there are files-read"),
        ("inherits = 'pur'", "near matches: pure"),
        ("a b", "docs/sandbox.md"),
    ],
)
def test_what_means_nothing_is_refused_with_a_hint(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        read_profile(written(tmp_path, text))
    assert message in caught.value.hint


def test_profiles_that_inherit_each_other_are_refused(tmp_path: Path) -> None:
    written(tmp_path, "inherits = './b.toml'", "a.toml")
    written(tmp_path, "inherits = './a.toml'", "b.toml")
    with pytest.raises(DeclarationError, match="circle"):
        read_profile(tmp_path / "a.toml")


def test_a_profile_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="No such file"):
        read_profile(tmp_path / "none.toml")


def test_a_profile_can_be_made_by_hand() -> None:
    made = read_profile("pure").adding(Profile("mine", read=("/data",)))
    assert "/data" in read_profile(made).read


@pytest.mark.parametrize(
    "made",
    [
        Profile("mine", read=("a\0b",)),
        Profile("mine", allow=("open(",)),
        Profile("mine", connect=(0,)),
        Profile("mine", limits={"memories": 5}),
        Profile("mine", limits={"memory": -5}),
        Profile("mine", environment=("A=b",)),
        Profile("mine", refuse={"getcwd": "NO"}),
    ],
)
def test_a_profile_that_is_made_by_hand_is_checked_like_a_file(made: Profile) -> None:
    with pytest.raises(DeclarationError):
        read_profile(made)
