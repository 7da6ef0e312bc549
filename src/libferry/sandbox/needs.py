"""What is allowed beside the profile: to the worker itself, the loader, an emulator.

Tables of their own, in ``needs/``, written like profiles: what a worker calls to be a
worker is no decision of whoever writes a profile. So are the calls that a word of a
profile stands for, such as ``processes = true``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from libferry.sandbox.profile import Profile, profile_of, read_toml

_FOLDER = Path(__file__).parent / "needs"
_DEVICES = "/dev/"


@cache
def need(name: str) -> Profile:
    """One of the tables: ``worker``, ``loader``, ``qemu``, ``network``, ..."""
    return profile_of(read_toml(_FOLDER / f"{name}.toml"), name, _FOLDER)


def needs_of(profile: Profile, *, emulated: bool) -> list[Profile]:
    """The tables that count for a profile."""
    names = ["worker"]
    if emulated:
        names.append("qemu")
    if emulated or profile.code:
        names.append("code")
    if profile.network:
        names.append("network")
    if profile.processes:
        names.append("processes")
    if any(not path.startswith(_DEVICES) for path in profile.write):
        names.append("write")
    return [need(name) for name in names]
