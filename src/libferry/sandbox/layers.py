"""The layers of a sandbox: what each stops, and why one may be missing.

No layer is enough alone, and which of them a kernel gives differs with its version, its
settings and the container that it may run in. So each is asked for by itself, and
whatever is missing is said: ``lib.sandbox`` for a library, ``libferry doctor`` for the
machine. ``require=`` makes it an error.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from libferry.errors import ArgumentValueError, SandboxUnavailable
from libferry.sandbox import landlock
from libferry.sandbox.kernel import Kernel
from libferry.sandbox.profile import Profile

ALL = "all"


@dataclass(frozen=True)
class Layer:
    """One layer, for one sandbox.

    Attributes:
        name: what ``require=`` calls it.
        stops: what it keeps the library from.
        in_force: whether it does.
        wanted: whether the profile leaves it a use: a network profile has no network
            namespace of its own.
        why: why it is not in force; empty if it is.
    """

    name: str
    stops: str
    in_force: bool
    wanted: bool = True
    why: str = ""

    def as_dict(self) -> dict[str, object]:
        """The layer as data."""
        return {
            "layer": self.name,
            "stops": self.stops,
            "in_force": self.in_force,
            "wanted": self.wanted,
            "why_not": self.why or None,
        }


@dataclass(frozen=True)
class Report:
    """What a sandbox is made of: ``lib.sandbox``.

    Attributes:
        profile: what the library may do.
        layers: all layers that there could be, in force or not.
        learning: whether violations are noted down instead of stopped.
    """

    profile: Profile
    layers: tuple[Layer, ...]
    learning: bool = False

    @property
    def in_force(self) -> tuple[Layer, ...]:
        """The layers that hold."""
        return tuple(layer for layer in self.layers if layer.in_force)

    @property
    def missing(self) -> tuple[Layer, ...]:
        """The layers that the profile wants and this system does not give."""
        return tuple(layer for layer in self.layers if layer.wanted and not layer.in_force)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __str__(self) -> str:
        lines = [f"profile {self.profile.name}: {self.profile.description}".rstrip(": ")]
        if self.learning:
            lines.append("learning: what the profile forbids is noted down, and not stopped")
        width = max(len(layer.name) for layer in self.layers)
        for layer in self.layers:
            state = "yes" if layer.in_force else "no " if layer.wanted else "-  "
            text = layer.stops if layer.in_force else layer.why
            lines.append(f"  {state} {layer.name:{width}}  {text}")
        return "\n".join(lines)


@dataclass(frozen=True)
class _Fact:
    """A layer as a fact: what it stops, since when Linux has it, and its test."""

    name: str
    stops: str
    since: str
    has: Callable[[Kernel], bool]
    wanted: Callable[[Profile], bool] = lambda profile: True
    unwanted: str = ""


def _namespace(name: str) -> Callable[[Kernel], bool]:
    return lambda kernel: name in kernel.namespaces


def _landlock(abi: int) -> Callable[[Kernel], bool]:
    return lambda kernel: kernel.landlock >= abi


# Since when: seccomp(2), seccomp_unotify(2), namespaces(7), user_namespaces(7) and the
# kernel's Documentation/userspace-api/landlock.rst.
_FACTS = (
    _Fact(
        "seccomp",
        "system calls that the profile does not allow, made in any way the CPU has",
        "3.17",
        lambda kernel: kernel.seccomp,
    ),
    _Fact(
        "seccomp notification",
        "files by name, code after loading, and says which act it was",
        "5.5",
        lambda kernel: kernel.notification,
    ),
    _Fact(
        "socket kinds",
        "sockets that are neither TCP nor UDP, and those that the profile has no use for",
        "3.17",
        lambda kernel: kernel.seccomp,
    ),
    _Fact("landlock", "files outside the profile's lists, by whatever path", "5.13", _landlock(1)),
    _Fact(
        "landlock network",
        "TCP connections and servers on ports that the profile does not list",
        "6.7",
        _landlock(landlock.NETWORK_ABI),
    ),
    _Fact(
        "landlock scopes",
        "signals and abstract sockets to other processes",
        "6.12",
        _landlock(landlock.SCOPE_ABI),
    ),
    _Fact(
        "user namespace",
        "rights over anything outside it; the other namespaces need it",
        "3.8",
        _namespace("user"),
    ),
    _Fact(
        "mount namespace",
        "files of the host: its root holds what the profile names, and nothing else",
        "3.8",
        _namespace("mount"),
    ),
    _Fact(
        "pid namespace",
        "other processes: it sees none, and can signal or trace none",
        "3.8",
        _namespace("pid"),
    ),
    _Fact(
        "network namespace",
        "every network, the machine's own addresses and abstract sockets included",
        "3.8",
        _namespace("net"),
        lambda profile: not profile.network,
        "the profile allows the network",
    ),
    _Fact("ipc namespace", "System V and POSIX message queues", "3.8", _namespace("ipc")),
    _Fact("uts namespace", "changes of the host's name", "3.8", _namespace("uts")),
    _Fact(
        "cgroup namespace", "the names of the host's control groups", "4.6", _namespace("cgroup")
    ),
    _Fact("no new privileges", "set-user-ID programs", "3.5", lambda kernel: True),
    _Fact("capabilities", "what root may do and others may not", "2.6", lambda kernel: True),
    _Fact(
        "limits",
        "more memory, processor time, files than the profile grants",
        "2.6",
        lambda kernel: True,
    ),
    _Fact(
        "thread limit",
        "more threads and processes than the profile grants",
        "5.14",
        # before, the limit counts all processes of the user; and it never binds root
        lambda kernel: (
            kernel.version >= (5, 14) and "user" in kernel.namespaces and os.getuid() != 0
        ),
    ),
    _Fact(
        "environment",
        "variables that the profile does not name; preloads",
        "2.6",
        lambda kernel: True,
    ),
    _Fact(
        "descriptors",
        "files, sockets and terminals that this process has open",
        "2.6",
        lambda kernel: True,
    ),
)

# What forbids namespaces to ordinary users: a file, what it then says, and what to do.
_SWITCHES = (
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "Debian's and Arch's switch"),
    ("/proc/sys/user/max_user_namespaces", "0", "user_namespaces(7)"),
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "Ubuntu 23.10 and later"),
)
_CONTAINERS = ("/.dockerenv", "/run/.containerenv")


def layers_of(
    profile: Profile, kernel: Kernel, lacking: Mapping[str, str] | None = None
) -> tuple[Layer, ...]:
    """All layers for a profile on a kernel.

    Args:
        profile: decides which are wanted.
        kernel: decides which there are.
        lacking: layers that are not in force although the kernel has them, and why.
    """
    lacking = lacking or {}
    made = []
    for fact in _FACTS:
        if not fact.wanted(profile):
            made.append(Layer(fact.name, fact.stops, False, False, fact.unwanted))
        elif fact.has(kernel) and fact.name not in lacking:
            made.append(Layer(fact.name, fact.stops, True))
        else:
            why = lacking.get(fact.name) or _why(fact, kernel)
            made.append(Layer(fact.name, fact.stops, False, True, why))
    return tuple(made)


def names() -> tuple[str, ...]:
    """What ``require=`` knows."""
    return tuple(fact.name for fact in _FACTS)


def check(report: Report, require: str | Iterable[str]) -> None:
    """Insist on layers.

    Raises:
        SandboxUnavailable: one of them is wanted, and not in force.
        ArgumentValueError: there is no such layer.
    """
    wanted = _wanted(require)
    missing = [layer for layer in report.missing if layer.name in wanted]
    if missing:
        raise SandboxUnavailable(
            f"put a library into the sandbox {report.profile.name}",
            "; ".join(f"{layer.name}: {layer.why}" for layer in missing),
            hint="libferry doctor says what this machine enforces; without require= the "
            "library is loaded with what there is, and lib.sandbox lists what is missing",
        )


def _wanted(require: str | Iterable[str]) -> set[str]:
    if require == ALL:
        return set(names())
    wanted = {require} if isinstance(require, str) else set(require)
    for name in wanted:
        if name not in names():
            near = difflib.get_close_matches(str(name), names(), 1)
            raise ArgumentValueError(
                "load a library",
                f"require names {name!r}, which is no layer of a sandbox",
                hint=f"{near[0]!r}?" if near else f"'all', or some of {', '.join(names())}",
            )
    return wanted


def _why(fact: _Fact, kernel: Kernel) -> str:
    """Why a layer is not in force."""
    since = tuple(int(number) for number in fact.since.split("."))
    if fact.name == "thread limit" and os.getuid() == 0:
        return "this is root, whom no limit on processes binds"
    if kernel.version < since:
        return f"this kernel is {'.'.join(map(str, kernel.version))}; Linux {fact.since} has it"
    if fact.name.startswith("landlock"):
        if not kernel.landlock:
            return (
                f"Linux has it since {fact.since}, and this kernel was built or started without "
                "(lsm=)"
            )
        return f"this kernel's Landlock has ABI {kernel.landlock}; Linux {fact.since} has it"
    if "namespace" in fact.name or fact.name == "thread limit":
        return _why_no_namespace()
    return f"the kernel refuses it, though Linux has it since {fact.since}" + _in_container()


def _why_no_namespace() -> str:
    for path, value, whose in _SWITCHES:
        try:
            if Path(path).read_text(encoding="ascii").strip() == value:
                name = path.removeprefix("/proc/sys/").replace("/", ".")
                return f"the sysctl {name} is {value} ({whose})"
        except OSError:
            continue
    return "the kernel refuses to make one" + _in_container()


def _in_container() -> str:
    if any(map(os.path.exists, _CONTAINERS)) or "container" in os.environ:
        return "; this is a container, whose own seccomp filter may be why"
    return ""
