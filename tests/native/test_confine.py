"""Plans: what the kernel says of a child that was confined by one."""

from __future__ import annotations

import errno
import os
import platform
import resource
import struct
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from libferry import _core
from libferry.sandbox import libseccomp

from . import plans
from .plans import NEW_LISTENER, USER_NOTIF, landlock, limit, new_root, seccomp, step
from .test_spawn import SHELL, children, run

ROOT = Path(__file__).parents[2]
EXECVE = {"x86_64": 59, "aarch64": 221}[platform.machine()]
UNAME = {"x86_64": 63, "aarch64": 160}[platform.machine()]
SYSTEM = [folder for folder in ("/usr", "/bin", "/lib", "/lib64") if os.path.isdir(folder)]
EVERYTHING = plans.NEWUSER | plans.NEWNS | plans.NEWPID | plans.NEWNET | plans.NEWIPC | plans.NEWUTS


def has(*names: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    kernel = _core.kernel()
    lacking = [name for name in names if name not in kernel["namespaces"]]
    return pytest.mark.skipif(bool(lacking), reason=f"this kernel gives us no namespace: {lacking}")


has_landlock = pytest.mark.skipif(not _core.kernel()["landlock"], reason="no Landlock here")
has_notification = pytest.mark.skipif(
    not _core.kernel()["user_notification"], reason="no seccomp user notification here"
)


def status_of(said: str) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (s.partition(":") for s in said.splitlines())}


def test_no_new_privileges() -> None:
    _, said = run("cat /proc/self/status", plan=step("NO_NEW_PRIVS"))
    assert status_of(said)["NoNewPrivs"] == "1"


def test_no_capability_is_left_nor_comes_back() -> None:
    _, said = run("cat /proc/self/status", plan=step("DROP_CAPABILITIES"))
    status = status_of(said)
    sets = ["CapInh", "CapPrm", "CapEff", "CapAmb"] + ["CapBnd"] * (os.geteuid() == 0)
    assert {name: int(status[name], 16) for name in sets} == dict.fromkeys(sets, 0)


@has("user")
def test_no_capability_is_left_of_a_user_namespace() -> None:
    plan = plans.namespaces(plans.NEWUSER) + step("DROP_CAPABILITIES")
    _, said = run("cat /proc/self/status", plan=plan)
    status = status_of(said)
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"):
        assert int(status[name], 16) == 0
    assert status["Uid"].split() == [str(os.getuid())] * 4


def test_limits() -> None:
    plan = limit(resource.RLIMIT_NOFILE, 32, 64) + limit(resource.RLIMIT_CPU, 5, 6)
    _, said = run("cat /proc/self/limits", plan=plan)
    limits = {line[:26].strip(): line[26:].split()[:2] for line in said.splitlines()}
    assert limits["Max open files"] == ["32", "64"]
    assert limits["Max cpu time"] == ["5", "6"]


@has("user", "mount", "pid", "net", "ipc", "uts")
def test_namespaces_are_others_than_ours() -> None:
    names = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")
    links = " ".join(f"/proc/self/ns/{name}" for name in names)
    _, said = run(f"readlink {links}", plan=plans.namespaces(EVERYTHING))
    ours = [os.readlink(f"/proc/self/ns/{name}") for name in names]
    same = [one == other for one, other in zip(said.split(), ours, strict=True)]
    assert same == [False] * 6 + [True]


@has("user", "mount", "pid")
def test_a_root_of_its_own() -> None:
    plan = plans.namespaces(plans.NEWUSER | plans.NEWNS | plans.NEWPID)
    plan += new_root("/tmp", *SYSTEM)
    _, said = run("echo $$; echo /*; echo x > /new; echo y > /usr/new; cat /proc/mounts", plan=plan)
    first, second, *others = said.splitlines()
    assert first == "1"
    assert set(second.split()) == {"/proc", *SYSTEM}
    assert [line.rpartition(": ")[2] for line in others[:2]] == ["Read-only file system"] * 2
    mounts = [line.split() for line in others[2:]]
    assert {mount[1] for mount in mounts} == {"/", "/proc", *SYSTEM}
    assert all("nosuid" in mount[3].split(",") for mount in mounts)
    assert not os.path.exists("/usr/new")


@has("user", "mount")
def test_bytes_of_a_descriptor_become_a_file() -> None:
    memory = os.memfd_create("bytes")
    os.write(memory, os.urandom(8) + bytes(3_000_000) + b"end")
    plan = plans.namespaces(plans.NEWUSER | plans.NEWNS)
    plan += step("PRIVATE_MOUNTS") + step("TMPFS", struct.pack("=Q", 6) + b"/tmp\0mode=700\0")
    plan += step("COPY", struct.pack("=II", memory, 0o400) + b"/tmp/copy\0")
    plan += step("SYMLINK", b"copy\0/tmp/link\0") + step("TOUCH", b"/tmp/empty\0")
    _, said = run("cd /tmp; wc -c *; tail -c 3 link; ls -l copy", plan=plan)
    lines = [line.split() for line in said.splitlines()]
    assert lines[:3] == [["3000011", "copy"], ["0", "empty"], ["3000011", "link"]]
    assert lines[-1][0].startswith("end-r--------")
    assert os.lseek(memory, 0, os.SEEK_CUR) == 3000011
    os.close(memory)


@has_landlock
def test_landlock_holds(tmp_path: Path) -> None:
    (tmp_path / "allowed").mkdir()
    (tmp_path / "allowed" / "file").write_text("read\n")
    (tmp_path / "other").write_text("secret\n")
    rights = dict.fromkeys(SYSTEM, plans.FS_EXECUTE | plans.FS_READ_FILE | plans.FS_READ_DIR)
    rights[f"{tmp_path}/allowed/file"] = plans.FS_ALL  # of which a file has only some
    plan = step("NO_NEW_PRIVS") + landlock(rights)
    _, said = run(f"cat {tmp_path}/allowed/file; cat {tmp_path}/other", plan=plan)
    assert said == f"read\ncat: {tmp_path}/other: Permission denied\n"


@has_landlock
def test_a_rule_for_a_path_that_is_not_there_is_told() -> None:
    with pytest.raises(_core.SpawnError) as caught:
        run("true", plan=step("NO_NEW_PRIVS") + landlock({"/usr": 1, "/no/such": 1}))
    error = caught.value
    assert (error.kind, error.step, error.errno) == ("LANDLOCK", 1, errno.ENOENT)
    assert error.filename == b"/no/such"
    assert children() == []


@has_landlock
def test_rights_that_this_kernel_has_not_are_told() -> None:
    with pytest.raises(_core.SpawnError) as caught:
        run("true", plan=step("NO_NEW_PRIVS") + landlock({}, handled=1 << 60))
    assert (caught.value.kind, caught.value.errno) == ("LANDLOCK", errno.EINVAL)


def test_a_filter_is_in_force_before_the_program_starts() -> None:
    plan = step("NO_NEW_PRIVS") + seccomp({UNAME: plans.ERRNO | errno.ENOSYS})
    status, said = run("cat /proc/self/status; uname", plan=plan)
    assert status == 1
    assert status_of(said)["Seccomp"] == "2"
    assert "Function not implemented" in said or "cannot get system name" in said


@pytest.mark.needs("libseccomp.so.2", install="apt-get install libseccomp2")
def test_a_filter_of_libseccomp(tmp_path: Path) -> None:
    here = libseccomp.native()
    made = libseccomp.Filter(libseccomp.ALLOW, here, libseccomp.KILL_PROCESS)
    for name in ("mkdirat", "mkdir"):
        if (number := libseccomp.number_of(name, here)) >= 0:
            made.add(libseccomp.errno(errno.EPERM), number, ())
    program = made.exported()
    plan = step("NO_NEW_PRIVS")
    plan += step("SECCOMP", struct.pack("=II", 0, len(program) // 8) + program)
    _, said = run(f"mkdir {tmp_path}/new", plan=plan)
    assert said.endswith("Operation not permitted\n")


def test_a_filter_needs_no_new_privileges_from_an_ordinary_user() -> None:
    as_nobody(
        """
        try: run("true", plan=seccomp({}))
        except _core.SpawnError as error: print(error.kind, error.step, error.errno)
    """,
        f"SECCOMP 0 {errno.EACCES}\n",
    )


@has_notification
def test_a_listener_comes_to_us() -> None:
    plan = step("NO_NEW_PRIVS") + seccomp({EXECVE: USER_NOTIF}, NEW_LISTENER)
    pid, pidfd, listener = _core.spawn([b"/bin/true"], [], {}, plan)
    assert os.readlink(f"/proc/self/fd/{listener}") == "anon_inode:seccomp notify"
    assert not os.get_inheritable(listener)
    assert os.waitpid(pid, 0)[1] == 0
    os.close(pidfd)
    os.close(listener)


@has_notification
@pytest.mark.parametrize("actions", [{}, {EXECVE: plans.ERRNO | 13}])
def test_a_listener_that_execve_does_not_reach_is_an_error(actions: dict[int, int]) -> None:
    with pytest.raises(_core.SpawnError) as caught:
        run("true", plan=step("NO_NEW_PRIVS") + seccomp(actions, NEW_LISTENER))
    assert caught.value.kind in ("LISTENER", "EXEC")
    assert children() == []


@has_notification
def test_a_program_that_is_not_there_is_told_through_the_listener() -> None:
    plan = step("NO_NEW_PRIVS") + seccomp({EXECVE: USER_NOTIF}, NEW_LISTENER)
    with pytest.raises(_core.SpawnError) as caught:
        _core.spawn([b"/no/such"], [], {}, plan)
    assert (caught.value.kind, caught.value.errno) == ("EXEC", errno.ENOENT)
    assert children() == []


def whole_plan() -> bytes:
    """A step of every kind, none of which would do harm here."""
    plan = plans.namespaces(EVERYTHING) + new_root("/tmp", *SYSTEM)
    plan += limit(resource.RLIMIT_CORE, 0, 0) + step("NO_NEW_PRIVS") + step("DROP_CAPABILITIES")
    rules = dict.fromkeys(SYSTEM, plans.FS_EXECUTE | plans.FS_READ_FILE | plans.FS_READ_DIR)
    plan += landlock(rules) if _core.kernel()["landlock"] else b""
    return plan + seccomp({EXECVE: USER_NOTIF}, NEW_LISTENER)


@has("user", "mount", "pid", "net", "ipc", "uts")
@has_notification
def test_a_plan_that_is_cut_anywhere_is_refused_or_done() -> None:
    """Cut between two steps it is a shorter plan."""
    plan = whole_plan()
    bounds, at = {0}, 0
    while at < len(plan):
        at += 8 + (struct.unpack_from("=I", plan, at + 4)[0] + 7) // 8 * 8
        bounds.add(at)
    for size in range(len(plan)):
        if size in bounds:
            continue
        with pytest.raises(ValueError):
            _core.spawn([SHELL, b"-c", b""], [], {}, plan[:size])
    for size in sorted(bounds):
        pid, pidfd, listener = _core.spawn([b"/usr/bin/true"], [], {}, plan[:size])
        assert (listener >= 0) == (size == len(plan))
        assert os.waitpid(pid, 0)[1] == 0
        os.close(pidfd)
    os.close(listener)
    assert children() == []


def test_a_size_that_lies_is_refused() -> None:
    for kind in range(40):
        for size in (0, 1, 7, 8, 9, 100, 0xFFFFFFF8, 0xFFFFFFFF):
            for body in (b"", bytes(8), b"\xff" * 8, bytes(32), b"\xff" * 64):
                wrong = struct.pack("=II", kind, size) + body
                if kind in (3, 14, 15) and (size, body) == (0, b""):
                    continue  # which have no payload
                try:
                    pid, pidfd, _ = _core.spawn([b"/bin/true"], [], {}, wrong)
                except (ValueError, _core.SpawnError):
                    continue
                os.waitpid(pid, 0)
                os.close(pidfd)
    assert children() == []


def as_nobody(program: str, expected: str) -> None:
    """Run a program as an ordinary user; as we are, if we are one."""
    setup = "from tests.native.test_confine import *; from libferry import _core\n"
    if os.geteuid() == 0:
        setup += "plans.be_nobody()\n"
    done = subprocess.run(
        [sys.executable, "-c", setup + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert (done.stdout, done.stderr) == (expected, "")


@has("user", "mount", "pid", "net", "ipc", "uts")
@has_notification
def test_an_ordinary_user_can_have_it_all() -> None:
    as_nobody(
        """
        pid, pidfd, listener = _core.spawn([b"/usr/bin/true"], [], {}, whole_plan())
        print(listener >= 0, os.waitpid(pid, 0)[1], sorted(_core.kernel()["namespaces"])[:2])
    """,
        "True 0 ['cgroup', 'ipc']\n",
    )


def test_what_the_kernel_can_is_found_out_once() -> None:
    first, second = _core.kernel(), _core.kernel()
    assert first == second
    assert first is not second
    assert children() == []
