"""A profile as a seccomp filter: BPF, made by libseccomp.

The filter has four answers. ALLOW, for what is on the list and on every hot path; the
kernel keeps a map of the calls that are always allowed and does not even run the filter
for them (Linux 5.11). ERRNO, for what a profile refuses quietly. For everything else
USER_NOTIF: the supervisor looks at the path, the address, the phase, and lets it pass or
ends the worker (native/confine.h). On a kernel without that, TRAP: the worker's own
handler writes down the number and dies; an emulator would take the signal for one of its
guest's, and gets KILL. There nobody can look at paths, so calls with paths are allowed, and
Landlock and the mount namespace alone decide.

Which numbers mean what depends on how the kernel was entered. A 64-bit program can enter
it the 32-bit way (``int 0x80``, where 2 is fork and not open), or by x32's numbers: such
calls are of another architecture to seccomp, and no such call is ever allowed. An i386 worker
begins as code of this 64-bit process, which executes it: it gets two filters in one, and
the 64-bit one allows what that takes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache

from libferry.errors import DeclarationError, SandboxUnavailable
from libferry.sandbox import calls, libseccomp
from libferry.sandbox.needs import needs_of
from libferry.sandbox.profile import ANY, Profile
from libferry.sandbox.rules import Rule, parse_errno, parse_rule

# What the child of this process still calls between its filter and its execve
# (native/confine.h), and what ends it if that fails.
_BEFORE_EXECVE = ("futex", "exit", "exit_group")


@lru_cache(maxsize=64)
def _compiled(
    rules: tuple[tuple[str, str], ...],
    arch: int,
    host: int,
    *,
    emulated: bool,
    notify: bool,
    own_pids: bool,
) -> bytes:
    default = libseccomp.NOTIFY if notify else libseccomp.TRAP
    if emulated and not notify:
        # the emulator would take the signal for one of its guest's
        default = libseccomp.KILL_PROCESS
    filters = _Filter(arch, default)
    read = [(parse_rule(text), error) for text, error in rules]
    for rule, error in sorted(read, key=lambda one: bool(one[0].conditions)):
        filters.add(rule, libseccomp.errno(parse_errno(error)) if error else libseccomp.ALLOW)
    if own_pids:
        # In a pid namespace of its own the worker is 1 and there is nobody else; a
        # runtime such as Go's signals its threads all the time.
        for name in calls.SIGNAL_CALLS.keys() - {calls.BY_THREAD}:
            filters.add(parse_rule(f"{name}(0 == 1)"), libseccomp.ALLOW)
        filters.add(Rule(calls.BY_THREAD), libseccomp.ALLOW)
    if not notify:
        for name in (*calls.PATH_CALLS, *calls.PROTECTION_CALLS):
            for text in _not_marking(name) if name in calls.MODE_CALLS else (name,):
                filters.add(parse_rule(text), libseccomp.ALLOW)
    made = filters.made
    if arch != host:
        before = _Filter(host, default)
        for name in _BEFORE_EXECVE if notify else (*_BEFORE_EXECVE, "execve"):
            before.add(Rule(name), libseccomp.ALLOW)
        made.merge(before.made)
    return made.exported()


def compile_filter(
    profile: Profile,
    arch: int,
    host: int,
    *,
    emulated: bool = False,
    notify: bool = True,
    own_pids: bool = True,
) -> bytes:
    """The filter of a profile: an array of ``struct sock_filter``.

    Args:
        profile: what is allowed.
        arch: the audit architecture that the worker's code, or its emulator's, runs on.
        host: that of this process.
        emulated: whether it is an emulator that runs there.
        notify: whether this kernel can hand calls to a supervisor.
        own_pids: whether the worker has a pid namespace of its own.

    Raises:
        DeclarationError: a rule names no system call.
        SandboxUnavailable: there is no libseccomp.
    """
    try:
        return _compiled(
            _rules(profile, arch, emulated),
            arch,
            host,
            emulated=emulated,
            notify=notify,
            own_pids=own_pids,
        )
    except ImportError as error:
        raise SandboxUnavailable(
            "compile a seccomp filter",
            str(error),
            hint="install libseccomp, 2.5 or later: apt-get install libseccomp2",
        ) from None
    except ValueError as error:
        raise DeclarationError(
            f"compile the profile {profile.name}",
            str(error),
            hint="names are those of man-pages section 2; `man 2 syscalls` lists them",
        ) from None


def _rules(profile: Profile, arch: int, emulated: bool) -> tuple[tuple[str, str], ...]:
    """All rules that hold, each with the error it gives or ''; earlier ones come first."""
    whole = profile
    for need in needs_of(profile, emulated=emulated):
        whole = need.adding(whole)
    rules = [(rule, "") for rule in whole.allow]
    rules += [(rule, error) for rule, error in whole.refuse.items()]
    if profile.network:
        rules += _sockets(profile)
        if hides_sockets(arch):
            rules += [(f"socketcall(0 == {one})", "") for one in _hidden_socket_calls(profile)]
    rules += [(rule, "EPERM") for name in calls.MODE_CALLS for rule in _marking(name)]
    return tuple(rules)


def _marking(name: str) -> Iterable[str]:
    """A call that makes a file run as its owner, whoever starts it.

    That is a way out which outlives the sandbox: another user of this machine only has to
    start what was left in /tmp. No namespace changes who the owner is.
    """
    mode, flags = calls.MODE_CALLS[name]
    for bit in ("S_ISUID", "S_ISGID"):
        if flags is None:
            yield f"{name}({mode} & {bit} == {bit})"
        else:
            for makes in ("O_CREAT", "O_TMPFILE"):
                yield f"{name}({flags} & {makes} == {makes}, {mode} & {bit} == {bit})"


def _not_marking(name: str) -> Iterable[str]:
    """The same call, when it does not."""
    mode, flags = calls.MODE_CALLS[name]
    yield f"{name}({mode} & S_ISUID|S_ISGID == 0)"
    if flags is not None:
        yield f"{name}({flags} & O_CREAT|O_TMPFILE == 0)"


def hides_sockets(arch: int) -> bool:
    """Whether what a socket is made for lies in memory, where a filter cannot look.

    glibc for i386 makes all calls of sockets by socketcall(2), unless it was built for
    Linux 4.3 and later alone.
    """
    return arch == calls.AUDIT_ARCH["i386"]


# include/uapi/linux/net.h: what a client calls, with the addresses of both ends and a
# socket's options; sending to an address; what a server calls
_CLIENT_CALLS = (1, 2, 3, 6, 7, 9, 10, 12, 13, 14, 15, 17, 19)
_DATAGRAM_CALLS = (11, 16, 20)
_SERVER_CALLS = (4, 5, 18)


def _hidden_socket_calls(profile: Profile) -> Iterable[int]:
    """Which of socketcall's may be made: their number is in a register, the rest is not."""
    yield from _CLIENT_CALLS
    if profile.datagrams:
        yield from _DATAGRAM_CALLS
    if profile.listen:
        yield from _SERVER_CALLS


def _sockets(profile: Profile) -> Iterable[tuple[str, str]]:
    """Which sockets may be made, and what with, as rules.

    A list of ports is the supervisor's to look at (policy.py), and Landlock's to enforce.
    UDP has none, and connects by the same call. Landlock sees TCP only, and not all of
    it: so no other protocol has a socket of that kind (MPTCP is one), a server that
    listens without a name has to be a server, and TCP Fast Open, which connects by
    sending, is what this kernel does not have.
    """
    kinds = []
    if profile.connect or profile.listen:
        kinds.append(("SOCK_STREAM", "IPPROTO_TCP"))
    if profile.datagrams:
        kinds.append(("SOCK_DGRAM", "IPPROTO_UDP"))
        yield "connect", ""
        for name, flags in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)):
            yield f"{name}({flags} & MSG_FASTOPEN == 0)", ""
            yield f"{name}({flags} & MSG_FASTOPEN == MSG_FASTOPEN)", "EOPNOTSUPP"
    else:
        yield "sendto(4 == 0)", ""  # send(2), which of TCP is all that is needed
    if ANY in profile.connect:
        yield "connect", ""
    if profile.listen:
        yield from ((name, "") for name in ("listen", "accept", "accept4"))
    if ANY in profile.listen:
        yield "bind", ""
    for family in ("AF_INET", "AF_INET6"):
        for kind, protocol in kinds:
            for one in ("IPPROTO_IP", protocol):  # the first is: whatever is usual
                yield f"socket(0 == {family}, 1 & SOCK_TYPE_MASK == {kind}, 2 == {one})", ""


class _Filter:
    """A filter for one architecture, and the rules that it has."""

    def __init__(self, arch: int, default: int) -> None:
        self.arch = arch
        # another way into the kernel: told like the rest, or ended at once
        foreign = default if default == libseccomp.NOTIFY else libseccomp.KILL_PROCESS
        self.made = libseccomp.Filter(default, arch, foreign)
        self._whole: set[str] = set()  # calls with a rule without conditions

    def add(self, rule: Rule, action: int) -> None:
        """Add a rule, unless there is one for the whole call."""
        nr = calls.number(rule.name, self.arch)
        if nr is None or rule.name in self._whole:
            return
        if rule.conditions and calls.takes_a_structure(rule.name, self.arch):
            return
        if not rule.conditions:
            self._whole.add(rule.name)
        arguments = [
            libseccomp.Argument(one.argument, libseccomp.EQUAL, one.value, 0)
            if one.mask is None
            else libseccomp.Argument(one.argument, libseccomp.MASKED_EQUAL, one.mask, one.value)
            for one in rule.conditions
        ]
        # libseccomp takes this machine's numbers and translates them itself
        here = libseccomp.number_of(rule.name, libseccomp.ARCH_NATIVE)
        if here == libseccomp.NO_SUCH_CALL:
            if self.arch != libseccomp.native():
                return  # it cannot translate what it does not know; policy.py allows it
            here = nr
        try:
            self.made.add(action, here, arguments)
        except OSError as error:
            raise ValueError(f"{rule.name}: {os.strerror(error.errno or 0)}") from None
