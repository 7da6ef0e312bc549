"""Learning: a workload runs once, and its profile lets it run again."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from libferry.errors import SandboxViolation
from libferry.sandbox import learning, read_profile
from libferry.sandbox.acts import Grant
from tests.sandbox.library import HEADER, library, sandboxed

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.needs("ziglang", install="pip install ziglang"),
    pytest.mark.needs("libseccomp.so.2", install="apt-get install libseccomp2"),
]

WORKLOAD = """
import sys
import libferry as ferry
lib = ferry.load({library!r}, header={header!r}, isolation="sandbox", profile=sys.argv[1])
room = lib.buffer(16)
assert lib.add(2, 3) == 5
assert lib.threads(2) == 2
assert lib.read_all({data!r}, room, 16) == 4
assert lib.write_all({new!r}, "text") == 4
assert lib.connect_to("127.0.0.1", {port}) == 0
assert lib.forks() == 7
assert lib.raises(0) == 0
{last}
"""


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{ROOT / 'src'}{os.pathsep}{ROOT}"
    return subprocess.run(
        [sys.executable, *command],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=folder,
    )


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("last", ["lib.close()", "pass"], ids=["closed", "left open"])
def test_what_was_learnt_lets_the_workload_run_again(tmp_path: Path, port: int, last: str) -> None:
    (tmp_path / "out").mkdir()
    data = tmp_path / "data"
    data.write_text("data")
    workload = tmp_path / "workload.py"
    workload.write_text(
        WORKLOAD.format(
            library=str(library()),
            header=HEADER,
            data=str(data),
            new=str(tmp_path / "out" / "new"),
            port=port,
            last=last,
        )
    )
    profile = tmp_path / "learnt.toml"
    learn = ("-m", "libferry", "learn", "-o", str(profile), "--", sys.executable)
    learnt = run(*learn, str(workload), str(profile), folder=tmp_path)
    assert learnt.returncode == 0, learnt.stderr
    assert "NOT confined" in learnt.stderr
    assert tomllib.loads(profile.read_text()) == {
        "description": "Learnt from what lib.so did.",
        "inherits": "pure",
        "processes": True,
        "files": {"read": [str(data)], "write": [str(tmp_path / "out")]},
        "network": {"connect": [port]},
    }
    (tmp_path / "out" / "new").unlink()
    again = run(str(workload), str(profile), folder=tmp_path)
    assert again.returncode == 0, again.stderr
    before = run(str(workload), "pure", folder=tmp_path)
    assert "SandboxViolation" in before.stderr


def test_a_command_that_loads_nothing_teaches_nothing(tmp_path: Path) -> None:
    ran = run("-m", "libferry", "learn", "--", sys.executable, "-c", "pass", folder=tmp_path)
    assert ran.returncode == 1
    assert "isolation='sandbox'" in ran.stderr


def test_the_same_acts_give_the_same_text() -> None:
    grants = [
        Grant("syscalls", "allow", "getxattr"),
        Grant("files", "read", "/b"),
        Grant("files", "read", "/a"),
        Grant("", "code", True),
        Grant("network", "connect", "any"),
        Grant("network", "connect", 80),
        Grant("network", "datagrams", True),
    ]
    text = learning.profile_text(grants, ["/x/liba.so"])
    assert text == learning.profile_text(reversed(grants), ["/x/liba.so"])
    assert text.splitlines() == [
        'description = "Learnt from what liba.so did."',
        'inherits = "pure"',
        "code = true",
        "",
        "[files]",
        "read = [",
        '    "/a",',
        '    "/b",',
        "]",
        "",
        "[network]",
        "connect = [",
        "    80,",
        "]",
        "datagrams = true",
        "",
        "[syscalls]",
        "allow = [",
        '    "getxattr",',
        "]",
    ]


def files(**lists: list[str]) -> dict[str, object]:
    grants = [Grant("files", key, path) for key, paths in lists.items() for path in paths]
    text = learning.profile_text(grants, [])
    found: dict[str, object] = tomllib.loads(text)["files"]
    return found


def test_several_files_of_a_folder_stay_files_and_many_become_the_folder() -> None:
    several = [f"/data/{n}" for n in range(learning.SEVERAL)]
    assert files(read=several) == {"read": sorted(several)}
    assert files(read=[*several, "/data/last"]) == {"read": ["/data"]}


def test_what_a_folder_has_is_not_listed_again() -> None:
    assert files(read=["/data", "/data/a/b", "/database"]) == {"read": ["/data", "/database"]}
    assert files(read=["/out/a", "/in"], write=["/out"]) == {"read": ["/in"], "write": ["/out"]}


def test_names_with_quotes_and_line_ends_survive(tmp_path: Path) -> None:
    name = '/a "b"\n\\c\x7fü'
    text = learning.profile_text([Grant("files", "read", name)], ["x"])
    file = tmp_path / "learnt.toml"
    file.write_text(text)
    assert name in read_profile(file).read


def test_a_learnt_load_is_reported_as_not_confined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(learning.VARIABLE, str(tmp_path))
    with pytest.warns(RuntimeWarning, match="NOT confined"):
        lib = sandboxed()
    with lib:
        assert lib.open_file("/etc/passwd", os.O_RDONLY) >= 0
        assert lib.sandbox is not None
        assert lib.sandbox.learning
        assert "seccomp" not in {layer.name for layer in lib.sandbox.in_force}
    grants, libraries = learning.collect(tmp_path)
    assert Grant("files", "read", "/etc/passwd") in grants
    assert libraries == ["lib.so"]
    monkeypatch.delenv(learning.VARIABLE)
    with sandboxed() as lib, pytest.raises(SandboxViolation):
        lib.open_file("/etc/passwd", os.O_RDONLY)
