"""What a sandbox has to know of a library and of its runner."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from libferry.abi import ABIS
from libferry.binary import Binary
from libferry.errors import SandboxUnavailable
from libferry.runtime.runner import Runner, host_cpu
from libferry.sandbox import Profile, learning, read_profile
from libferry.sandbox.confine import Confinement, confine
from libferry.sandbox.places import Program

DEFAULT = "pure"


def confinement(
    binary: Binary,
    runner: Runner,
    *,
    profile: str | os.PathLike[str] | Profile | None,
    more: Profile | None,
    require: str | Iterable[str],
    sysroot: Path | None,
    arena: int,
    place: str | None = None,
) -> Confinement:
    """What a worker for a library is started with, in a sandbox.

    Args:
        binary: the library.
        runner: what runs its worker.
        profile: what it may do; None is ``pure``.
        more: what its contract adds.
        require: layers that must be in force.
        sysroot: where the target's C library is, if that is no part of this system.
        arena: bytes of memory that are shared with the worker.
        place: what the library is opened by in the worker, if not by its own path.

    Raises:
        DeclarationError: the profile cannot be read.
        SandboxUnavailable: a layer is missing that was required, it is for Windows, or it
            cannot open what it is given.
    """
    if runner.windows:
        raise SandboxUnavailable(
            f"put {binary.path.name} into a sandbox",
            "a Windows library asks Wine's server for files and sockets, and that is a "
            "process outside of any sandbox",
            hint="isolation='worker' keeps its crashes and memory apart, and no more; for a "
            "library that you do not trust, run this program in a virtual machine",
        )
    learns_at = learning.folder()
    if profile is None or learns_at is not None:
        profile = DEFAULT  # the profile that is learnt may be the one that is not there yet
    chosen = read_profile(profile)
    if more is not None:
        chosen = replace(chosen.adding(more), name=chosen.name)
    emulated_root = Path(runner.command[2]) if runner.emulated else sysroot
    program = Program(
        command=runner.command,
        worker=runner.command[-1],
        cpu=ABIS[runner.abi].cpu,
        host=host_cpu(),
        emulated=runner.emulated,
        sysroot=emulated_root,
        library=binary,
        place=place,
    )
    return confine(
        chosen,
        program,
        arena=arena,
        environment=runner.environment,
        require=require,
        learns_at=learns_at,
    )
