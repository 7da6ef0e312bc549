"""dyld's own words, which changed with macOS 12, 13 and 14.

dyld-852.2 ``src/ImageLoader.cpp`` and ``src/ImageLoaderMachO.cpp`` (macOS 11), dyld-960
``dyld/JustInTimeLoader.cpp`` and ``dyld/Loader.cpp`` (macOS 12), and the same files of
dyld-1042.1 to dyld-1378 (since macOS 13, which added UUIDs).
"""

from __future__ import annotations

from collections.abc import Sequence

from libferry.loader.dyld.process import Process, view_of
from libferry.loader.dyld.rules import CACHED_FOLDERS
from libferry.loader.model import Node, Step

NO_SUCH_FILE = "no such file"


def reason_of(tried: Sequence[Step], process: Process, name: str) -> str:
    """What dyld says of the places that it tried."""
    macos = process.release.macos
    if macos == 11:
        found = [f"\n\t{step.path}: {step.reason}" for step in tried if step.outcome != "missing"]
        return (
            "no suitable image found.  Did find:" + "".join(found) if found else "image not found"
        )
    if tried:
        places = ", ".join(f"'{step.path}' ({_reason(step, macos)})" for step in tried)
        return f"tried: {places}"
    if name.startswith("@rpath/") and macos >= 14:
        return "no LC_RPATH's found"
    return "image not found"


def _reason(step: Step, macos: int) -> str:
    reason = step.reason or NO_SUCH_FILE
    if reason == NO_SUCH_FILE and macos > 12 and step.path.startswith(CACHED_FOLDERS):
        return f"{reason}, not in dyld cache"
    return reason


def not_loaded(name: str, asker: Node, reason: str, process: Process) -> str:
    """ "Library not loaded"."""
    macos, path = process.release.macos, real_path(asker)
    if macos == 12:
        return f"Library not loaded: '{name}'\n  Referenced from: '{path}'\n  Reason: {reason}"
    who = path if macos == 11 else f"<{uuid_of(asker)}> {path}{too_new(asker, process)}"
    return f"Library not loaded: {name}\n  Referenced from: {who}\n  Reason: {reason}"


def symbol_not_found(name: str, asker: Node, expected: Node, process: Process) -> str:
    """ "Symbol not found"."""
    macos, path, other = process.release.macos, real_path(asker), real_path(expected)
    if macos == 11:
        where = f"  Referenced from: {path}\n  Expected in: {other}\n in {path}"
        return f"Symbol not found: {name}\n{where}"
    if macos == 12:
        return f"Symbol not found: ({name})\n  Referenced from: '{path}'\n  Expected in: '{other}'"
    return (
        f"Symbol not found: {name}\n"
        f"  Referenced from: <{uuid_of(asker)}> {path}{too_new(asker, process)}\n"
        f"  Expected in:     <{uuid_of(expected)}> {other}"
    )


def not_in_flat_namespace(name: str, asker: Node, process: Process) -> str:
    """The same for a symbol that may come from anywhere."""
    macos = process.release.macos
    if macos == 11:
        path = real_path(asker)
        where = f"  Referenced from: {path}\n  Expected in: flat namespace\n in {path}"
        return f"Symbol not found: {name}\n{where}"
    return f"symbol not found in flat namespace {f'({name})' if macos == 12 else repr(name)}"


def incompatible_architecture(have: Sequence[str], process: Process) -> str:
    """No slice of a file is for the process."""
    macos = process.release.macos
    if macos == 11:
        return "mach-o, but wrong architecture"
    if process.architecture == "arm64":
        needs = process.release.needs if macos > 12 else process.release.needs[:1]
    else:
        needs = process.loads
    need = "' or '".join(needs)
    if len(have) > 1:
        kind = "fat file, but missing compatible architecture"
    else:
        kind = "mach-o file, but is an incompatible architecture"
    return f"{kind} (have '{','.join(have)}', need '{need}')"


def incompatible_platform(path: str, have: str, process: Process) -> str:
    """A file is for another platform than the process."""
    need = process.platform
    return f"mach-o file ({path}), but incompatible platform (have '{have}', need '{need}')"


def not_valid_for_use(path: str, uuid: str, why: str, process: Process) -> str:
    """The kernel refuses a file for its signature; ``why`` are the kernel's words."""
    if process.release.macos == 11:
        use = "not valid for use in process using Library Validation"
        return f"code signature in ({path}) {use}: {why}"
    return f"code signature in <{uuid}> '{path}' not valid for use in process: {why}"


def incompatible_version(
    asker: str, wanted: tuple[int, ...], found: str, has: tuple[int, ...]
) -> str:
    """A library is older than the one that another was linked with (macOS 11)."""
    need, have = (".".join(map(str, version)) for version in (wanted, has))
    return (
        f"Incompatible library version: {asker} requires version {need} or later, "
        f"but {found} provides version {have}"
    )


def too_new(node: Node, process: Process) -> str:
    """What is added since macOS 13 if a file was built for a newer system."""
    if node.binary is None or not is_too_new(node, process):
        return ""
    built = view_of(node.binary).platforms[0]
    version = ".".join(map(str, built.minimum if built.minimum[2] else built.minimum[:2]))
    return f" (built for {built.name} {version} which is newer than running OS)"


def is_too_new(node: Node, process: Process) -> bool:
    """Whether a file was built for a newer system of the same platform."""
    if node.binary is None or not (platforms := view_of(node.binary).platforms):
        return False
    system = process.version
    built = platforms[0]
    return built.name == "macOS" and built.minimum[: len(system)] > system


def uuid_of(node: Node) -> str:
    """As dyld prints a UUID."""
    raw = view_of(node.binary).uuid if node.binary is not None else None
    return dashed(raw)


def dashed(raw: str | None) -> str:
    """A UUID of 32 hex digits as dyld prints it."""
    if raw is None:
        return "no uuid"
    return "-".join((raw[:8], raw[8:12], raw[12:16], raw[16:20], raw[20:])).upper()


def real_path(node: Node) -> str:
    """The path that dyld knows an image by: without links."""
    return node.found.real if node.found is not None else node.name
