"""What a library did, in words, and the line of a profile that would allow it.

The supervisor tells a call by number, arguments, and the path or address that it read.
All of it comes from a hostile process: it is decoded within its bounds, and only shown.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from libferry.sandbox import calls, policy
from libferry.sandbox.rules import CONSTANTS

_FAMILIES = {1: "AF_UNIX", 2: "AF_INET", 10: "AF_INET6", 16: "AF_NETLINK", 17: "AF_PACKET"}
_KINDS = {1: "SOCK_STREAM", 2: "SOCK_DGRAM", 3: "SOCK_RAW", 5: "SOCK_SEQPACKET"}

# i386's old way to all calls of sockets; include/uapi/linux/net.h
_SOCKET_CALLS = {1: "socket", 2: "bind", 3: "connect", 4: "listen", 5: "accept"}

# Calls whose meaning is in one argument: which, and the prefix of its constants' names.
_SELECTED = {"prctl": (0, "PR_"), "ioctl": (1, ""), "fcntl": (1, "F_"), "fcntl64": (1, "F_")}


@dataclass(frozen=True)
class Grant:
    """What would allow an act: a key of a profile's table, and the value to add there.

    ``table`` is empty for a key at the top of the file; a value of a key that is no list
    is True.
    """

    table: str
    key: str
    value: str | int | bool

    def line(self) -> str:
        """The grant as a line of TOML."""
        value = quoted(self.value) if self.value is True else f"[{quoted(self.value)}]"
        return f"[{self.table}] {self.key} = {value}" if self.table else f"{self.key} = {value}"


def quoted(value: str | int | bool) -> str:
    """A value as TOML has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    escaped = re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\u{ord(found[0]):04x}", escaped)
    return f'"{escaped}"'


@dataclass(frozen=True)
class Act:
    """One system call that was told.

    Attributes:
        nr, arch: which one it was.
        arguments: its six registers.
        path: the path that it named, absolute, or None.
        sockaddr: the bytes of the address that it named, or None.
        access: what it would have done to the path (``calls.READ``, ...).
        phase: when it was (``policy.STARTING``, ...).
        own: the audit architecture of the worker.
    """

    nr: int
    arch: int
    arguments: tuple[int, ...]
    path: str | None
    sockaddr: bytes | None
    access: int
    phase: int
    own: int

    @classmethod
    def told(cls, told: Mapping[str, Any], own: int) -> Act:
        """An act as ``session.death()`` has it."""
        path = told["path"]
        return cls(
            nr=told["nr"],
            arch=told["arch"],
            arguments=told["arguments"],
            path=os.fsdecode(path) if path else None,
            sockaddr=told["address"],
            access=told["access"],
            phase=told["phase"],
            own=own,
        )

    @classmethod
    def noticed(cls, notice: tuple[Any, ...], own: int) -> Act:
        """An act as ``session.notices()`` has it."""
        arch, nr, arguments, path, access, sockaddr, phase, _ = notice
        name = os.fsdecode(path) if path else None
        return cls(nr, arch, arguments, name, sockaddr, access, phase, own)

    @classmethod
    def trapped(cls, nr: int, arch: int, arguments: tuple[int, ...], own: int) -> Act:
        """An act as a worker's record of SIGSYS has it."""
        six = (*arguments, *(0,) * 6)[:6]
        return cls(nr, arch, six, None, None, 0, policy.SERVING, own)

    @property
    def foreign(self) -> bool:
        """Whether the kernel was entered in a way that is not the worker's own."""
        return self.arch != self.own or bool(self.nr & calls.X32_BIT)

    @cached_property
    def name(self) -> str:
        """The call's name."""
        return calls.name_of(self.nr & ~calls.X32_BIT if self._is_x32 else self.nr, self.arch)

    @property
    def _is_x32(self) -> bool:
        return self.arch == calls.AUDIT_ARCH["x86_64"] and bool(self.nr & calls.X32_BIT)

    @cached_property
    def target(self) -> str | None:
        """The path, or the address, that it was about."""
        if self.path is not None:
            return self.path
        return address(self.sockaddr) if self.sockaddr else None

    def __str__(self) -> str:
        if self.foreign:
            way = "by x32's numbers" if self._is_x32 else f"as {_arch_name(self.arch)} code"
            return f"{self.name} {way}"
        if self.name in calls.ADDRESS_CALLS and self.target:
            preposition = "to" if self.name != "bind" else "of"
            return f"{self.name} {preposition} {self.target}"
        if self.path is not None:
            return f"{self.name} of {self.path!r} ({_access_name(self.access)})"
        return self.name + self._detail()

    def _detail(self) -> str:
        first, second, *_ = self.arguments
        if self.name == "socket":
            family = _FAMILIES.get(first, f"family {first}")
            kind = second & CONSTANTS["SOCK_TYPE_MASK"]
            return f" of {family}, {_KINDS.get(kind, f'type {kind}')}"
        if self.name == "socketcall":
            return f" {_SOCKET_CALLS.get(first, first)}"
        if self.name in calls.PROTECTION_CALLS:
            return " of executable memory"
        if self.name in calls.SIGNAL_CALLS:
            number = first & 0xFFFFFFFF  # an int: -1 is everybody
            return f" of process {number - (1 << 32) if number >> 31 else number}"
        if self.name in _SELECTED:
            return f" {self._selected()}"
        return ""

    def _selected(self) -> str:
        index, prefix = _SELECTED[self.name]
        value = self.arguments[index]
        names: tuple[str, ...]
        if self.name == "ioctl":
            names = ("TCGETS", "TIOCGWINSZ", "FIONREAD", "FIONBIO")
        else:
            names = tuple(name for name in CONSTANTS if name.startswith(prefix))
        return next((name for name in names if CONSTANTS[name] == value), f"{value:#x}")

    def grants(self, *, done: bool = False) -> tuple[Grant, ...]:
        """What would allow it, the narrowest; nothing if no profile can.

        Args:
            done: whether it was done: a file that it may have made is then there.
        """
        if self.foreign:
            return ()
        if self.name in calls.PATH_CALLS and self.name not in calls.PROCESS_CALLS:
            if self.path is None:
                return ()  # it was about a descriptor
            opens = self.name in ("open", "openat") and not done
            return _of_path(self.path, self.access, makes=not (opens and os.path.exists(self.path)))
        if self.name in calls.PROCESS_CALLS:
            execute = (Grant("files", "execute", self.path),) if self.path else ()
            return (Grant("", "processes", True), *execute)
        if self.name in calls.ADDRESS_CALLS:
            return self._of_address()
        if self.name in ("socket", "listen", "accept", "accept4"):
            return self._of_socket()
        if self.name == "socketcall":  # for what, is in memory
            return (Grant("network", "connect", "any"),)
        if self.name in calls.PROTECTION_CALLS:
            return (Grant("", "code", True),)
        if self.name in _SELECTED:
            index, _ = _SELECTED[self.name]
            return (Grant("syscalls", "allow", f"{self.name}({index} == {self._selected()})"),)
        if self.name.startswith("call "):
            return ()  # it has no name that a profile could use
        return (Grant("syscalls", "allow", self.name),)

    def _of_address(self) -> tuple[Grant, ...]:
        port = _port(self.sockaddr or b"")
        if port is None:
            return ()
        if self.name == "sendto":
            return (Grant("network", "datagrams", True),)
        return (Grant("network", "listen" if self.name == "bind" else "connect", port or "any"),)

    def _of_socket(self) -> tuple[Grant, ...]:
        if self.name != "socket":
            return (Grant("network", "listen", "any"),)
        family, kind = self.arguments[0], self.arguments[1] & CONSTANTS["SOCK_TYPE_MASK"]
        if family not in (CONSTANTS["AF_INET"], CONSTANTS["AF_INET6"]):
            known = _FAMILIES.get(family)
            value = known if known in CONSTANTS else family
            return (Grant("syscalls", "allow", f"socket(0 == {value})"),)
        if kind == CONSTANTS["SOCK_DGRAM"]:
            return (Grant("network", "datagrams", True),)
        return (Grant("network", "connect", "any"),)


def _of_path(path: str, access: int, *, makes: bool) -> tuple[Grant, ...]:
    if access & calls.CREATE and makes:
        # a name is made or removed in its folder, and that is what has to be open
        return (Grant("files", "write", os.path.dirname(path) or "/"),)
    if access & (calls.WRITE | calls.CREATE):
        return (Grant("files", "write", path),)
    return (Grant("files", "read", path),)


def _access_name(access: int) -> str:
    for bit, word in (
        (calls.EXECUTE, "execute"),
        (calls.CREATE, "create"),
        (calls.WRITE, "write"),
        (calls.READ, "read"),
    ):
        if access & bit:
            return word
    return "look"


def _arch_name(arch: int) -> str:
    return next((name for name, known in calls.AUDIT_ARCH.items() if known == arch), f"{arch:#x}")


# ---- socket addresses: struct sockaddr_in (ip(7)), _in6 (ipv6(7)), _un (unix(7)) ----


def _port(data: bytes) -> int | None:
    family = int.from_bytes(data[:2], "little")
    if family in (CONSTANTS["AF_INET"], CONSTANTS["AF_INET6"]) and len(data) >= 4:
        return int.from_bytes(data[2:4], "big")
    return None


def address(data: bytes) -> str:
    """A socket address for people: ``127.0.0.1:8080``."""
    family = int.from_bytes(data[:2], "little")
    port = _port(data)
    if family == CONSTANTS["AF_INET"] and len(data) >= 8:
        return f"{ipaddress.IPv4Address(data[4:8])}:{port}"
    if family == CONSTANTS["AF_INET6"] and len(data) >= 24:
        return f"[{ipaddress.IPv6Address(data[8:24])}]:{port}"
    if family == CONSTANTS["AF_UNIX"]:
        name = data[2:]
        if name.startswith(b"\0"):
            return "@" + os.fsdecode(name[1:].rstrip(b"\0"))
        return os.fsdecode(name.split(b"\0", 1)[0])
    return _FAMILIES.get(family, f"an address of family {family}")
