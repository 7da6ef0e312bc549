"""A library in a sandbox: what works, what is forbidden, and how that is told."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import libferry as ferry
from libferry.errors import (
    ArgumentTypeError,
    DeclarationError,
    LibraryCrashed,
    SandboxUnavailable,
    SandboxViolation,
)
from libferry.sandbox import Profile, read_profile
from tests.sandbox.library import HEADER, library, sandboxed

pytestmark = [
    pytest.mark.needs("ziglang", install="pip install ziglang"),
    pytest.mark.needs("libseccomp.so.2", install="apt-get install libseccomp2"),
]

_ARM64 = "apt-get install qemu-user-static libc6-arm64-cross"
ABIS = [
    "x86_64-sysv",
    pytest.param(
        "i386-sysv",
        marks=pytest.mark.needs("/lib/ld-linux.so.2", install="apt-get install libc6-i386"),
    ),
    pytest.param(
        "aarch64-aapcs64", marks=pytest.mark.needs("/usr/aarch64-linux-gnu", install=_ARM64)
    ),
]


def adding(**more: object) -> Profile:
    """``pure`` and something more."""
    return read_profile("pure").adding(Profile("mine", **more))  # type: ignore[arg-type]


def violation(caught: pytest.ExceptionInfo[SandboxViolation]) -> tuple[str, str | None, str]:
    return caught.value.syscall, caught.value.path, caught.value.allow


# ---- what works ----


@pytest.mark.parametrize("abi", ABIS)
def test_a_library_that_computes_notices_nothing(abi: str) -> None:
    with sandboxed(abi=abi) as lib:
        assert lib.isolation == "sandbox"
        assert lib.add(2, 3) == 5
        assert lib.threads(4) == 4
        assert lib.year() >= 2024
        assert lib.grab(100) == 1


def test_a_callback_leads_out_of_the_sandbox_and_back() -> None:
    header = "void qsort(void *, size_t, size_t, int (*)(const int *, const int *));"
    with ferry.load("libc.so.6", header=header, isolation="sandbox") as libc:
        numbers = libc.new("int[3]", [3, 1, 2])
        libc.qsort(numbers, 3, 4, lambda a, b: a.value - b.value)
        assert list(numbers) == [1, 2, 3]


def test_a_signal_to_itself_is_its_own_business(pure: ferry.Library) -> None:
    assert pure.raises(signal.SIGCHLD) == 0


# ---- what is forbidden ----


@pytest.mark.parametrize("abi", ABIS)
def test_opening_a_file_is_told_with_its_path_and_the_line_that_allows_it(abi: str) -> None:
    with sandboxed(abi=abi) as lib:
        with pytest.raises(SandboxViolation, match="openat of '/etc/hosts'") as caught:
            lib.open_file("/etc/hosts", os.O_RDONLY)
        assert violation(caught) == ("openat", "/etc/hosts", '[files] read = ["/etc/hosts"]')
        assert '[files] read = ["/etc/hosts"]' in caught.value.hint
        assert isinstance(caught.value, LibraryCrashed)


def test_a_file_that_is_written_to_has_a_line_of_its_own(
    pure: ferry.Library, tmp_path: Path
) -> None:
    with pytest.raises(SandboxViolation) as caught:
        pure.write_all(str(tmp_path / "new"), "text")
    assert caught.value.allow == f'[files] write = ["{tmp_path}"]'
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("abi", ABIS)
def test_a_socket_is_told(abi: str) -> None:
    with sandboxed(abi=abi) as lib, pytest.raises(SandboxViolation) as caught:
        lib.connect_to("127.0.0.1", 8080)
    assert caught.value.syscall in ("socket", "socketcall")
    assert caught.value.allow == '[network] connect = ["any"]'


@pytest.mark.parametrize("abi", ABIS)
def test_a_process_is_told(abi: str) -> None:
    with sandboxed(abi=abi) as lib, pytest.raises(SandboxViolation) as caught:
        lib.forks()
    assert caught.value.allow == "processes = true"


@pytest.mark.parametrize("abi", ABIS[:2])
def test_executable_memory_is_told(abi: str) -> None:
    with sandboxed(abi=abi) as lib, pytest.raises(SandboxViolation) as caught:
        lib.makes_code()
    assert caught.value.allow == "code = true"


def test_an_end_that_is_no_violation_stays_a_crash(pure: ferry.Library) -> None:
    os.kill(pure.pid, signal.SIGKILL)
    with pytest.raises(LibraryCrashed) as caught:
        pure.add(1, 2)
    assert not isinstance(caught.value, SandboxViolation)


# ---- the lines, when they are followed ----


def test_a_file_that_is_listed_is_read_and_its_neighbour_is_not(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("yes")
    (tmp_path / "b").write_text("no")
    with sandboxed(adding(read=(str(tmp_path / "a"),))) as lib:
        room = lib.buffer(10)
        assert lib.read_all(str(tmp_path / "a"), room, 10) == 3
        with pytest.raises(SandboxViolation, match="/b'"):
            lib.read_all(str(tmp_path / "b"), room, 10)


def test_a_folder_that_is_listed_is_written_to(tmp_path: Path) -> None:
    with sandboxed(adding(write=(str(tmp_path),))) as lib:
        assert lib.write_all(str(tmp_path / "new"), "text") == 4
    assert (tmp_path / "new").read_text() == "text"


def test_what_is_absent_is_not_there_and_may_be_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("yes")
    with sandboxed(adding(absent=(str(tmp_path),))) as lib:
        assert lib.open_file(str(tmp_path / "a"), os.O_RDONLY) < 0


def test_processes_and_code_may_be_allowed() -> None:
    with sandboxed(adding(processes=True)) as lib:
        assert lib.forks() == 7
    with sandboxed(adding(code=True)) as lib:
        assert lib.makes_code() == 1


@pytest.fixture
def server() -> Iterator[int]:
    """A TCP port of this machine that answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_a_client_connects_and_does_not_listen(server: int) -> None:
    with sandboxed("network-client") as lib:
        assert lib.connect_to("127.0.0.1", server) == 0
        with pytest.raises(SandboxViolation) as caught:
            lib.listen_on(server)
    assert violation(caught) == (
        "bind",
        f"127.0.0.1:{server}",
        f"[network] listen = [{server}]",
    )


@pytest.mark.parametrize("abi", ABIS)
def test_a_client_of_any_kind_connects_and_says_what_does_not_hold(abi: str, server: int) -> None:
    with sandboxed("network-client", abi) as lib:
        assert lib.connect_to("127.0.0.1", server) == 0
        assert lib.sandbox is not None
        missing = {layer.name for layer in lib.sandbox.missing}
    assert ("socket kinds" in missing) == (abi == "i386-sysv")
    assert ("landlock network" in missing) == (abi == "i386-sysv")


def test_a_server_listens_and_does_not_connect(server: int) -> None:
    with sandboxed("network-server") as lib:
        assert lib.listen_on(0) == 0
        with pytest.raises(SandboxViolation, match=rf"connect to 127\.0\.0\.1:{server}") as caught:
            lib.connect_to("127.0.0.1", server)
    assert caught.value.allow == f"[network] connect = [{server}]"


def test_a_port_that_is_listed_is_connected_to_and_no_other(server: int) -> None:
    with sandboxed(adding(connect=(server,))) as lib:
        assert lib.connect_to("127.0.0.1", server) == 0
        with pytest.raises(SandboxViolation, match=r"connect to 127\.0\.0\.1:9"):
            lib.connect_to("127.0.0.1", 9)
    with sandboxed(adding(listen=(server,))) as lib, pytest.raises(SandboxViolation) as caught:
        lib.listen_on(9)
    assert caught.value.allow == "[network] listen = [9]"


def test_a_profile_file_is_named_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("yes")
    file = tmp_path / "mine.toml"
    file.write_text('inherits = "pure"\n[files]\nread = ["data"]\n')
    with sandboxed(file) as lib:
        assert lib.read_all(str(tmp_path / "data"), lib.buffer(10), 10) == 3
        assert lib.sandbox is not None
        assert lib.sandbox.profile.name == "mine"


def test_a_contract_adds_to_the_profile(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("yes")
    file = tmp_path / "contract.toml"
    file.write_text('[sandbox.files]\nread = ["data"]\n')
    with sandboxed(contract=file) as lib:
        assert lib.read_all(str(tmp_path / "data"), lib.buffer(10), 10) == 3
        assert lib.sandbox is not None
        assert lib.sandbox.profile.name == "pure"
    file.write_text("[sandbox.files]\nreed = []\n")
    with pytest.raises(DeclarationError, match=r"files\.reed"):
        sandboxed(contract=file)


# ---- limits, environment, descriptors ----


def test_memory_is_limited_beside_the_arena() -> None:
    with sandboxed(adding(limits={"memory": 256 << 20}), arena=64 << 20) as lib:
        assert lib.grab(100) == 1
        assert lib.grab(300) == -12  # ENOMEM


def test_only_named_variables_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("LD_PRELOAD", "")
    with sandboxed() as lib:
        getenv = lib.function("const char *look_up(const char *)", symbol="variable")
        assert getenv("SECRET_TOKEN") is None
        assert getenv("LD_PRELOAD") is None
        assert getenv("LANG") == "C.UTF-8"
    with sandboxed(adding(environment=("SECRET_TOKEN",))) as lib:
        getenv = lib.function("const char *look_up(const char *)", symbol="variable")
        assert getenv("SECRET_TOKEN") == "x"


def test_no_descriptor_of_this_process_reaches_the_worker(pure: ferry.Library) -> None:
    with open(os.devnull) as file:
        os.set_inheritable(file.fileno(), True)
        with sandboxed() as lib:
            table = Path(f"/proc/{lib.pid}/fd")
            leads = {os.readlink(entry) for entry in table.iterdir()}
    # the pipe is its standard error, which we read
    assert {lead.split(":")[0] for lead in leads} <= {"/dev/null", "socket", "pipe"}
    assert sum(lead.startswith("pipe") for lead in leads) == 1


# ---- what it is made of ----


def test_the_layers_are_the_kernels_own_account(pure: ferry.Library) -> None:
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pure.pid}/status").read_text().splitlines()
    )
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"  # a filter
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert pure.sandbox is not None
    layers = {layer.name for layer in pure.sandbox.in_force}
    spaces = {"mount": "mnt", "pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts"}
    for name, file in spaces.items():
        own = os.readlink(f"/proc/self/ns/{file}")
        theirs = os.readlink(f"/proc/{pure.pid}/ns/{file}")
        assert (own != theirs) == (f"{name} namespace" in layers)


def test_a_library_without_a_sandbox_has_no_layers() -> None:
    with ferry.load(library(), header=HEADER) as lib:
        assert lib.sandbox is None


@pytest.mark.needs(
    "/usr/lib/x86_64-linux-gnu/wine/x86_64-windows/msvcrt.dll", install="apt-get install wine64"
)
def test_a_windows_library_is_refused_because_wines_server_is_outside() -> None:
    with pytest.raises(SandboxUnavailable, match="Wine's server"):
        ferry.load("msvcrt.dll", isolation="sandbox")


def test_a_profile_without_a_sandbox_would_promise_what_nobody_keeps() -> None:
    with pytest.raises(ArgumentTypeError, match="profile"):
        ferry.load("libc.so.6", profile="pure")
    with pytest.raises(ArgumentTypeError, match="requires layers"):
        ferry.load("libc.so.6", isolation="worker", require="all")
