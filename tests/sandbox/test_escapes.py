"""Attempts to get out of the sandbox ``pure``, each of which is refused.

Most end the worker with a violation. Some the kernel refuses with an error, because what
they are after is not there; such a test says with which.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

import libferry as ferry
from libferry.errors import LibraryCrashed, SandboxViolation
from tests.sandbox.library import library, sandboxed

pytestmark = [
    pytest.mark.needs("ziglang", install="pip install ziglang"),
    pytest.mark.needs("libseccomp.so.2", install="apt-get install libseccomp2"),
]

# arch/x86/entry/syscalls/syscall_64.tbl of Linux
CALLS = {
    "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
    "io_uring_setup": 425, "userfaultfd": 323, "bpf": 321, "perf_event_open": 298,
    "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "unshare": 272,
    "setns": 308, "keyctl": 250, "add_key": 248, "memfd_create": 319, "socketpair": 53,
    "shmget": 29, "msgget": 68, "semget": 64, "mq_open": 240, "personality": 135,
    "setuid": 105, "setsid": 112, "sethostname": 170, "settimeofday": 164, "reboot": 169,
    "init_module": 175, "syslog": 103, "quotactl": 179, "open_by_handle_at": 304,
    "name_to_handle_at": 303, "fanotify_init": 300, "inotify_init1": 294, "pidfd_open": 434,
    "pidfd_getfd": 438, "vmsplice": 278, "modify_ldt": 154, "iopl": 172, "vfork": 58,
    "seccomp": 317, "landlock_create_ruleset": 444, "fsopen": 430, "move_mount": 429,
}  # fmt: skip

KILL, TGKILL, TKILL, RT_SIGQUEUEINFO, CLONE, PRCTL, IOCTL = 62, 234, 200, 129, 56, 157, 16
SYMLINK, LINK, RENAME, UNLINK, OPENAT, EXECVE, CHDIR, MKNOD = 88, 86, 82, 87, 257, 59, 80, 133
I386_FORK, I386_OPEN, I386_EXECVE = 2, 5, 11
SIGTERM, SIGKILL = 15, 9
PR_SET_SECCOMP, PR_SET_PTRACER, PR_SET_MM = 22, 0x59616D61, 35
TIOCSTI, TIOCLINUX = 0x5412, 0x541C


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_no_computation_needs(pure: ferry.Library, name: str) -> None:
    with pytest.raises(SandboxViolation) as caught:
        pure.call(CALLS[name], 0, 0, 0, 0, 0, 0)
    assert caught.value.syscall == name


@pytest.mark.parametrize(
    "path",
    [
        "/etc/shadow",
        "/etc/passwd",
        "/etc/../etc/passwd",
        "/usr/lib/locale/../../../etc/passwd",
        "//etc//passwd",
        "/proc/1/environ",
        "/proc/self/mem",
        "/proc/self/root/etc/passwd",
        "/proc/self/cwd",
        "/proc/self/fd/3",
        "/proc/self/map_files",
        "/proc/kallsyms",
        "/proc/sysrq-trigger",
        "/sys/kernel/security",
        "/dev/mem",
        "/dev/tty",
        "/dev/shm",
        "/root/.ssh/id_rsa",
        "/run/docker.sock",
        "relative",
    ],
)
def test_opening_what_is_not_listed(pure: ferry.Library, path: str) -> None:
    with pytest.raises(SandboxViolation):
        pure.open_file(path, os.O_RDONLY)


def test_opening_the_hosts_memory_by_its_number(pure: ferry.Library) -> None:
    with pytest.raises(SandboxViolation):
        pure.open_file(f"/proc/{os.getpid()}/mem", os.O_RDWR)


def test_writing_where_only_reading_is_allowed(pure: ferry.Library) -> None:
    with pytest.raises(SandboxViolation):
        pure.open_file("/etc/localtime", os.O_WRONLY)


def test_writing_beside_the_library(pure: ferry.Library) -> None:
    folder = library().parent
    before = sorted(folder.iterdir())
    with pytest.raises(SandboxViolation):
        pure.write_all(str(folder / "planted.so"), "text")
    assert sorted(folder.iterdir()) == before


def test_overwriting_the_library(pure: ferry.Library) -> None:
    before = library().read_bytes()
    with pytest.raises(SandboxViolation):
        pure.write_all(str(library()), "text")
    assert library().read_bytes() == before


@pytest.mark.parametrize("call", [SYMLINK, LINK, RENAME])
def test_another_name_for_a_file(pure: ferry.Library, call: int, tmp_path: Path) -> None:
    """A name inside the lists that leads outside: it cannot be made."""
    path = pure.buffer(4096)
    memoryview(path)[:12] = b"/etc/shadow\0"
    memoryview(path)[100:200] = (bytes(tmp_path) + b"/name").ljust(100, b"\0")
    with pytest.raises(SandboxViolation):
        pure.call(call, path.address, path.address + 100, 0, 0, 0, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_an_open_folder_leads_to_what_is_not_there(tmp_path: Path) -> None:
    """The name is allowed and what it leads to is not: the kernel says no."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    inside = tmp_path / "open"
    inside.mkdir()
    (inside / "trick").symlink_to(secret)
    profile = ferry.sandbox.read_profile("pure").adding(
        ferry.sandbox.Profile("mine", read=(str(inside),))
    )
    with sandboxed(profile) as lib:
        assert lib.open_file(str(inside / "trick"), os.O_RDONLY) in (-2, -13)  # ENOENT, EACCES


@pytest.mark.parametrize("process", ["parent", "all", "nobody", "group"])
def test_a_signal_to_another_process(pure: ferry.Library, process: str) -> None:
    number = {"parent": os.getpid(), "all": -1, "nobody": 99, "group": 0}[process]
    with pytest.raises(SandboxViolation):
        pure.call(KILL, number, SIGTERM, 0, 0, 0, 0)


def test_a_signal_by_another_call(pure: ferry.Library) -> None:
    with pytest.raises(SandboxViolation):
        pure.call(RT_SIGQUEUEINFO, os.getpid(), SIGTERM, 0, 0, 0, 0)


def test_tracing_the_parent(pure: ferry.Library) -> None:
    attach = 16
    with pytest.raises(SandboxViolation):
        pure.call(CALLS["ptrace"], attach, os.getpid(), 0, 0, 0, 0)


def test_the_parent_is_not_even_seen(pure: ferry.Library) -> None:
    assert pure.parent() == 0
    assert pure.self() == 1


def test_connecting(pure: ferry.Library) -> None:
    with pytest.raises(SandboxViolation):
        pure.connect_to("127.0.0.1", 22)


@pytest.mark.parametrize("family", [1, 2, 10, 16, 17, 38, 40])
def test_a_socket_of_any_family(pure: ferry.Library, family: int) -> None:
    with pytest.raises(SandboxViolation, match="socket"):
        pure.call(41, family, 2, 0, 0, 0, 0)


def test_forking(pure: ferry.Library) -> None:
    with pytest.raises(SandboxViolation):
        pure.forks()


@pytest.mark.parametrize("flags", [17, 0x4111, 0x10000000, 0x40000000])
def test_a_process_by_clone(pure: ferry.Library, flags: int) -> None:
    with pytest.raises(SandboxViolation):
        pure.call(CLONE, flags, 0, 0, 0, 0, 0)


def test_a_process_by_clone3_is_what_this_kernel_does_not_have(pure: ferry.Library) -> None:
    assert pure.call(435, 0, 88, 0, 0, 0, 0) == -38  # ENOSYS


def test_executing(pure: ferry.Library) -> None:
    with pytest.raises(SandboxViolation):
        pure.call_with(EXECVE, b"/bin/sh\0", 0, 0, 0)


@pytest.mark.parametrize("number", [I386_FORK, I386_OPEN, I386_EXECVE, 1, 102])
def test_a_32_bit_call_from_64_bit_code(pure: ferry.Library, number: int) -> None:
    """``int 0x80``: 2 is fork there, and 5, which is fstat here, opens files."""
    with pytest.raises(SandboxViolation, match="as i386 code"):
        pure.call_32(number, 0, 0, 0)


@pytest.mark.needs("/lib/ld-linux.so.2", install="apt-get install libc6-i386")
@pytest.mark.parametrize("number", [39, 2, 57, 59])
def test_a_64_bit_call_from_32_bit_code(number: int) -> None:
    """A 32-bit process can enter 64-bit mode by itself, and has other numbers there."""
    expected = pytest.raises(SandboxViolation, match="as x86_64 code")
    with sandboxed(abi="i386-sysv") as lib, expected:
        lib.call_64(number)


@pytest.mark.parametrize("number", [0, 2, 59, 512, 520])
def test_a_call_by_x32s_numbers(pure: ferry.Library, number: int) -> None:
    with pytest.raises(SandboxViolation, match="x32"):
        pure.call(0x40000000 | number, 0, 0, 0, 0, 0, 0)


def test_opening_another_library_after_the_first(pure: ferry.Library) -> None:
    with pytest.raises(SandboxViolation):
        pure.opens_library("libm.so.6")


def test_executable_memory(pure: ferry.Library) -> None:
    with pytest.raises(SandboxViolation):
        pure.makes_code()


def test_making_memory_executable_afterwards(pure: ferry.Library) -> None:
    with pytest.raises(SandboxViolation):
        pure.call(10, pure.buffer(4096).address & ~4095, 4096, 5, 0, 0, 0)


@pytest.mark.parametrize("request_", [TIOCSTI, TIOCLINUX])
def test_typing_into_the_terminal(pure: ferry.Library, request_: int) -> None:
    with pytest.raises(SandboxViolation):
        pure.call(IOCTL, 0, request_, 0, 0, 0, 0)


@pytest.mark.parametrize("option", [PR_SET_SECCOMP, PR_SET_PTRACER, PR_SET_MM, 4])
def test_changing_what_the_process_is(pure: ferry.Library, option: int) -> None:
    with pytest.raises(SandboxViolation):
        pure.call(PRCTL, option, 0, 0, 0, 0, 0)


def test_raising_a_limit(pure: ferry.Library) -> None:
    unlimited = struct.pack("<QQ", 2**64 - 1, 2**64 - 1)
    address_space = 9
    assert pure.call(302, 0, address_space, pure_bytes(pure, unlimited), 0, 0, 0) == -1  # EPERM


def test_the_limits_of_another_process(pure: ferry.Library) -> None:
    with pytest.raises(SandboxViolation):
        pure.call(302, os.getpid(), 0, 0, 0, 0, 0)


def test_a_handler_of_its_own_does_not_survive_a_violation(pure: ferry.Library) -> None:
    """It is killed, and not signalled: SIGSYS would be the library's to catch."""
    with pytest.raises(LibraryCrashed):
        pure.call(CALLS["ptrace"], 0, 0, 0, 0, 0, 0)
    with pytest.raises(LibraryCrashed):
        pure.add(1, 2)


def pure_bytes(lib: ferry.Library, data: bytes) -> int:
    """The address of these bytes, in memory that the library sees."""
    room = lib.buffer(len(data))
    memoryview(room)[:] = data
    lib.__dict__.setdefault("_kept", []).append(room)
    return room.address
