"""The filter: what it answers to a call, and that the kernel agrees."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from libferry.errors import DeclarationError
from libferry.sandbox import Profile, read_profile
from libferry.sandbox.calls import AUDIT_ARCH, NEWER
from libferry.sandbox.profile import shipped
from libferry.sandbox.rules import Condition, Rule, parse_rule
from libferry.sandbox.seccomp import compile_filter
from tests.sandbox.bpf import ALLOW, KILL, NOTIFY, TRAP, refusal, verdict

pytestmark = pytest.mark.needs("libseccomp.so.2", install="apt-get install libseccomp2")

X86_64, I386, ARM64 = (AUDIT_ARCH[cpu] for cpu in ("x86_64", "i386", "aarch64"))

# arch/x86/entry/syscalls/syscall_64.tbl and syscall_32.tbl of Linux
READ, OPEN, MMAP, MPROTECT, IOCTL, FUTEX, OPENAT = 0, 2, 9, 10, 16, 202, 257
SOCKET, CONNECT, CLONE, FORK, EXECVE, KILL_CALL, PTRACE = 41, 42, 56, 57, 59, 62, 101
TGKILL, CLONE3, IO_URING_SETUP = 234, 435, 425
I386_FUTEX, I386_MMAP, I386_MMAP2, I386_FORK, I386_OPEN = 240, 90, 192, 2, 5
PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
CLONE_THREAD = 0x10000
# what glibc's pthread_create passes (`strace` of it)
THREAD_FLAGS = 0x3D0F00


@cache
def pure(notify: bool = True, own_pids: bool = True, arch: int = X86_64) -> bytes:
    return compile_filter(read_profile("pure"), arch, X86_64, notify=notify, own_pids=own_pids)


def test_what_the_hot_path_calls_is_allowed_whatever_its_arguments_are() -> None:
    assert verdict(pure(), X86_64, FUTEX, 2**64 - 1, 7, 9) == ALLOW
    assert verdict(pure(), X86_64, READ, 3) == ALLOW


@pytest.mark.parametrize("call", [OPENAT, OPEN, EXECVE, SOCKET, FORK, PTRACE, IO_URING_SETUP])
def test_what_is_on_no_list_is_handed_to_the_supervisor(call: int) -> None:
    assert verdict(pure(), X86_64, call) == NOTIFY


def test_memory_is_allowed_unless_it_is_executable() -> None:
    assert verdict(pure(), X86_64, MMAP, 0, 4096, PROT_READ | PROT_WRITE) == ALLOW
    assert verdict(pure(), X86_64, MMAP, 0, 4096, PROT_READ | PROT_EXEC) == NOTIFY
    assert verdict(pure(), X86_64, MPROTECT, 0, 4096, PROT_EXEC) == NOTIFY


def test_a_thread_may_be_made_and_a_process_may_not() -> None:
    assert verdict(pure(), X86_64, CLONE, THREAD_FLAGS) == ALLOW
    assert verdict(pure(), X86_64, CLONE, THREAD_FLAGS & ~CLONE_THREAD) == NOTIFY


def test_clone3_fails_as_on_a_kernel_without_it_so_that_libc_falls_back() -> None:
    assert verdict(pure(), X86_64, CLONE3, 0, 88) == refusal(errno.ENOSYS)


def test_a_terminal_is_asked_for_in_vain() -> None:
    assert verdict(pure(), X86_64, IOCTL, 1, 0x5401) == refusal(errno.ENOTTY)
    assert verdict(pure(), X86_64, IOCTL, 1, 0x5412) == NOTIFY  # TIOCSTI: typing for the user


def test_a_call_of_32_bit_code_from_a_64_bit_worker_is_no_call_of_its_own() -> None:
    assert verdict(pure(), I386, I386_FUTEX) == NOTIFY
    assert verdict(pure(notify=False), I386, I386_FUTEX) == KILL


def test_a_number_of_x32_is_no_call_of_its_own() -> None:
    assert verdict(pure(), X86_64, 0x40000000 | READ) == NOTIFY
    assert verdict(pure(notify=False), X86_64, 0x40000000 | READ) == KILL


def test_a_32_bit_worker_has_its_own_numbers() -> None:
    program = pure(arch=I386)
    assert verdict(program, I386, I386_FUTEX) == ALLOW
    assert verdict(program, I386, I386_FORK) == NOTIFY
    assert verdict(program, I386, I386_OPEN) == NOTIFY


def test_the_64_bit_half_of_a_32_bit_workers_filter_is_what_leads_to_its_execve() -> None:
    program = pure(arch=I386)
    assert verdict(program, X86_64, EXECVE) == NOTIFY
    assert verdict(program, X86_64, FUTEX) == ALLOW
    assert verdict(program, X86_64, READ) == NOTIFY
    assert verdict(program, X86_64, MMAP, 0, 4096, PROT_READ) == NOTIFY


def test_i386s_first_mmap_hides_its_protection_and_is_not_let_pass() -> None:
    program = pure(arch=I386)
    assert verdict(program, I386, I386_MMAP, 0x1000) == NOTIFY
    assert verdict(program, I386, I386_MMAP2, 0, 4096, PROT_READ) == ALLOW
    assert verdict(program, I386, I386_MMAP2, 0, 4096, PROT_EXEC) == NOTIFY


def test_signals_go_to_the_worker_itself_which_is_1_in_its_own_namespace() -> None:
    assert verdict(pure(), X86_64, TGKILL, 1, 2, 23) == ALLOW
    assert verdict(pure(), X86_64, TGKILL, 2, 2, 23) == NOTIFY
    assert verdict(pure(), X86_64, KILL_CALL, 2**64 - 1, 9) == NOTIFY
    assert verdict(pure(own_pids=False), X86_64, KILL_CALL, 1, 9) == NOTIFY


def test_without_notification_what_is_forbidden_traps_and_paths_are_left_to_landlock() -> None:
    program = pure(notify=False)
    assert verdict(program, X86_64, SOCKET, 2, 1) == TRAP
    assert verdict(program, X86_64, OPENAT) == ALLOW
    assert verdict(program, X86_64, EXECVE) == ALLOW


def test_a_client_makes_tcp_and_udp_sockets_and_no_others() -> None:
    program = compile_filter(read_profile("network-client"), X86_64, X86_64)
    non_blocking = 0x800
    assert verdict(program, X86_64, SOCKET, 2, 1 | non_blocking, 0) == ALLOW
    assert verdict(program, X86_64, SOCKET, 10, 2, 17) == ALLOW
    assert verdict(program, X86_64, SOCKET, 2, 3, 1) == NOTIFY  # raw
    assert verdict(program, X86_64, SOCKET, 1, 1, 0) == NOTIFY  # Unix
    assert verdict(program, X86_64, SOCKET, 17, 3, 0) == NOTIFY  # packets


def test_a_filter_for_arm64_has_that_cpus_numbers() -> None:
    # include/uapi/asm-generic/unistd.h: openat 56, read 63, futex 98, socket 198
    program = compile_filter(read_profile("pure"), ARM64, ARM64)
    assert verdict(program, ARM64, 63) == ALLOW
    assert verdict(program, ARM64, 98) == ALLOW
    assert verdict(program, ARM64, 56) == NOTIFY
    assert verdict(program, ARM64, 198) == NOTIFY
    assert verdict(program, X86_64, 0) == NOTIFY


@pytest.mark.parametrize("name", shipped())
def test_no_shipped_profile_allows_what_leads_out_of_any_sandbox(name: str) -> None:
    """Calls that Docker's default profile withholds from containers, too (moby, default.json)."""
    program = compile_filter(read_profile(name), X86_64, X86_64)
    numbers = {
        "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "bpf": 321,
        "userfaultfd": 323, "io_uring_setup": 425, "perf_event_open": 298, "mount": 165,
        "pivot_root": 155, "unshare": 272, "setns": 308, "keyctl": 250, "init_module": 175,
        "kexec_load": 246, "open_by_handle_at": 304, "pidfd_getfd": 438, "personality": 135,
        "reboot": 169, "swapon": 167, "chroot": 161, "setuid": 105, "clone3": 435,
    }  # fmt: skip
    allowed = [call for call, nr in numbers.items() if verdict(program, X86_64, nr) == ALLOW]
    assert allowed == []


def test_a_rule_has_a_name_and_conditions_on_arguments() -> None:
    assert parse_rule("read") == Rule("read")
    assert parse_rule("clone(0 & CLONE_THREAD == CLONE_THREAD)") == Rule(
        "clone", (Condition(0, 0x10000, 0x10000),)
    )
    assert parse_rule("socket(0 == AF_INET, 1 & 0xf == 2)").conditions[1] == Condition(1, 15, 2)


@pytest.mark.parametrize(
    "text", ["", "read(", "read(6 == 1)", "read(0 = 1)", "read(0 == NOTHING)", "read(0==1, 0==2)"]
)
def test_what_is_no_rule_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_rule(text)


def test_a_call_that_does_not_exist_is_an_error_and_not_left_out() -> None:
    profile = Profile("mine", allow=("raed",))
    with pytest.raises(DeclarationError, match="raed"):
        compile_filter(profile, X86_64, X86_64)


@pytest.mark.needs("/usr/include/asm-generic/unistd.h", install="apt-get install linux-libc-dev")
def test_numbers_of_calls_newer_than_libseccomp_are_the_kernel_headers() -> None:
    text = Path("/usr/include/asm-generic/unistd.h").read_text()
    defined = dict(re.findall(r"#define __NR_(\w+)\s+(\d+)", text))
    known = {name: int(defined[name]) for name in NEWER if name in defined}
    assert known == {name: NEWER[name] for name in known}
    assert known  # at least those that this machine's headers have


APPLY = r"""
import ctypes, errno, os, sys
program = bytes.fromhex(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]
libc.syscall.restype = ctypes.c_long
libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
given = Program(len(program) // 8, program)
assert libc.syscall(317, 1, 0, ctypes.byref(given)) == 0, "seccomp(2)"
assert libc.syscall(39) == os.getpid()
assert libc.syscall(435, 0, 88) == -1 and ctypes.get_errno() == errno.ENOSYS  # clone3
os.write(1, b"alive\n")
libc.syscall(41, 2, 1, 0)  # socket
os.write(1, b"not ended\n")
"""


def test_the_kernel_takes_the_filter_and_does_what_it_says() -> None:
    command = [sys.executable, "-c", APPLY, pure(notify=False).hex()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "alive\n", done.stderr
    assert done.returncode == -31  # SIGSYS


@pytest.mark.parametrize("notify", [True, False])
def test_a_file_that_would_run_as_its_owner_is_not_made(notify: bool) -> None:
    """Where nobody looks at paths, too; and without O_CREAT the mode is any number."""
    program = compile_filter(read_profile("files-write"), X86_64, X86_64, notify=notify)
    passes, refused = NOTIFY if notify else ALLOW, refusal(errno.EPERM)
    creates, temporary, chmod, fchmod = 0o101, 0o20200001, 90, 91
    for bit in (0o4000, 0o2000, 0o6000):
        assert verdict(program, X86_64, OPENAT, -100, 0, creates, bit | 0o755) == refused
        assert verdict(program, X86_64, OPENAT, -100, 0, temporary, bit | 0o755) == refused
        assert verdict(program, X86_64, chmod, 0, bit) == refused
        assert verdict(program, X86_64, fchmod, 3, bit) == refused
        assert verdict(program, X86_64, OPENAT, -100, 0, 0, bit) == passes
    assert verdict(program, X86_64, OPENAT, -100, 0, creates, 0o644) == passes
    assert verdict(program, X86_64, chmod, 0, 0o755) == passes
    assert verdict(program, X86_64, fchmod, 3, 0o755) == ALLOW


def test_what_landlock_does_not_see_of_tcp_is_not_there() -> None:
    profile = read_profile("pure").adding(Profile("mine", connect=(443,), datagrams=True))
    program = compile_filter(profile, X86_64, X86_64)
    inet, stream, datagram, fast_open = 2, 1, 2, 0x20000000
    sendto, listen = 44, 50
    for protocol in (0, 6):
        assert verdict(program, X86_64, SOCKET, inet, stream, protocol) == ALLOW
    for protocol in (132, 262):  # SCTP, MPTCP
        assert verdict(program, X86_64, SOCKET, inet, stream, protocol) == NOTIFY
    assert verdict(program, X86_64, SOCKET, inet, datagram, 17) == ALLOW
    assert verdict(program, X86_64, SOCKET, inet, datagram, 1) == NOTIFY  # ICMP
    assert verdict(program, X86_64, sendto, 3, 0, 1, 0) == ALLOW
    assert verdict(program, X86_64, sendto, 3, 0, 1, fast_open) == refusal(errno.EOPNOTSUPP)
    assert verdict(program, X86_64, listen, 3, 1) == NOTIFY


def test_32_bit_sockets_are_told_apart_by_what_a_register_has() -> None:
    socketcall = 102
    client = compile_filter(read_profile("network-client"), I386, X86_64)
    server = compile_filter(read_profile("network-server"), I386, X86_64)
    for operation, for_client, for_server in (
        (1, ALLOW, ALLOW),  # socket
        (3, ALLOW, ALLOW),  # connect, which Landlock looks at
        (4, NOTIFY, ALLOW),  # listen
        (5, NOTIFY, ALLOW),  # accept
        (8, NOTIFY, NOTIFY),  # socketpair
        (16, ALLOW, NOTIFY),  # sendmsg, which of TCP can connect
    ):
        assert verdict(client, I386, socketcall, operation) == for_client
        assert verdict(server, I386, socketcall, operation) == for_server
