"""Attempts on the host: its memory, its processes, its sockets, and the thread that
supervises. What counts is what is seen from the outside: here."""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import libferry as ferry
from libferry.errors import LibraryCrashed, SandboxViolation
from tests.sandbox.attacks import DOORBELL, adding, attacker, put
from tests.sandbox.library import sandboxed

pytestmark = [
    pytest.mark.needs("ziglang", install="pip install ziglang"),
    pytest.mark.needs("libseccomp.so.2", install="apt-get install libseccomp2"),
]

# arch/x86/entry/syscalls/syscall_64.tbl of Linux
PTRACE, READV, WRITEV, KILL, TKILL, TGKILL, SIGQUEUE = 101, 310, 311, 62, 200, 234, 129
PIDFD_OPEN, PIDFD_SIGNAL, PIDFD_GETFD, PRLIMIT, SETPRIORITY = 434, 424, 438, 302, 141
SECCOMP, SOCKET, CONNECT, BIND, LISTEN, SENDTO, SENDMSG, SOCKETPAIR = (
    317,
    41,
    42,
    49,
    50,
    44,
    46,
    53,
)
AFFINITY, SIGACTION = 203, 13
STREAM, DGRAM, RAW, SEQPACKET = 1, 2, 3, 5
MSG_FASTOPEN, IPPROTO_ICMP, IPPROTO_UDPLITE, IPPROTO_MPTCP = 0x20000000, 1, 136, 262
SET_MODE_FILTER, NEW_LISTENER = 1, 8


def descriptors() -> int:
    gc.collect()  # a session keeps its own until it is unmade
    return len(os.listdir("/proc/self/fd"))


def opened() -> list[str]:
    """What the descriptors lead to; that of the folder itself is closed again by then."""
    names = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            names.append(os.readlink(f"/proc/self/fd/{number}"))
    return names


def soon(holds: Callable[[], bool]) -> bool:
    """Whether it holds, within some seconds."""
    deadline = time.monotonic() + 5
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    return holds()


def loopback(port: int) -> bytes:
    """struct sockaddr_in"""
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, b"\x7f\0\0\1")


def nobody_came(server: socket.socket) -> bool:
    server.setblocking(False)
    try:
        server.accept()
    except BlockingIOError:
        return True
    return False


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """Another process of this user, in this process's group."""
    with subprocess.Popen(["sleep", "100"]) as process:
        yield process
        assert process.poll() is None, "it was reached"
        process.kill()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


# ---- memory ----


@pytest.mark.parametrize("call", [READV, WRITEV])
def test_the_hosts_memory_by_its_address(pure: ferry.Library, call: int) -> None:
    mine = ctypes.create_string_buffer(b"mine", 16)
    room = put(pure, b"theirs")
    pieces = (
        put(pure, struct.pack("<QQ", room, 6)),
        put(pure, struct.pack("<QQ", ctypes.addressof(mine), 6)),
    )
    with pytest.raises(SandboxViolation):
        pure.call(call, os.getpid(), pieces[0], 1, pieces[1], 1, 0)
    assert mine.value == b"mine"


def test_the_hosts_environment(pure: ferry.Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD_OF_THE_HOST", "secret")
    room = pure.buffer(64)
    with sandboxed() as fresh:
        look_up = fresh.function("const char *look_up(const char *)", symbol="variable")
        assert look_up("PASSWORD_OF_THE_HOST") is None
    with pytest.raises(SandboxViolation, match=f"/proc/{os.getppid()}/environ"):
        pure.read_all(f"/proc/{os.getppid()}/environ", room, 64)
    assert bytes(memoryview(room)) == bytes(64)


def test_no_other_process_is_seen() -> None:
    """With all of /proc allowed by name there still is only the worker."""
    with sandboxed(adding(absent=("/proc",))) as lib:
        room = lib.buffer(64)
        for number in (os.getpid(), os.getppid()):
            assert lib.read_all(f"/proc/{number}/stat", room, 64) == -errno.ENOENT
        assert lib.read_all("/proc/1/stat", room, 64) > 0
    assert bytes(memoryview(room)).startswith(b"1 (")


@pytest.mark.parametrize("request_", [0, 3, 12, 16, 0x4206])  # TRACEME, ..., ATTACH, SEIZE
def test_tracing(pure: ferry.Library, bystander: subprocess.Popen[bytes], request_: int) -> None:
    with pytest.raises(SandboxViolation, match="ptrace"):
        pure.call(PTRACE, request_, bystander.pid, 0, 0, 0, 0)
    status = Path(f"/proc/{bystander.pid}/status").read_text()
    assert "TracerPid:\t0\n" in status


# ---- signals ----


@pytest.mark.parametrize("way", ["kill", "kill group", "kill all", "tgkill", "rt_sigqueueinfo"])
def test_a_signal(pure: ferry.Library, bystander: subprocess.Popen[bytes], way: str) -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: came.append(number))
    call: tuple[int, ...] = {
        "kill": (KILL, bystander.pid, signal.SIGKILL),
        "kill group": (KILL, -os.getpgrp(), signal.SIGUSR1),
        "kill all": (KILL, -1, signal.SIGKILL),
        "tgkill": (TGKILL, os.getpid(), os.getpid(), signal.SIGUSR1),
        "rt_sigqueueinfo": (SIGQUEUE, os.getpid(), signal.SIGUSR1, put(pure, bytes(128))),
    }[way]
    try:
        with pytest.raises(SandboxViolation):
            pure.call(*(*call, 0, 0, 0, 0, 0)[:7])
        time.sleep(0.01)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert came == []


def test_a_signal_to_a_thread_that_is_the_hosts(pure: ferry.Library) -> None:
    """tkill passes, for runtimes use it on themselves: here there is no such thread."""
    assert pure.call(TKILL, threading.get_native_id(), signal.SIGKILL, 0, 0, 0, 0) == -errno.ESRCH


@pytest.mark.parametrize("number", [PIDFD_OPEN, PIDFD_SIGNAL, PIDFD_GETFD])
def test_a_descriptor_of_the_host(pure: ferry.Library, number: int) -> None:
    with pytest.raises(SandboxViolation, match="pidfd"):
        pure.call(number, os.getpid(), 0, 0, 0, 0, 0)


@pytest.mark.parametrize("call", [PRLIMIT, SETPRIORITY])
def test_the_limits_and_the_priority_of_the_host(pure: ferry.Library, call: int) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with pytest.raises(SandboxViolation):
        pure.call(call, os.getpid(), os.getpid(), 19, 0, 0, 0)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_where_the_host_runs(pure: ferry.Library) -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(SandboxViolation, match="sched_setaffinity"):
        pure.call(AFFINITY, os.getpid(), 8, put(pure, struct.pack("<Q", 1)), 0, 0, 0)
    assert os.sched_getaffinity(0) == before


# ---- sockets ----


@pytest.mark.parametrize("kind", [STREAM, DGRAM, RAW, SEQPACKET])
@pytest.mark.parametrize("family", [1, 2, 10, 15, 16, 17, 29, 31, 38, 40, 44])
def test_a_socket(pure: ferry.Library, family: int, kind: int) -> None:
    """Unix, IPv4, IPv6, keys, netlink, packets, CAN, Bluetooth, crypto, vsock, XDP."""
    with pytest.raises(SandboxViolation, match="socket"):
        pure.call(SOCKET, family, kind, 0, 0, 0, 0)


@pytest.mark.parametrize("family", [1, 16, 17, 38, 40])
def test_a_client_has_no_other_socket(family: int) -> None:
    with sandboxed("network-client") as lib, pytest.raises(SandboxViolation, match="socket"):
        lib.call(SOCKET, family, STREAM, 0, 0, 0, 0)


def test_a_connection(pure: ferry.Library, server: socket.socket) -> None:
    with pytest.raises(SandboxViolation):
        pure.connect_to("127.0.0.1", server.getsockname()[1])
    assert nobody_came(server)


def test_a_connection_by_the_doorbell(pure: ferry.Library, server: socket.socket) -> None:
    where = put(pure, loopback(server.getsockname()[1]))
    with pytest.raises(SandboxViolation, match="connect to 127\\.0\\.0\\.1"):
        pure.call(CONNECT, DOORBELL, where, 16, 0, 0, 0)
    assert nobody_came(server)


@pytest.mark.parametrize("abstract", [True, False])
def test_a_unix_socket_by_the_doorbell(tmp_path: Path, pure: ferry.Library, abstract: bool) -> None:
    name = f"\0libferry-{os.getpid()}" if abstract else str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        where = struct.pack("=H", socket.AF_UNIX) + os.fsencode(name)
        with pytest.raises(SandboxViolation, match="connect"):
            pure.call(CONNECT, DOORBELL, put(pure, where), len(where), 0, 0, 0)
        assert nobody_came(server)


@pytest.mark.parametrize("way", ["plain", "fast open", "fast open by sendmsg", "MPTCP", "IPv6"])
def test_a_port_that_is_not_listed(server: socket.socket, way: str) -> None:
    """Landlock sees plain TCP alone: the other ways have to be closed before it."""
    port = server.getsockname()[1]
    with sandboxed(adding(connect=(1,), datagrams=True)) as lib:
        where = put(lib, loopback(port))
        tcp = (SOCKET, socket.AF_INET, STREAM, 0, 0, 0, 0)
        if way == "plain":
            assert lib.call(CONNECT, lib.call(*tcp), where, 16, 0, 0, 0) == -errno.EACCES
        elif way == "fast open":
            sent = lib.call(SENDTO, lib.call(*tcp), where, 1, MSG_FASTOPEN, where, 16)
            assert sent == -errno.EOPNOTSUPP
        elif way == "fast open by sendmsg":
            piece = put(lib, struct.pack("<QQ", where, 1))
            message = put(lib, struct.pack("<QQQQQQQ", where, 16, piece, 1, 0, 0, 0))
            sent = lib.call(SENDMSG, lib.call(*tcp), message, MSG_FASTOPEN, 0, 0, 0)
            assert sent == -errno.EOPNOTSUPP
        elif way == "MPTCP":
            with pytest.raises(SandboxViolation, match="socket"):
                lib.call(SOCKET, socket.AF_INET, STREAM, IPPROTO_MPTCP, 0, 0, 0)
        else:
            mapped = struct.pack("=H", socket.AF_INET6) + struct.pack(
                "!HI16sI", port, 0, bytes(10) + b"\xff\xff\x7f\0\0\1", 0
            )
            six = lib.call(SOCKET, socket.AF_INET6, STREAM, 0, 0, 0, 0)
            assert lib.call(CONNECT, six, put(lib, mapped), len(mapped), 0, 0, 0) < 0
    assert nobody_came(server)


@pytest.mark.parametrize("protocol", [IPPROTO_ICMP, IPPROTO_UDPLITE])
def test_a_datagram_that_is_not_udp(protocol: int) -> None:
    with sandboxed(adding(datagrams=True)) as lib, pytest.raises(SandboxViolation, match="socket"):
        lib.call(SOCKET, socket.AF_INET, DGRAM, protocol, 0, 0, 0)


def test_a_datagram_of_a_client_that_has_none() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        with sandboxed(adding(connect=(1,))) as lib:
            where = put(lib, loopback(receiver.getsockname()[1]))
            tcp = lib.call(SOCKET, socket.AF_INET, STREAM, 0, 0, 0, 0)
            with pytest.raises(SandboxViolation, match="sendto"):
                lib.call(SENDTO, tcp, where, 1, 0, where, 16)
        with pytest.raises(BlockingIOError):
            receiver.recv(1)


def test_a_client_that_listens_without_a_name() -> None:
    """The kernel would choose a port, and Landlock is not asked."""
    with sandboxed("network-client") as lib:
        tcp = lib.call(SOCKET, socket.AF_INET, STREAM, 0, 0, 0, 0)
        with pytest.raises(SandboxViolation, match="listen") as caught:
            lib.call(LISTEN, tcp, 1, 0, 0, 0, 0)
    assert caught.value.allow == '[network] listen = ["any"]'


# ---- the doorbell ----


def test_a_descriptor_through_the_doorbell(pure: ferry.Library) -> None:
    with pytest.raises(SandboxViolation, match="sendmsg"):
        pure.call(SENDMSG, DOORBELL, put(pure, bytes(56)), 0, 0, 0, 0)


def test_descriptors_through_the_doorbell_of_who_may_send_messages() -> None:
    """The host reads bytes, and the kernel lets go of the rest."""
    with attacker(adding(datagrams=True)) as lib:
        before = descriptors()
        assert lib.passes(DOORBELL, 0, 200) == 200
        assert lib.asks_often("/dev/null", 10) == 10
        assert soon(lambda: descriptors() <= before)


def test_ringing_the_doorbell_all_the_time() -> None:
    with attacker() as lib, attacker() as other:
        assert lib.floods(DOORBELL, 50) == 0
        assert other.asks_often("/dev/null", 10) == 10


def test_closing_the_doorbell() -> None:
    with attacker() as lib:
        worker = lib.pid
        with suppress(LibraryCrashed):  # a thread that still reads may keep it open, or not
            lib.closes_everything()
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


# ---- who supervises ----


def test_stealing_the_notifications(pure: ferry.Library) -> None:
    """A filter of its own with a listener would be asked before ours."""
    with pytest.raises(SandboxViolation, match="seccomp"):
        pure.call(SECCOMP, SET_MODE_FILTER, NEW_LISTENER, put(pure, bytes(16)), 0, 0, 0)


def test_a_handler_for_every_signal() -> None:
    with attacker() as lib, pytest.raises(SandboxViolation, match="ptrace"):
        lib.hides_behind_a_handler(PTRACE)


def test_asking_thousands_of_times_holds_up_nobody_else() -> None:
    with attacker() as lib, attacker() as other:
        asking = threading.Thread(target=lib.asks_often, args=("/dev/null", 10_000))
        asking.start()
        assert other.asks_often("/dev/null", 100) == 100
        asking.join()


def test_dying_while_it_asks() -> None:
    def die() -> None:
        with attacker() as lib, pytest.raises(LibraryCrashed) as caught:
            lib.dies_while_it_asks(b"/dev/null")
        assert not isinstance(caught.value, SandboxViolation)

    die()
    before = descriptors(), threading.active_count()
    for _ in range(5):
        die()
    assert soon(lambda: descriptors() <= before[0] and threading.active_count() <= before[1])


def test_forking_the_host_while_it_is_asked() -> None:
    """A fork's child has neither the listener nor the thread, and the parent keeps both."""
    with attacker() as lib:
        asking = threading.Thread(target=lib.asks_often, args=("/dev/null", 5_000))
        asking.start()
        for _ in range(10):
            if (child := os.fork()) == 0:
                try:
                    os._exit(any("seccomp" in one for one in opened()))
                finally:
                    os._exit(2)
            assert os.waitpid(child, 0)[1] == 0
        assert any("seccomp" in one for one in opened())
        asking.join()
        assert lib.asks_often("/dev/null", 10) == 10


def test_closing_the_library_while_it_asks() -> None:
    def ask(lib: ferry.Library) -> None:
        with pytest.raises(ferry.FerryError):
            lib.asks_often("/dev/null", 10_000_000)

    def close_meanwhile() -> None:
        lib = attacker()
        asking = threading.Thread(target=ask, args=(lib,))
        asking.start()
        time.sleep(0.02)
        lib.close()
        asking.join()

    close_meanwhile()
    before = descriptors()
    for _ in range(3):
        close_meanwhile()
    assert soon(lambda: descriptors() <= before)
