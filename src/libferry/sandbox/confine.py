"""Everything that one sandboxed worker is started with.

A profile says what a library may do; here that becomes a plan (what the child does to
itself before it executes), a policy (what the supervisor answers), an environment, and a
report of what all this amounts to on the running kernel. Order matters: constructors run
inside ``dlopen``, so every layer is in force before the worker's first instruction, and
the filter comes last, since it would forbid the other steps.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from libferry import _core
from libferry.errors import SandboxUnavailable
from libferry.sandbox import landlock, layers, mounts, plan, policy, seccomp, violation
from libferry.sandbox.calls import AUDIT_ARCH
from libferry.sandbox.kernel import Kernel, kernel, proc_options
from libferry.sandbox.layers import Report
from libferry.sandbox.learning import Pupil
from libferry.sandbox.needs import need
from libferry.sandbox.places import Program, places
from libferry.sandbox.profile import Profile

_LIMITS = {
    "cpu": resource.RLIMIT_CPU,
    "files": resource.RLIMIT_NOFILE,
    "file-size": resource.RLIMIT_FSIZE,
}
_NO_CORE = 0
_PROC = "/proc/"


@dataclass(frozen=True)
class Confinement:
    """What a sandboxed worker is started with.

    Attributes:
        plan: for ``_core.spawn``.
        policy: for ``session.attach``; empty if nothing is handed over to us.
        environment: all variables that it gets.
        report: what is in force.
        own: the audit architecture of its code.
        pupil: who notes down what it does; None if it does not learn.
    """

    plan: bytes
    policy: bytes
    environment: Mapping[str, str]
    report: Report
    own: int
    pupil: Pupil | None = None

    def watch(self, session: _core.Session) -> None:
        """A session with such a worker begins."""
        violation.watch(session, self.own, self.report.profile.name)
        if self.pupil:
            self.pupil.watch(session)

    def refused(self, error: _core.SpawnError) -> SandboxUnavailable:
        """A step of the plan that this system does not allow, as an error."""
        return SandboxUnavailable(
            f"put a library into the sandbox {self.report.profile.name}",
            f"step {error.kind}: {error}",
            hint="libferry doctor says what this machine enforces; a security module "
            "(SELinux, AppArmor) or a container may forbid more than the kernel says",
        )

    def leave(self, session: _core.Session) -> None:
        """A session with such a worker ends."""
        if self.pupil:
            self.pupil.leave(session)


def confine(
    profile: Profile,
    program: Program,
    *,
    arena: int,
    environment: Mapping[str, str],
    require: str | Iterable[str] = (),
    learns_at: Path | None = None,
) -> Confinement:
    """What a worker is started with, so that its library keeps to a profile.

    Args:
        profile: what the library may do.
        program: what is started.
        arena: bytes of memory that are shared with it, which its limit does not count.
        environment: variables that its runner needs.
        require: names of layers that must be in force, or ``"all"``.
        learns_at: let everything pass, and leave what the profile would stop in this folder.

    Raises:
        SandboxUnavailable: this kernel has no seccomp, or a required layer is missing.
    """
    has = kernel()
    if not has.seccomp:
        raise SandboxUnavailable(
            f"put a library into the sandbox {profile.name}",
            "this kernel takes no seccomp filters",
            hint="use isolation='worker' for a library that you trust",
        )
    if learns_at is not None:
        return _learning(profile, program, environment, has, learns_at)
    arch, host = _archs(program)
    lacking = {}
    if profile.network and seccomp.hides_sockets(arch):
        lacking["socket kinds"] = (
            "a 32-bit C library makes sockets by socketcall(2), which hides it"
        )
        lacking["landlock network"] = (
            "it does not see MPTCP and TCP Fast Open, which socketcall(2) hides"
        )
    report = Report(profile, layers.layers_of(profile, has, lacking))
    layers.check(report, require)
    where = places(profile, program)
    everything = where.all
    followed = mounts.Followed()
    files = [path for path in everything if not path.startswith(_PROC)]
    real = {path: leads for path in files if (leads := followed.follow(path)) is not None}
    own_root = "mount" in has.namespaces
    own_pids = "pid" in has.namespaces
    proc = proc_options() if own_root and own_pids else None
    if program.place and own_root and proc is None:
        raise SandboxUnavailable(
            f"put a library into the sandbox {profile.name} that is a verified copy",
            "this system gives the sandbox no /proc, by which the copy is opened",
            hint="leave expect= away; or isolation='worker', for a library that you trust",
        )
    steps = _namespaces(profile, has)
    if own_root:
        steps += mounts.steps(everything, followed, own_proc=proc)
    steps += _limits(profile, program, arena, report)
    steps += [plan.step(plan.DROP_CAPABILITIES), plan.step(plan.NO_NEW_PRIVS)]
    if has.landlock:
        ruled = _landlock_files(everything, real, own_root=own_root, own_proc=proc is not None)
        steps.append(landlock.step(profile, ruled, has.landlock))
    program_filter = seccomp.compile_filter(
        profile,
        arch,
        host,
        emulated=program.emulated,
        notify=has.notification,
        own_pids=own_pids,
    )
    flags = plan.FILTER_NEW_LISTENER if has.notification else 0
    steps.append(plan.seccomp(program_filter, flags))
    answers = b""
    if has.notification:
        answers = policy.policy(
            profile,
            where,
            arch,
            host,
            emulated=program.emulated,
            own_root=own_root,
            own_pids=own_pids,
            real=real,
        )
    return Confinement(b"".join(steps), answers, _variables(profile, environment), report, arch)


def _learning(
    profile: Profile,
    program: Program,
    environment: Mapping[str, str],
    has: Kernel,
    learns_at: Path,
) -> Confinement:
    """Only a filter, which hands everything to us that the profile does not allow."""
    if not has.notification:
        raise SandboxUnavailable(
            "learn what a library does",
            "this kernel cannot hand system calls over to us",
            hint="Linux 5.5 or later can; write the profile by hand, from the violations",
        )
    arch, host = _archs(program)
    filters = seccomp.compile_filter(profile, arch, host, emulated=program.emulated, own_pids=False)
    steps = [
        plan.step(plan.NO_NEW_PRIVS),
        plan.seccomp(filters, plan.FILTER_NEW_LISTENER),
    ]
    in_force = {"no new privileges", "environment", "descriptors"}
    missing = {name: "learning" for name in layers.names() if name not in in_force}
    report = Report(profile, layers.layers_of(profile, has, missing), learning=True)
    answers = policy.learning_policy(arch, host)
    library = program.library.path.name if program.library else program.worker
    pupil = Pupil(library, arch, places(profile, program), learns_at)
    variables = _variables(profile, environment)
    return Confinement(b"".join(steps), answers, variables, report, arch, pupil)


def _archs(program: Program) -> tuple[int, int]:
    """The audit architectures of the code that will run, and of this process."""
    host = AUDIT_ARCH[program.host]
    return (host if program.emulated else AUDIT_ARCH[program.cpu]), host


def _namespaces(profile: Profile, has: Kernel) -> list[bytes]:
    flags = 0
    for name, flag in (
        ("user", plan.CLONE_NEWUSER),
        ("mount", plan.CLONE_NEWNS),
        ("pid", plan.CLONE_NEWPID),
        ("ipc", plan.CLONE_NEWIPC),
        ("uts", plan.CLONE_NEWUTS),
        ("cgroup", plan.CLONE_NEWCGROUP),
        ("net", 0 if profile.network else plan.CLONE_NEWNET),
    ):
        if name in has.namespaces:
            flags |= flag
    if not flags:
        return []
    return [plan.namespaces(flags), plan.map_ids(os.geteuid(), os.getegid())]


def _limits(profile: Profile, program: Program, arena: int, report: Report) -> list[bytes]:
    limits = {resource.RLIMIT_CORE: _NO_CORE}
    for name, number in _LIMITS.items():
        if name in profile.limits:
            limits[number] = profile.limits[name]
    if "memory" in profile.limits:
        beside = need("qemu").limits["memory"] if program.emulated else 0
        limits[resource.RLIMIT_AS] = profile.limits["memory"] + arena + beside
    if "processes" in profile.limits and any(
        layer.name == "thread limit" for layer in report.in_force
    ):
        limits[resource.RLIMIT_NPROC] = profile.limits["processes"]
    return [_rlimit(number, limit) for number, limit in limits.items()]


def _rlimit(number: int, limit: int) -> bytes:
    """A limit, or the one that is in force already if that is lower."""
    hard = resource.getrlimit(number)[1]
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    return plan.rlimit(number, limit, limit)


def _landlock_files(
    everything: Mapping[str, int], real: Mapping[str, str], *, own_root: bool, own_proc: bool
) -> dict[str, int]:
    """The files that there will be, without links, and the access to each.

    A process's own files in /proc come and go as the kernel needs memory, and a rule on one
    would go with it: in a /proc of its own the rule is on the whole.
    """
    files: dict[str, int] = {}
    for path, access in everything.items():
        leads = real.get(path)
        if path.startswith(_PROC):
            leads = "/proc" if own_proc else path
            if not own_proc and (own_root or not os.path.exists(path)):
                continue
        if leads is not None:
            files[leads] = files.get(leads, 0) | access
    return files


def _variables(profile: Profile, environment: Mapping[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in profile.environment if name in os.environ}
    return kept | dict(environment)
