"""One line of a system-call list: ``clone(0 & CLONE_THREAD == CLONE_THREAD)``.

A rule is a call's name, as libseccomp knows it, and what its arguments must be: each
condition says ``NUMBER [& MASK] == VALUE``, arguments counted from 0, and all of them
must hold. Masks and values are numbers or the names below, joined by ``|``.

Only registers can be looked at. What a pointer leads to may be changed by another
thread after it was looked at, so the kernel gives filters no way to.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from functools import cache

# The constants that profiles speak of, with the kernel header that has them. Those of
# the CPUs that we host natively agree on all of these.
CONSTANTS = {
    # include/uapi/linux/sched.h
    "CLONE_THREAD": 0x10000,
    # include/uapi/asm-generic/mman-common.h
    "PROT_EXEC": 0x4,
    # include/uapi/linux/prctl.h
    "PR_GET_DUMPABLE": 3,
    "PR_SET_NAME": 15,
    "PR_GET_NAME": 16,
    "PR_SET_THP_DISABLE": 41,
    "PR_SET_VMA": 0x53564D41,
    # include/uapi/asm-generic/ioctls.h
    "TCGETS": 0x5401,
    "TIOCGWINSZ": 0x5413,
    "FIONREAD": 0x541B,
    "FIONBIO": 0x5421,
    # include/uapi/asm-generic/fcntl.h, include/uapi/linux/fcntl.h
    "F_DUPFD": 0,
    "F_GETFD": 1,
    "F_SETFD": 2,
    "F_GETFL": 3,
    "F_SETFL": 4,
    "F_GETLK": 5,
    "F_SETLK": 6,
    "F_SETLKW": 7,
    "F_DUPFD_CLOEXEC": 1030,
    "O_CREAT": 0o100,
    "O_TMPFILE": 0o20000000,  # the bit that it has beside O_DIRECTORY
    # include/linux/socket.h, include/linux/net.h; the type shares its word with flags
    "AF_UNIX": 1,
    "AF_INET": 2,
    "AF_INET6": 10,
    "AF_NETLINK": 16,
    "SOCK_STREAM": 1,
    "SOCK_DGRAM": 2,
    "SOCK_TYPE_MASK": 0xF,
    "MSG_FASTOPEN": 0x20000000,
    # include/uapi/linux/in.h
    "IPPROTO_IP": 0,
    "IPPROTO_TCP": 6,
    "IPPROTO_UDP": 17,
    # include/uapi/linux/stat.h
    "S_ISUID": 0o4000,
    "S_ISGID": 0o2000,
}

_RULE = re.compile(r"\s*(?P<name>\w+)\s*(?:\((?P<conditions>.*)\))?\s*", re.ASCII | re.DOTALL)
_CONDITION = re.compile(r"\s*(\d)\s*(?:&\s*([\w|\s]+?))?\s*==\s*([\w|\s]+?)\s*", re.ASCII)
_ARGUMENTS = 6  # of a system call


@dataclass(frozen=True)
class Condition:
    """``argument & mask == value``."""

    argument: int
    mask: int | None
    value: int


@dataclass(frozen=True)
class Rule:
    """A system call and what its arguments must be."""

    name: str
    conditions: tuple[Condition, ...] = ()


@cache
def parse_rule(text: str) -> Rule:
    """Read one rule.

    Raises:
        ValueError: it is none; the message says what is wrong with it.
    """
    found = _RULE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no system call")
    conditions = []
    if found["conditions"] is not None:
        for part in found["conditions"].split(","):
            condition = _CONDITION.fullmatch(part)
            if condition is None:
                raise ValueError(f"{part.strip()!r} is no condition such as 0 & MASK == VALUE")
            number, mask, value = condition.groups()
            if int(number) >= _ARGUMENTS:
                raise ValueError(f"a system call has no argument {number}; the first is 0")
            conditions.append(
                Condition(int(number), None if mask is None else _value(mask), _value(value))
            )
        if len({one.argument for one in conditions}) != len(conditions):
            raise ValueError(f"{text!r} has two conditions on one argument; write two rules")
    return Rule(found["name"], tuple(conditions))


def parse_errno(name: str) -> int:
    """The number of ``ENOSYS``.

    Raises:
        ValueError: there is no such error.
    """
    number = getattr(errno, name, None) if name.startswith("E") else None
    if not isinstance(number, int):
        raise ValueError(f"{name!r} is no error such as 'ENOSYS'")
    return number


def _value(text: str) -> int:
    value = 0
    for word in text.split("|"):
        name = word.strip()
        if name in CONSTANTS:
            value |= CONSTANTS[name]
        else:
            try:
                value |= int(name, 0)
            except ValueError:
                known = ", ".join(sorted(CONSTANTS))
                raise ValueError(f"{name!r} is neither a number nor one of {known}") from None
    return value
