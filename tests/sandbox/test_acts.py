"""What was told of a call, as words and as the line that would allow it."""

from __future__ import annotations

import socket
import struct
import tomllib
from dataclasses import replace

import pytest

from libferry.sandbox import calls
from libferry.sandbox.acts import Act, Grant, address

pytestmark = pytest.mark.needs("libseccomp.so.2", install="apt-get install libseccomp2")

X86_64, I386 = calls.AUDIT_ARCH["x86_64"], calls.AUDIT_ARCH["i386"]
# arch/x86/entry/syscalls/syscall_64.tbl of Linux
OPENAT, SOCKET, CONNECT, SENDTO, BIND, PRCTL, KILL, RENAME = 257, 41, 42, 44, 49, 157, 62, 82
EXECVE, MPROTECT, IOCTL, GETXATTR = 59, 10, 16, 191
NOTHING = Act(0, X86_64, (0,) * 6, None, None, 0, 2, X86_64)


def act(nr: int, *arguments: int, **more: object) -> Act:
    six = (*arguments, *(0,) * 6)[:6]
    return replace(NOTHING, nr=nr, arguments=six, **more)  # type: ignore[arg-type]


def inet(host: str, port: int) -> bytes:
    return struct.pack("<H", socket.AF_INET) + struct.pack(">H", port) + socket.inet_aton(host)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (inet("127.0.0.1", 8080), "127.0.0.1:8080"),
        (
            struct.pack("<H", 10)
            + struct.pack(">HI", 443, 0)
            + socket.inet_pton(socket.AF_INET6, "::1")
            + bytes(4),
            "[::1]:443",
        ),
        (struct.pack("<H", 1) + b"/run/x.sock\0\0", "/run/x.sock"),
        (struct.pack("<H", 1) + b"\0abstract", "@abstract"),
        (struct.pack("<H", 16) + bytes(10), "AF_NETLINK"),
        (struct.pack("<H", 999), "an address of family 999"),
        # cut off, as a hostile worker may have it
        (inet("127.0.0.1", 8080)[:5], "AF_INET"),
        (b"\x02", "AF_INET"),
    ],
)
def test_an_address_is_written_as_people_write_it(data: bytes, text: str) -> None:
    assert address(data) == text


@pytest.mark.parametrize(
    ("done", "words", "line"),
    [
        (
            act(CONNECT, 3, sockaddr=inet("10.0.0.1", 80)),
            "connect to 10.0.0.1:80",
            "[network] connect = [80]",
        ),
        (
            act(BIND, 3, sockaddr=inet("127.0.0.1", 80)),
            "bind of 127.0.0.1:80",
            "[network] listen = [80]",
        ),
        (
            act(SENDTO, 3, sockaddr=inet("8.8.8.8", 53)),
            "sendto to 8.8.8.8:53",
            "[network] datagrams = true",
        ),
        (
            act(SOCKET, 2, 2 | 0x80000),
            "socket of AF_INET, SOCK_DGRAM",
            "[network] datagrams = true",
        ),
        (
            act(SOCKET, 16, 3),
            "socket of AF_NETLINK, SOCK_RAW",
            '[syscalls] allow = ["socket(0 == AF_NETLINK)"]',
        ),
        (act(PRCTL, 4), "prctl 0x4", '[syscalls] allow = ["prctl(0 == 0x4)"]'),
        (act(IOCTL, 0, 0x5412), "ioctl 0x5412", '[syscalls] allow = ["ioctl(1 == 0x5412)"]'),
        (act(KILL, 2**64 - 1), "kill of process -1", '[syscalls] allow = ["kill"]'),
        (act(MPROTECT, 0, 0, 5), "mprotect of executable memory", "code = true"),
        (
            act(GETXATTR, path="/a", access=calls.LOOK),
            "getxattr of '/a' (look)",
            '[files] read = ["/a"]',
        ),
        (
            act(RENAME, path="/a/b", access=calls.CREATE),
            "rename of '/a/b' (create)",
            '[files] write = ["/a"]',
        ),
        (act(462), "mseal", '[syscalls] allow = ["mseal"]'),
    ],
)
def test_an_act_has_words_and_a_line(done: Act, words: str, line: str) -> None:
    assert str(done) == words
    (grant,) = done.grants()
    assert grant.line() == line


def test_a_program_needs_two_lines() -> None:
    lines = [one.line() for one in act(EXECVE, path="/bin/sh", access=calls.EXECUTE).grants()]
    assert lines == ["processes = true", '[files] execute = ["/bin/sh"]']


@pytest.mark.parametrize(
    "foreign", [act(2, arch=I386), act(0x40000000), act(11, arch=0xDEADBEEF), act(99999)]
)
def test_what_no_profile_allows_has_no_line(foreign: Act) -> None:
    assert str(foreign)
    assert foreign.grants() == ()


@pytest.mark.parametrize("name", ['/a"b', "/a\nb", "/a\\b", "/\x1b[31m", "/ü", "/\x7f"])
def test_a_hostile_name_is_a_toml_string_all_the_same(name: str) -> None:
    line = Grant("files", "read", name).line()
    table, _, rest = line.partition("] ")
    assert tomllib.loads(f"{table}]\n{rest}") == {"files": {"read": [name]}}


def test_bytes_that_are_no_text_are_shown() -> None:
    told = {
        "nr": OPENAT, "arch": X86_64, "arguments": (0,) * 6, "path": b"/\xff\xfe", "address": None,
        "access": calls.READ, "phase": 2,
    }  # fmt: skip
    done = Act.told(told, X86_64)
    assert done.path == "/\udcff\udcfe"
    assert "openat" in str(done)
