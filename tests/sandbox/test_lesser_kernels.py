"""Kernels and machines that have less: the load works, holds what it can, and says so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from libferry import _core
from libferry.errors import LibraryCrashed, SandboxUnavailable, SandboxViolation
from libferry.sandbox import confine, libseccomp, seccomp
from tests.sandbox import library as made


def sandboxed(**options: Any) -> Any:
    return made.sandboxed(**options)


ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.needs("ziglang", install="pip install ziglang"),
    pytest.mark.needs("libseccomp.so.2", install="apt-get install libseccomp2"),
]


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make the kernel answer that it has less than it has."""
    true = _core.kernel()

    def answer(**less: object) -> None:
        monkeypatch.setattr(_core, "kernel", lambda: true | less)

    return answer


def test_without_notification_a_forbidden_call_traps_and_is_named(lacking: Any) -> None:
    lacking(user_notification=False)
    with sandboxed() as lib:
        assert lib.add(2, 3) == 5
        assert [layer.name for layer in lib.sandbox.missing][:1] == ["seccomp notification"]
        with pytest.raises(SandboxViolation, match="socket of AF_INET, SOCK_STREAM") as caught:
            lib.connect_to("127.0.0.1", 80)
    assert caught.value.allow == '[network] connect = ["any"]'


@pytest.mark.needs(
    "/usr/aarch64-linux-gnu", install="apt-get install qemu-user-static libc6-arm64-cross"
)
def test_without_notification_an_emulator_is_killed_and_nobody_says_for_what(lacking: Any) -> None:
    lacking(user_notification=False)
    with sandboxed(abi="aarch64-aapcs64", timeout=30) as lib:
        assert lib.add(2, 3) == 5
        with pytest.raises(SandboxViolation, match="a system call that it made") as caught:
            lib.connect_to("127.0.0.1", 80)
    assert (caught.value.syscall, caught.value.allow) == ("", "")
    assert "strace" in caught.value.hint


def test_without_notification_files_are_kept_out_of_reach_all_the_same(lacking: Any) -> None:
    lacking(user_notification=False)
    with sandboxed() as lib:
        assert lib.open_file("/etc/passwd", os.O_RDONLY) == -2  # ENOENT: its root has none


def test_without_namespaces_landlock_keeps_files_out_of_reach(lacking: Any) -> None:
    lacking(user_notification=False, namespaces=[])
    with sandboxed() as lib:
        assert lib.add(2, 3) == 5
        assert lib.open_file("/etc/passwd", os.O_RDONLY) == -13  # EACCES
        assert lib.year() >= 2024
        missing = {layer.name for layer in lib.sandbox.missing}
    assert {"mount namespace", "network namespace", "pid namespace"} <= missing


def test_without_namespaces_violations_are_still_told(lacking: Any) -> None:
    lacking(namespaces=[])
    with sandboxed() as lib:
        assert lib.threads(2) == 2
        assert lib.raises(0) == 0
        with pytest.raises(SandboxViolation, match="kill of process"):
            lib.call(62, os.getpid(), 0, 0, 0, 0, 0)


def test_nobody_else_is_signalled_where_nothing_can_be_looked_at(lacking: Any) -> None:
    lacking(user_notification=False, namespaces=[])
    with sandboxed() as lib, pytest.raises(SandboxViolation, match="kill of process"):
        lib.call(62, os.getpid(), 0, 0, 0, 0, 0)


@pytest.mark.parametrize("abi", [0, 1, 2, 3, 4, 5, 6])
def test_every_abi_of_landlock_is_asked_for_what_it_has(lacking: Any, abi: int) -> None:
    lacking(landlock=abi)
    with sandboxed() as lib:
        assert lib.add(2, 3) == 5
        with pytest.raises(SandboxViolation):
            lib.open_file("/etc/passwd", os.O_RDONLY)


def test_a_kernel_of_2018_has_a_filter_and_namespaces(lacking: Any) -> None:
    """Linux 4.19: no Landlock, no notification."""
    lacking(landlock=0, user_notification=False)
    with sandboxed() as lib:
        assert lib.add(2, 3) == 5
        assert lib.open_file("/etc/passwd", os.O_RDONLY) == -2
        with pytest.raises(LibraryCrashed):
            lib.forks()


def test_what_is_required_and_missing_is_no_load_at_all(lacking: Any) -> None:
    lacking(landlock=0)
    with pytest.raises(SandboxUnavailable, match="landlock"):
        sandboxed(require=["landlock"])
    sandboxed(require=["seccomp", "network namespace"]).close()


def test_without_seccomp_there_is_no_sandbox(lacking: Any) -> None:
    lacking(seccomp=False)
    with pytest.raises(SandboxUnavailable, match="seccomp"):
        sandboxed()


def test_without_libseccomp_there_is_no_sandbox_and_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    seccomp._compiled.cache_clear()
    libseccomp._library.cache_clear()
    monkeypatch.setattr(libseccomp, "SONAME", "libseccomp.so.0")
    with pytest.raises(SandboxUnavailable) as caught:
        sandboxed()
    assert "libseccomp2" in caught.value.hint


def test_a_step_that_this_system_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say, one that a security module forbids; here, an option that no /proc has."""
    monkeypatch.setattr(confine, "proc_options", lambda: "no-such-option")
    with pytest.raises(SandboxUnavailable, match="PROC"):
        sandboxed()


def test_a_container_that_hides_parts_of_proc_gives_one_with_processes_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for options in ("subset=pid", None):
        monkeypatch.setattr(confine, "proc_options", lambda options=options: options)
        with sandboxed() as lib:
            assert lib.add(2, 3) == 5
            assert lib.open_file("/proc/meminfo", os.O_RDONLY) == -2


AS_NOBODY = """
import os, sys
sys.path[:0] = [{root!r}, {source!r}]
import libferry as ferry
from libferry.errors import SandboxViolation
from tests.sandbox.library import HEADER
lib = ferry.load({library!r}, header=HEADER, isolation="sandbox")
print(os.getuid(), lib.add(2, 3), lib.threads(3), [layer.name for layer in lib.sandbox.missing])
try:
    lib.open_file("/etc/hosts", 0)
except SandboxViolation as error:
    print(error.allow)
"""


@pytest.mark.needs("setpriv", install="apt-get install util-linux")
@pytest.mark.skipif(os.getuid() != 0, reason="this user is no other user")
def test_an_ordinary_user_has_every_layer_of_this_machine() -> None:
    with sandboxed() as lib:
        missing = {layer.name for layer in lib.sandbox.missing} - {"thread limit"}
    folder = Path("/tmp") / f"libferry-nobody-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        copy = shutil.copy(made.library(), folder / "lib.so")
        script = AS_NOBODY.format(root=str(ROOT), source=str(ROOT / "src"), library=str(copy))
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]
        done = subprocess.run(
            [*command, sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd="/",
        )
    finally:
        shutil.rmtree(folder)
    if "PermissionError" in done.stderr or "No module named" in done.stderr:
        pytest.skip("the checkout or its Python is not open to other users: chmod o+rx")
    words, allow = done.stdout.splitlines()
    assert words == f"65534 5 3 {sorted(missing)}" or (not missing and words == "65534 5 3 []")
    assert allow == '[files] read = ["/etc/hosts"]'
