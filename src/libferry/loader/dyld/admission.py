"""Whether dyld, and the kernel behind it, take a file that lies where they looked.

A file that is refused does not end the search: the next place is tried, and all reasons
are in the message in the end.
"""

from __future__ import annotations

from typing import NamedTuple

from libferry.binary.macho.view import MachOView
from libferry.binary.model import Binary
from libferry.loader.dyld import messages
from libferry.loader.dyld.paths import Request
from libferry.loader.dyld.process import Process, best_slice, view_of
from libferry.loader.dyld.rules import ALSO_LOADS, NEEDS_UUID_SINCE

UNSIGNED = "mapped file has no cdhash, completely unsigned? Code has to be at least ad-hoc signed."
NO_TEAM = (
    "mapped file has no Team ID and is not a platform binary "
    "(signed with custom identity or adhoc?)"
)
OTHER_TEAM = "mapping process and mapped file (non-platform) have different Team IDs"


class Refusal(NamedTuple):
    """The rule, and what dyld says."""

    rule: str
    reason: str


def admit(
    binary: Binary, path: str, request: Request, process: Process
) -> tuple[Binary | None, Refusal | None]:
    """Choose the slice of a file, and say why it is refused, if it is.

    Args:
        binary: any slice of the file.
        path: without links.
        request: how it was asked for.
        process: what it shall be loaded into.
    """
    if binary.format != "macho":
        return None, Refusal("not-a-library", "slice is not valid mach-o file")
    chosen = best_slice(binary, process.loads)
    if chosen is None:
        have = view_of(binary).architectures
        return None, Refusal("no-slice", messages.incompatible_architecture(have, process))
    view = view_of(chosen)
    for check in (_platform, _file_type, _form, _signature):
        refusal = check(chosen, view, path, request, process)
        if refusal is not None:
            return chosen, refusal
    return chosen, None


def _platform(
    _: Binary, view: MachOView, path: str, __: Request, process: Process
) -> Refusal | None:
    # One without a platform is of a time when there was only one for its CPU.
    built = [platform.name for platform in view.platforms] or ["macOS"]
    if {process.platform, *ALSO_LOADS.get(process.platform, ())} & set(built):
        return None
    return Refusal("wrong-platform", messages.incompatible_platform(path, built[0], process))


# dyld-1378, dyld/JustInTimeLoader.cpp makeJustInTimeLoaderDisk: what may be linked, and dlopened
_LINKED = {"DYLIB", "DYLIB_STUB"}
_OPENED = {"DYLIB", "DYLIB_STUB", "BUNDLE", "EXECUTE"}


def _file_type(
    _: Binary, view: MachOView, path: str, request: Request, __: Process
) -> Refusal | None:
    kind = view.file_type
    if kind in (_LINKED if request.linked else _OPENED):
        return None
    if kind == "BUNDLE":
        return Refusal("not-a-library", f"cannot link against bundle '{path}'")
    if kind == "EXECUTE":
        return Refusal("not-a-library", f"cannot link against a main executable '{path}'")
    return Refusal("not-a-library", f"unloadable mach-o file type {kind} '{path}'")


def _form(binary: Binary, view: MachOView, _: str, __: Request, process: Process) -> Refusal | None:
    """What dyld demands of files that were built with a new SDK."""
    release = process.release
    sdk = view.platforms[0].sdk if view.platforms else (0, 0, 0)
    if release.needs_uuid and sdk >= NEEDS_UUID_SINCE and view.uuid is None:
        return Refusal("malformed", "missing LC_UUID load command")
    since = release.refuses_needed_twice_since
    if since is not None and sdk >= since and (twice := _twice(binary.needed)):
        return Refusal("malformed", f"duplicate linked dylib '{twice}'")
    since = release.refuses_duplicates_since
    if since is not None and sdk >= since and (twice := _twice(binary.rpath)):
        return Refusal("malformed", f"duplicate LC_RPATH '{twice}'")
    return None


def _twice(names: tuple[str, ...]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _signature(
    binary: Binary, view: MachOView, path: str, _: Request, process: Process
) -> Refusal | None:
    signature = binary.signature
    uuid = messages.dashed(view.uuid)
    why = None
    if signature is None:
        # Rosetta runs unsigned code for x86_64 as Intel's Macs do.
        if process.validates or view.architecture.startswith("arm64"):
            why = UNSIGNED
    elif process.validates and (signature.team is None or signature.team != process.team):
        why = NO_TEAM if signature.team is None else OTHER_TEAM
    if why is None:
        return None
    rule = "unsigned" if why == UNSIGNED else "library-validation"
    return Refusal(rule, messages.not_valid_for_use(path, uuid, why, process))
