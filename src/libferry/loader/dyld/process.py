"""The process that a library is loaded into: what it is made of decides what dyld allows.

What a program may load depends on the program: its architecture, its platform, and how it
is signed. The kernel tells dyld when it starts (``amfi_check_dyld_policy_self``); how it
decides is not published, so this follows Apple's documentation of the hardened runtime and
the tests of dyld (``testing/test-cases`` of dyld-1066.10: amfi-hardened-*, atpath-restricted,
restrict-search).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from libferry.binary.macho.signature import entitled
from libferry.binary.macho.view import MachOView
from libferry.binary.model import Binary
from libferry.loader.dyld.cache import SharedCache, cache_of
from libferry.loader.dyld.rules import (
    ALLOWS_VARIABLES,
    LAUNCHES,
    LOADS,
    NOT_PROTECTED,
    PROTECTED_FOLDERS,
    USUAL,
    VARIABLES,
    Release,
    release_of,
)
from libferry.loader.model import Options
from libferry.target.model import Target


def view_of(binary: Binary) -> MachOView:
    """A Mach-O file's own view."""
    view = binary.view
    assert isinstance(view, MachOView)
    return view


@dataclass(frozen=True)
class Process:
    """What dyld knows of the process.

    Attributes:
        release, cache: of the target's macOS.
        version: of that, as far as it is known.
        program: the path of the main executable; None if it is not known.
        architecture: of the process, by Apple's name.
        platform: it was built for.
        at_paths: whether @executable_path and the like are expanded at all.
        relative: whether paths may be relative.
        environment: the variables that count, as lists of folders.
        validates: whether only libraries of the same team, or Apple's, may be loaded.
        team: of the program's signature.
    """

    release: Release
    cache: SharedCache
    version: tuple[int, ...]
    program: str | None
    architecture: str
    platform: str
    at_paths: bool
    relative: bool
    environment: Mapping[str, tuple[str, ...]]
    validates: bool
    team: str | None
    working_directory: str

    @property
    def loads(self) -> tuple[str, ...]:
        """The architectures that it may load, the best first."""
        return LOADS.get(self.architecture.removesuffix("h"), (self.architecture,))


def best_slice(binary: Binary, wanted: tuple[str, ...]) -> Binary | None:
    """The slice of a file that comes first among these architectures."""
    if not binary.slices:
        return binary if view_of(binary).architecture in wanted else None
    slices = {view_of(one).architecture: one for one in view_of(binary).all_slices}
    return next((slices[name] for name in wanted if name in slices), None)


def process_of(target: Target, options: Options, program: tuple[str, Binary] | None) -> Process:
    """The process of a program; of one that is not known, what most are.

    Args:
        target: where it runs.
        options: ``secure`` stands for a program that ignores the environment.
        program: its path, without links, and the slice of it that runs.
    """
    release = release_of(target.version)
    cache = cache_of(release.macos)
    variables = {name: options.environment.get(name, "") for name in VARIABLES}
    if program is None:
        return Process(
            release,
            cache,
            target.version,
            program=None,
            architecture=USUAL.get(target.cpu, target.cpu),
            platform="macOS",
            at_paths=True,
            relative=not options.secure,
            environment=_lists({} if options.secure else variables),
            validates=False,
            team=None,
            working_directory=options.working_directory,
        )
    path, binary = program
    view = view_of(binary)
    signature = binary.signature
    hardened = signature is not None and signature.hardened
    allowed = entitled(signature.entitlements if signature else None, ALLOWS_VARIABLES)
    protected = path.startswith(PROTECTED_FOLDERS) and not path.startswith(NOT_PROTECTED)
    deaf = options.secure or view.restricted or protected or (hardened and not allowed)
    variables = {} if deaf else variables
    if not view.restricted:
        for setting in view.environment:
            name, _, value = setting.partition("=")
            own = value.replace("@executable_path/", _folder(path)).replace(
                "@loader_path/", _folder(path)
            )
            if name in VARIABLES and own:
                variables[name] = ":".join(filter(None, (variables.get(name, ""), own)))
    return Process(
        release,
        cache,
        target.version,
        program=path,
        architecture=view.architecture,
        platform=view.platforms[0].name if view.platforms else "macOS",
        at_paths=not view.restricted,
        relative=not deaf,
        environment=_lists(variables),
        validates=signature is not None and signature.library_validation,
        team=signature.team if signature else None,
        working_directory=options.working_directory,
    )


def program_slice(binary: Binary, target: Target) -> Binary | None:
    """The slice of a program that the kernel starts."""
    return best_slice(binary, LAUNCHES.get(target.cpu, ()))


def _folder(path: str) -> str:
    return path.rpartition("/")[0] + "/"


def _lists(variables: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(value.split(":")) for name, value in variables.items() if value}
