"""From the name of a library to the paths that dyld tries, in its order.

A name is a path, or begins with one of three words: ``@executable_path`` is the program's
folder, ``@loader_path`` that of the library that asks, and ``@rpath`` any of the folders in
the LC_RPATHs of the library that asks, of the one that asked for it, and so on up to the
program. That chain follows who loaded whom: the same library may find another ``@rpath``
in another process.

dyld-1378: ``dyld/DyldProcessConfig.cpp``, forEachPathVariant (the variables, the cryptex and
the fallbacks), and ``dyld/Loader.cpp``, forEachPath and forEachResolvedAtPathVar (the words).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from libferry.loader.dyld.process import Process
from libferry.loader.dyld.rules import CRYPTEX, FRAMEWORK_FALLBACKS, LIBRARY_FALLBACKS

RPATH, LOADER, EXECUTABLE = "@rpath", "@loader_path", "@executable_path"


class Link(NamedTuple):
    """One image of the chain from the library that asks up to the program."""

    path: str
    rpaths: tuple[str, ...]


class Candidate(NamedTuple):
    """One path to try.

    Attributes:
        path: the path.
        source: who sends dyld there.
        on_disk: whether only a file counts, not what is in the shared cache.
        known: false if the path depends on a program that is not known.
    """

    path: str
    source: str
    on_disk: bool = False
    known: bool = True


class Request(NamedTuple):
    """What is asked for.

    Attributes:
        name: as in the load command, or as given to dlopen.
        chain: the library that asks first, the program last.
        linked: whether it is a load command (else dlopen).
        inserted: whether DYLD_INSERT_LIBRARIES names it.
        falls_back: whether who asks gets the default fallback folders.
    """

    name: str
    chain: tuple[Link, ...]
    linked: bool = True
    inserted: bool = False
    falls_back: bool = False


def candidates(request: Request, process: Process) -> Iterator[Candidate]:
    """Give the paths that dyld tries for a library, in order."""
    name, leaf = request.name, request.name.rpartition("/")[2]
    framework = framework_part(name)
    if framework is None:
        variable, tail, folders = "DYLD_LIBRARY_PATH", leaf, LIBRARY_FALLBACKS
    else:
        variable, tail, folders = "DYLD_FRAMEWORK_PATH", framework, FRAMEWORK_FALLBACKS
    for folder in process.environment.get(variable, ()):
        yield from _suffixed(Candidate(join(folder, tail), variable), process)
    if process.release.cryptex and name.startswith("/"):
        for each in _suffixed(Candidate(name, "install name", on_disk=True), process):
            yield each
        yield Candidate(CRYPTEX + name, "cryptex", on_disk=True)
    for each in _suffixed(Candidate(name, "install name"), process):
        yield from _spelled_out(each, request, process)
    # dyld-1066.10, testing/test-cases/dlopen-DYLD_FALLBACK_LIBRARY_PATH: only for leaf names
    if not request.linked and "/" in name and framework is None:
        return
    variable = variable.replace("DYLD_", "DYLD_FALLBACK_")
    own = process.environment.get(variable)
    source = variable if own else "default fallback"
    default = folders if request.falls_back or process.release.always_falls_back else ()
    for folder in own or default:
        path = join(folder, tail)
        if path != name:
            yield from _suffixed(Candidate(path, source), process)


def _spelled_out(given: Candidate, request: Request, process: Process) -> Iterator[Candidate]:
    name = given.path
    if request.linked or name.startswith(("/", "@")):
        yield from _expanded(given, request, process)
        return
    # dlopen of a relative name: forEachPath
    implicit = Candidate(join(RPATH, name), "implicit @rpath")
    yield from _expanded(implicit, request, process)
    yield Candidate(join("/usr/lib", name), "/usr/lib, for leaf names")
    if process.at_paths:
        yield Candidate(name, "working directory")


def _expanded(given: Candidate, request: Request, process: Process) -> Iterator[Candidate]:
    """Replace the word at the beginning of a path."""
    name = given.path
    if request.inserted and not name.startswith(EXECUTABLE):
        # dyld-1066.10, testing/test-cases/dyld-insert-library-rpath
        yield given
        return
    asker = request.chain[0] if request.chain else None
    if _begins(name, LOADER) and asker is not None:
        path = folder_of(asker.path) + name[len(LOADER) :]
        yield Candidate(path, f"{LOADER} of {asker.path}")
    elif _begins(name, EXECUTABLE):
        yield from _beside_the_program(name, EXECUTABLE, process)
    elif _begins(name, RPATH):
        tail = name[len(RPATH) :]
        for link in request.chain:
            for rpath in link.rpaths:
                yield from _in_rpath(rpath, tail, link, process, link is request.chain[-1])
    elif not name.startswith("@"):
        yield given


def _in_rpath(
    rpath: str, tail: str, link: Link, process: Process, is_program: bool
) -> Iterator[Candidate]:
    source = f"LC_RPATH {rpath} of {link.path}"
    if _begins(rpath, LOADER):
        # expandAtLoaderPath: not if it is the program's and that is restricted
        if process.at_paths or not is_program:
            yield Candidate(join(folder_of(link.path) + rpath[len(LOADER) :], tail), source)
    elif _begins(rpath, EXECUTABLE):
        for one in _beside_the_program(rpath, source, process):
            yield one._replace(path=join(one.path, tail))
    elif rpath.startswith("/"):
        yield Candidate(join(rpath, tail), source)
        if process.release.cryptex:
            yield Candidate(CRYPTEX + join(rpath, tail), source, on_disk=True)
    elif process.at_paths:
        # rpath-relative to the working directory, on macOS alone
        yield Candidate(join(rpath, tail), source)


def _beside_the_program(path: str, source: str, process: Process) -> Iterator[Candidate]:
    if not process.at_paths:
        return
    if process.program is None:
        yield Candidate(path, source, known=False)
        return
    folder, rest = folder_of(process.program), path[len(EXECUTABLE) :]
    # expandAndNormalizeAtExecutablePath: the program's path is real, so it can be cut
    while rest.startswith("/..") and folder.count("/") > 1:
        folder, rest = folder_of(folder), rest[3:]
    yield Candidate(folder + rest, source)


def _suffixed(given: Candidate, process: Process) -> Iterator[Candidate]:
    """DYLD_IMAGE_SUFFIX: forEachImageSuffix, addSuffix."""
    for suffix in process.environment.get("DYLD_IMAGE_SUFFIX", ()):
        folder, slash, leaf = given.path.rpartition("/")
        stem, dot, extension = leaf.rpartition(".")
        named = f"{stem}{suffix}.{extension}" if dot else leaf + suffix
        yield given._replace(path=folder + slash + named, source="DYLD_IMAGE_SUFFIX")
    yield given


def _begins(path: str, word: str) -> bool:
    return path == word or path.startswith(f"{word}/")


def folder_of(path: str) -> str:
    """The folder a path is in, without a slash at its end."""
    return path.rpartition("/")[0]


def join(folder: str, tail: str) -> str:
    """Put one slash between two paths."""
    return f"{folder.rstrip('/') if folder != '/' else ''}/{tail.lstrip('/')}"


def framework_part(path: str) -> str | None:
    """``Foo.framework/Versions/A/Foo`` of a path to a framework; None for any other.

    dyld-1378, dyld/DyldProcessConfig.cpp getFrameworkPartialPath.
    """
    before, found, after = path.rpartition(".framework/")
    if not found:
        return None
    name = before.rpartition("/")[2]
    return f"{name}.framework/{after}" if after.rpartition("/")[2] == name else None
