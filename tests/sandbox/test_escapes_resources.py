"""Attempts to use up the machine, to run other code, and to act before the first call."""

from __future__ import annotations

import errno
import os
import signal
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import libferry as ferry
from libferry.errors import LibraryCrashed, SandboxViolation
from tests.runtime.sides import compiled
from tests.sandbox.attacks import SOURCE, adding, attacker, dependent, early, put
from tests.sandbox.library import library, sandboxed

pytestmark = [
    pytest.mark.needs("ziglang", install="pip install ziglang"),
    pytest.mark.needs("libseccomp.so.2", install="apt-get install libseccomp2"),
]

I386 = pytest.mark.needs("/lib/ld-linux.so.2", install="apt-get install libc6-i386")
ARM64 = pytest.mark.needs(
    "/usr/aarch64-linux-gnu", install="apt-get install qemu-user-static libc6-arm64-cross"
)

# arch/x86/entry/syscalls/syscall_64.tbl, syscall_32.tbl; asm-generic/unistd.h of Linux
MMAP, MPROTECT, PKEY_MPROTECT, SHMAT, REMAP, PERSONALITY = 9, 10, 329, 30, 216, 135
CLONE, FORK, VFORK, PRCTL, ARCH_PRCTL, EXECVE, EXECVEAT, MEMFD_CREATE = (
    56,
    57,
    58,
    157,
    158,
    59,
    322,
    319,
)
READ_IMPLIES_EXEC, ADDR_NO_RANDOMIZE = 0x0400000, 0x0040000
PR_SET_DUMPABLE, PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_SET_SECUREBITS = (
    4,
    1,
    38,
    47,
    28,
)
RWX, RX = 7, 5
PRIVATE_ANONYMOUS = 0x22

# Calls that no profile lists: of the kernel's clocks, modules, namespaces, identities, queues.
MORE_CALLS = {
    "process_madvise": 440, "memfd_secret": 447, "clock_settime": 227, "adjtimex": 159,
    "swapon": 167, "acct": 163, "kexec_load": 246, "kexec_file_load": 320, "delete_module": 176,
    "finit_module": 313, "capset": 126, "setgid": 106, "setgroups": 116, "setresuid": 117,
    "setfsuid": 122, "ioperm": 173, "open_tree": 428, "fsmount": 432, "mount_setattr": 442,
    "fspick": 433, "io_setup": 206, "io_uring_enter": 426, "io_uring_register": 427,
    "rt_tgsigqueueinfo": 297, "setpgid": 109, "landlock_restrict_self": 446,
    "sched_setscheduler": 144, "sched_setattr": 314, "ioprio_set": 251, "move_pages": 279,
    "migrate_pages": 256, "process_mrelease": 448, "fanotify_mark": 301, "msgsnd": 69,
    "semop": 65, "shmctl": 31, "mq_unlink": 241, "request_key": 249, "vhangup": 153,
    "setdomainname": 171, "nfsservctl": 180, "mlockall": 151, "set_mempolicy_home_node": 450,
    "tee": 276, "splice": 275, "wait4": 61,
}  # fmt: skip


@pytest.mark.parametrize("name", MORE_CALLS)
def test_another_call_that_no_computation_needs(pure: ferry.Library, name: str) -> None:
    with pytest.raises(SandboxViolation) as caught:
        pure.call(MORE_CALLS[name], 0, 0, 0, 0, 0, 0)
    assert caught.value.syscall == name


# ---- using it up ----


def test_a_bomb_of_memory() -> None:
    with attacker(adding(limits={"memory": 1 << 30})) as lib:
        assert lib.exhaust_memory(4096) < 1024


def test_a_bomb_of_descriptors() -> None:
    with attacker(adding(limits={"files": 100})) as lib:
        assert lib.exhaust_descriptors(1000) == -errno.EMFILE


def test_a_bomb_of_processor_time() -> None:
    with attacker(adding(limits={"cpu": 1})) as lib:
        with pytest.raises(LibraryCrashed) as caught:
            lib.spin()
        assert not isinstance(caught.value, SandboxViolation)


def test_a_bomb_of_processes() -> None:
    with attacker() as lib, pytest.raises(SandboxViolation) as caught:
        lib.bomb_of_processes(1000)
    assert caught.value.allow == "processes = true"


@pytest.mark.parametrize("number", [FORK, VFORK])
def test_a_process_by_an_old_call(pure: ferry.Library, number: int) -> None:
    with pytest.raises(SandboxViolation):
        pure.call(number, 0, 0, 0, 0, 0, 0)


def test_a_bomb_of_processes_ends_with_the_library() -> None:
    """The worker is the first of its pid namespace, and takes all others along."""
    with attacker(adding(processes=True)) as lib:
        assert lib.bomb_of_processes(20) == 20
        children = Path(f"/proc/{lib.pid}/task/{lib.pid}/children").read_text().split()
        assert len(children) == 20
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(int(child), 0)


@pytest.mark.parametrize("at", [1 << 20, 1 << 50])
def test_a_huge_file(tmp_path: Path, at: int) -> None:
    with attacker(adding(write=(str(tmp_path),), limits={"file-size": 1 << 20})) as lib:
        assert lib.huge_file(str(tmp_path / "f"), at) == -errno.EFBIG
    assert (tmp_path / "f").stat().st_size <= 1 << 20


@pytest.mark.parametrize("flags", [0x10000000, 0x20000000, 0x40000000, 0x00020000, 0x02000000])
def test_a_thread_that_is_elsewhere(pure: ferry.Library, flags: int) -> None:
    """CLONE_NEWUSER, _NEWPID, _NEWNET, _NEWNS, _NEWCGROUP, with what makes it a thread."""
    thread = 0x10F00  # CLONE_VM, FS, FILES, SIGHAND, THREAD
    assert pure.call(CLONE, thread | flags, 0, 0, 0, 0, 0) in (-errno.EINVAL, -errno.EPERM)


# ---- other code ----


def test_new_memory_for_code(pure: ferry.Library) -> None:
    with pytest.raises(SandboxViolation, match="executable memory"):
        pure.call(MMAP, 0, 4096, RWX, PRIVATE_ANONYMOUS, -1, 0)


@pytest.mark.parametrize("call", [MPROTECT, PKEY_MPROTECT])
def test_written_memory_that_becomes_code(pure: ferry.Library, call: int) -> None:
    page = pure.call(MMAP, 0, 4096, 3, PRIVATE_ANONYMOUS, -1, 0)
    with pytest.raises(SandboxViolation, match="executable memory"):
        pure.call(call, page, 4096, RX, -1, 0, 0)


def test_the_hosts_memory_again_as_code() -> None:
    """The channel's own file is closed; a descriptor that is none has no memory."""
    with sandboxed() as lib, pytest.raises(SandboxViolation, match="executable memory"):
        lib.call(MMAP, 0, 4096, RX, 1, 4, 0)


def test_the_hosts_memory_is_not_there_a_second_time(pure: ferry.Library) -> None:
    assert pure.call(MMAP, 0, 4096, 3, 1, 4, 0) == -errno.EBADF


@pytest.mark.parametrize("call", [SHMAT, REMAP, PERSONALITY])
def test_memory_by_another_way(pure: ferry.Library, call: int) -> None:
    with pytest.raises(SandboxViolation):
        pure.call(call, READ_IMPLIES_EXEC if call == PERSONALITY else 0, 0, 0o100000, 0, 0, 0)


def test_addresses_that_can_be_guessed(pure: ferry.Library) -> None:
    with pytest.raises(SandboxViolation, match="personality"):
        pure.call(PERSONALITY, ADDR_NO_RANDOMIZE, 0, 0, 0, 0, 0)


def test_a_file_in_memory_to_execute(pure: ferry.Library) -> None:
    with pytest.raises(SandboxViolation, match="memfd_create"):
        pure.call(MEMFD_CREATE, put(pure, b"program\0"), 0, 0, 0, 0, 0)


@pytest.mark.parametrize("program", ["/bin/sh", "/lib64/ld-linux-x86-64.so.2"])
def test_executing_by_execveat(pure: ferry.Library, program: str) -> None:
    with pytest.raises(SandboxViolation, match="execveat"):
        pure.call(EXECVEAT, -100, put(pure, program.encode() + b"\0"), 0, 0, 0, 0)


@pytest.mark.parametrize(
    "option",
    [PR_SET_DUMPABLE, PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_SET_SECUREBITS],
)
def test_undoing_what_was_done_to_it(pure: ferry.Library, option: int) -> None:
    with pytest.raises(SandboxViolation, match="prctl"):
        pure.call(PRCTL, option, 0, 0, 0, 0, 0)


def test_what_was_done_to_it_is_still_so(pure: ferry.Library) -> None:
    """proc_pid_status(5): a filter, no new privileges, no capability."""
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pure.pid}/status").read_text().splitlines()
    )
    assert status["Seccomp"] == "2"
    assert status["NoNewPrivs"] == "1"
    for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb"):
        assert int(status[f"Cap{kind}"], 16) == 0


def test_a_call_by_the_kernels_own_page() -> None:
    """vsyscall: a filter that refuses time(2) refuses it there."""
    with attacker(adding(refuse={"time": "EPERM"})) as lib:
        try:
            assert lib.time_by_vsyscall() == -errno.EPERM
        except LibraryCrashed as error:  # a kernel without that page
            assert not isinstance(error, SandboxViolation)  # noqa: PT017


@I386
def test_a_64_bit_call_from_32_bit_code() -> None:
    with sandboxed(abi="i386-sysv") as lib, pytest.raises(SandboxViolation, match="as x86_64 code"):
        lib.call_64(39)


# ---- the same from other CPUs ----


@I386
@pytest.mark.parametrize(
    ("number", "name"),
    {2: "fork", 26: "ptrace", 37: "kill", 117: "ipc", 102: "socketcall",
     120: "clone", 123: "modify_ldt", 136: "personality", 190: "vfork", 354: "seccomp",
     356: "memfd_create", 374: "userfaultfd", 425: "io_uring_setup", 359: "socket",
     348: "process_vm_writev", 310: "unshare", 217: "pivot_root"}.items(),
)  # fmt: skip
def test_a_call_of_32_bit_code(number: int, name: str) -> None:
    with sandboxed(abi="i386-sysv") as lib, pytest.raises(SandboxViolation) as caught:
        lib.call(number, 2, 0, 0, 0, 0, 0)
    assert caught.value.syscall == name


@I386
def test_executing_by_32_bit_code() -> None:
    with sandboxed(abi="i386-sysv") as lib, pytest.raises(SandboxViolation, match="execve"):
        lib.call_with(11, b"/bin/sh\0", 0, 0, 0)


@I386
def test_code_by_the_mmap_whose_arguments_are_in_memory() -> None:
    """A supervisor that read them would read them too early: it is not called any more."""
    with sandboxed(abi="i386-sysv") as lib:
        at = put(lib, struct.pack("<IIIIiI", 0, 4096, RWX, PRIVATE_ANONYMOUS, -1, 0))
        with pytest.raises(SandboxViolation, match="executable memory"):
            lib.call(90, at - (1 << 32) if at >> 31 else at, 0, 0, 0, 0, 0)


@I386
@pytest.mark.parametrize(("operation", "name"), {4: "listen", 5: "accept", 8: 8, 16: 16}.items())
def test_a_socket_call_that_a_32_bit_client_has_no_use_for(operation: int, name: object) -> None:
    """listen, accept, socketpair, sendmsg: which one it is, is in a register."""
    refused = pytest.raises(SandboxViolation, match=f"socketcall {name}")
    with sandboxed(adding(connect=(1,)), "i386-sysv") as lib, refused:
        lib.call(102, operation, 0, 0, 0, 0, 0)


@ARM64
@pytest.mark.parametrize("number", [117, 198, 220, 221, 270, 425])
def test_a_call_of_a_library_for_another_cpu(number: int) -> None:
    """ptrace, socket, clone, execve, process_vm_writev, io_uring_setup: by qemu, or not at all."""
    with sandboxed(abi="aarch64-aapcs64") as lib, suppress(SandboxViolation):
        flags = signal.SIGCHLD if number == 220 else 2
        assert lib.call(number, flags, 0, 0, 0, 0, 0) in (-errno.ENOSYS, -errno.EFAULT)


@ARM64
def test_a_file_of_a_library_for_another_cpu() -> None:
    with sandboxed(abi="aarch64-aapcs64") as lib, pytest.raises(SandboxViolation):
        lib.open_file(f"/proc/{os.getppid()}/environ", os.O_RDONLY)


# ---- before the first call, and after the last ----


@pytest.mark.parametrize(
    "attack",
    ['open("/etc/shadow", O_RDONLY)', "fork()", 'execl("/bin/sh", "sh", (char *)0)', "kill_host()"],
)
def test_a_constructor(tmp_path: Path, attack: str) -> None:
    attack = attack.replace("kill_host()", f"extern int kill(int, int); kill({os.getpid()}, 10)")
    came: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: came.append(number))
    try:
        with pytest.raises(SandboxViolation):
            ferry.load(early("constructor", attack, tmp_path), isolation="sandbox")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert came == []


def test_a_constructor_of_a_library_that_is_needed(tmp_path: Path) -> None:
    with pytest.raises(SandboxViolation, match="/etc/shadow"):
        ferry.load(dependent('open("/etc/shadow", O_RDONLY)', tmp_path), isolation="sandbox")


def test_a_destructor(tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    attack = f'close(open("{planted}", O_CREAT | O_WRONLY, 0600))'
    file = early("destructor", attack, tmp_path)
    lib = ferry.load(file, header="int add(int, int);", isolation="sandbox")
    worker = lib.pid
    assert lib.add(1, 2) == 3
    lib.close()
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    assert not planted.exists()


def test_a_destructor_that_never_ends(tmp_path: Path) -> None:
    file = early("destructor", "for (;;) pause()", tmp_path)
    lib = ferry.load(file, header="int add(int, int);", isolation="sandbox")
    worker = lib.pid
    lib.close()
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_leaving_the_hosts_own_process_as_it_was() -> None:
    """A worker is born in our memory: what it does to itself must not be done to us."""
    status = Path("/proc/self/status")
    kept = ("Seccomp:", "NoNewPrivs:", "Cap", "SigBlk:", "SigIgn:", "Uid:")

    def now() -> list[str]:
        return [line for line in status.read_text().splitlines() if line.startswith(kept)]

    sandboxed().close()
    dumpable = os.stat("/proc/self/mem").st_uid
    before, root = now(), os.readlink("/proc/self/ns/mnt")
    for _ in range(3):
        sandboxed().close()
    assert (now(), os.readlink("/proc/self/ns/mnt")) == (before, root)
    assert os.stat("/proc/self/mem").st_uid == dumpable


# ---- as an ordinary user ----

_ORDINARY = """
import os, sys
import libferry as ferry
from tests.sandbox.attacks import HEADER as ATTACKS
from tests.sandbox.library import HEADER
one, other = sys.argv[1:3]
def load(file, header, **more):
    return ferry.load(file, header=header, isolation="sandbox", **more)
with load(one, HEADER) as lib:
    try: lib.open_file("/etc/passwd", os.O_RDONLY)
    except ferry.SandboxViolation as error: print("open:", error.path)
with load(one, HEADER) as lib:
    try: lib.forks()
    except ferry.SandboxViolation as error: print("fork:", error.allow)
with load(one, HEADER) as lib:
    try: lib.call(62, os.getpid(), 9, 0, 0, 0, 0)
    except ferry.SandboxViolation as error: print("kill:", error.syscall)
with load(one, HEADER) as lib:
    try: lib.connect_to("127.0.0.1", 1)
    except ferry.SandboxViolation as error: print("connect:", error.syscall)
with load(one, HEADER) as lib:
    try: lib.makes_code()
    except ferry.SandboxViolation as error: print("code:", error.allow)
bombs = ferry.sandbox.read_profile("pure").adding(
    ferry.sandbox.Profile("mine", processes=True, limits={"processes": 40}))
with load(other, ATTACKS, profile=bombs) as lib:
    print("threads:", lib.bomb_of_threads(1000) <= 40)
with load(other, ATTACKS, profile=bombs) as lib:
    print("processes:", lib.bomb_of_processes(1000) <= 40)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="everything here is as an ordinary user already")
@pytest.mark.needs("setpriv", install="apt-get install util-linux")
def test_the_same_as_an_ordinary_user() -> None:
    """No right of root's is what holds; and the limit on threads holds only here."""
    files = [library(), compiled(SOURCE, "x86_64-sysv")]
    for file in files:
        file.parent.chmod(0o755)
    nobody = 65534
    command = ["setpriv", f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups"]
    done = subprocess.run(
        [*command, sys.executable, "-c", _ORDINARY, *map(str, files)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout.splitlines() == [
        "open: /etc/passwd",
        "fork: processes = true",
        "kill: kill",
        "connect: socket",
        "code: code = true",
        "threads: True",
        "processes: True",
    ], done.stderr
