"""``load``: decide where a library can live, and open it there."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal, get_args

from libferry import _core
from libferry.binary import read
from libferry.contract import Contract, Header, read_contract, read_header
from libferry.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    FerryError,
    LoadError,
    NoRunner,
)
from libferry.guard import Expected, Loaded
from libferry.loader import locate
from libferry.runtime import dumps, namespaces, sandboxing, telemetry, wine
from libferry.runtime import runner as runners
from libferry.runtime.deadline import nanoseconds, unending
from libferry.runtime.instance import LARGEST_SIZE
from libferry.runtime.library import Library
from libferry.runtime.life import Again, Restart, check_restart
from libferry.runtime.loaded import Contents, verified
from libferry.runtime.opening import open_library
from libferry.runtime.output import Output, Wish
from libferry.runtime.worker import LIBRARY_PLACE, Start, Worker
from libferry.sandbox import Profile

Isolation = Literal["auto", "in-process", "namespace", "worker", "sandbox"]
Threads = Literal["many", "one"]

SPIN_NS = 50_000  # about what it costs to wake an idle processor
ARENA = {8: 1 << 30, 4: 1 << 28}  # bytes of address space by pointer size; pages come when used


def load(
    path: str | os.PathLike[str],
    *,
    header: str | os.PathLike[str] | Header | None = None,
    contract: str | os.PathLike[str] | None = None,
    include: Iterable[str | os.PathLike[str]] = (),
    define: Mapping[str, str | int | None] | None = None,
    isolation: Isolation = "auto",
    profile: str | os.PathLike[str] | Profile | None = None,
    require: str | Iterable[str] = (),
    sysroot: str | os.PathLike[str] | None = None,
    timeout: float | None = None,
    encoding: str | None = "utf-8",
    arena: int | None = None,
    spin: bool = True,
    threads: Threads | None = None,
    expect: str | Mapping[str, str] | Loaded | None = None,
    restart: Restart = "never",
    initialise: Callable[[Library], object] | None = None,
    spare: bool = False,
    output: Wish = None,
    dump: str | os.PathLike[str] | None = None,
    trace: bool | None = None,
) -> Library:
    """Open a native library wherever it can live.

    Args:
        path: the file, or a bare name such as ``libz.so.1`` for the system's search.
        header: C declarations, as text or as the path of a file. One that needs a
            preprocessor is read as the library's target sees it, which takes the extra
            ``headers``.
        contract: a TOML file that says what the pointers of the header's functions are
            for (docs/contract.md); it may name the header itself.
        include: folders in which to look for what the header includes.
        define: macros to define before it, by name.
        isolation: ``"in-process"``, ``"worker"`` (a process of its own), ``"sandbox"`` (a
            worker that may do what its profile says, and nothing else), or ``"auto"``:
            in-process if this process can hold it. ``"namespace"``: in this process, with
            everything it needs apart from all else here, so that two versions of a library
            live side by side (libferry.runtime.namespaces).
        profile: of a sandbox (docs/sandbox.md): a name such as ``"pure"``, the default; the
            path of a TOML file; or a ``libferry.sandbox.Profile``.
        require: layers of the sandbox without which the library is not loaded, or
            ``"all"``; ``lib.sandbox`` and ``libferry doctor`` list them.
        sysroot: a folder with the target's C library, for libraries of another system.
        timeout: seconds a call may take; then its worker is ended. Workers only.
        encoding: of ``char`` strings; None gives and takes bytes.
        arena: bytes of memory shared with the worker (default 1 GiB, or 256 MiB for a
            32-bit worker; pages are taken when used).
        spin: whether to wait for a worker by looking before sleeping. False saves CPU
            and costs a few microseconds a call.
        threads: ``"one"`` for a library that is not thread-safe: calls of several Python
            threads are then made one after the other. None is as the header says.
        expect: the digest that the library has, as ``"sha256:..."``; or those of all that
            may be loaded with it, as ``ferry.snapshot("file.json")`` gives them
            (libferry.guard.snapshot). A library whose digest is given is copied, digested
            and opened from that copy, which nobody can change; what it needs is compared
            when it has been loaded.
        restart: what follows when the library's worker is gone: ``"next-call"``, a fresh
            one for the next call; a number, the same, that often in a minute at most;
            ``"never"``, an error for every call. Workers only.
        initialise: called with the library now and after each restart, before anybody
            else uses it: ``initialise=lambda lib: lib.setup(7)``. It must not wait for
            another thread that uses the library.
        spare: whether to keep a second worker, started and empty, for the next restart.
        output: what becomes of the lines that it writes to its standard streams:
            ``"capture"`` keeps them in ``lib.output``, ``"log"`` gives them to the logger
            ``libferry.output.<name>``, and a callable is called with ``("stderr", line)``
            for each, on a thread of its own. None passes standard error on and leaves
            standard output alone. Workers only.
        dump: a folder for minidumps: each crash of a worker leaves one there, and the error
            has its path as ``dump``. LLDB, WinDbg and others read it. Workers only.
        trace: whether calls are told to OpenTelemetry, which takes the extra ``telemetry``.

    Raises:
        LibraryNotFound, BadBinary: there is no such library, or it is none.
        NoRunner: nothing here can host it; the hint names the package that can.
        LoadError: its own loader refused it.
        NamespacesFull: this process can hold no further namespace.
        UnexpectedCode: what was loaded is not what ``expect`` says.
        DeclarationError: the header cannot be read, or declares what cannot be called; or
            the profile cannot.
        SandboxUnavailable: a layer that was required is missing, or this kind of library
            cannot be put into a sandbox.
    """
    if isolation not in get_args(Isolation):
        raise ArgumentTypeError(
            "load a library",
            f"isolation is {isolation!r}",
            hint="'auto', 'in-process', 'namespace', 'worker' or 'sandbox'",
        )
    if isolation != "sandbox" and (profile is not None or require):
        raise ArgumentTypeError(
            "load a library",
            f"it has a profile or requires layers, and isolation is {isolation!r}",
            hint="add isolation='sandbox'",
        )
    if threads not in ("many", "one", None):
        raise ArgumentTypeError("load a library", f"threads is {threads!r}", hint="'many' or 'one'")
    if arena is not None and not (isinstance(arena, int) and 0 < arena < LARGEST_SIZE):
        raise ArgumentValueError(
            "load a library",
            f"arena is {arena!r}",
            hint=f"give bytes, from 1 to {LARGEST_SIZE - 1:,}; None is the default",
        )
    _check_encoding(encoding)
    check_restart(restart, spare=spare)
    if trace:
        telemetry.check_installed()
    root = Path(sysroot) if sysroot is not None else None
    file = locate(
        path,
        cpu=runners.host_cpu(),
        sysroot=root,
        windows_folder=wine.system_folder("x86_64-windows"),
    )
    binary = read(file)
    if binary.kind != "library":
        article = "an" if binary.kind[0] in "aeo" else "a"
        raise LoadError(
            f"load {file.name}",
            f"it is {article} {binary.kind}, and only shared libraries can be loaded",
            hint="give a .so or .dll; a program is run, an object file has to be linked first",
        )
    abi = runners.abi_of(binary)
    fits = abi.name == runners.host_abi() and root is None
    if isolation in ("in-process", "namespace") and not fits:
        reason = "a sysroot was given" if root else f"this process is {runners.host_abi()}"
        raise NoRunner(
            f"load {file.name} into this process",
            f"it is {abi.name} and {reason}",
            hint="isolation='auto' gives it a worker of its own",
        )
    # read the declarations first: what cannot be declared needs no process
    promised = read_contract(contract) if contract is not None else None
    declared = _declared(abi.name, header, promised, include, define or {})
    one_thread = threads == "one" or (threads is None and not declared.thread_safe)
    timeout_ns = nanoseconds(timeout, "load a library")
    expected = None if expect is None else Expected.of(expect)
    sealed = verified(binary, expected)
    namespace = again = None
    if isolation in ("worker", "sandbox") or not fits:
        runner = runners.find(abi.name, root)
        size = _pages(arena or ARENA[abi.pointer_size])
        confinement = None
        if isolation == "sandbox":
            confinement = sandboxing.confinement(
                binary,
                runner,
                profile=profile,
                more=promised.sandbox if promised else None,
                require=require,
                sysroot=root,
                arena=size,
                place=LIBRARY_PLACE if sealed else None,
            )
        start = Start(
            runner,
            arena=size,
            spin_ns=SPIN_NS if spin else 0,
            timeout_ns=timeout_ns,
            one_thread=one_thread,
            output=Output(file.name, output),
            confinement=confinement,
            dump=dumps.folder(dump) if dump is not None else None,
            sealed=sealed,
        )
        again = Again(start, restart, spare, expected)
        worker = Worker(start)
        session = worker.session
    else:
        if timeout is not None:
            raise unending(f"load {file.name} in-process with a timeout")
        if restart != "never" or spare:
            raise ArgumentTypeError(
                f"load {file.name} in-process with restart={restart!r}",
                "a crash inside this process ends it",
                hint="isolation='worker' gives it a process that can be started again",
            )
        if dump is not None:
            raise ArgumentTypeError(
                f"load {file.name} in-process with dump={dump!r:.80}",
                "a crash inside this process ends it",
                hint="isolation='worker' gives it a process whose crash can be kept",
            )
        if output is not None:
            raise ArgumentTypeError(
                f"load {file.name} in-process with output={output!r:.80}",
                "it would write to the standard streams of this process, which are everybody's",
                hint="isolation='worker' gives it a process with streams of its own",
            )
        worker = None
        namespace = namespaces.enter(binary.path) if isolation == "namespace" else None
        session = _core.Session(
            one_thread=one_thread,
            error_location=namespace.error_location if namespace else 0,
            key_block=namespace.block if namespace else 0,
        )
    contents = Contents(binary, worker, namespace, expected, sealed)
    try:
        opened = open_library(binary, abi.name, session, contents)
    except FerryError:
        if worker:
            worker.close()
        contents.close()
        raise
    library = Library(binary, abi.name, opened, declared, encoding, again, initialise)
    try:
        library._ferry_life.begin()
    except BaseException:
        library.close()
        raise
    if trace:
        telemetry.instrument(library)
    return library


def _pages(size: int) -> int:
    """Whole pages: what shared memory is made of."""
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


def _check_encoding(encoding: str | None) -> None:
    try:
        if encoding is not None:
            "".encode(encoding)
    except (LookupError, TypeError, ValueError):
        raise ArgumentValueError(
            "load a library",
            f"{encoding!r} is not an encoding of text",
            hint="such as utf-8, gbk or latin-1; None is for bytes",
        ) from None


def _declared(
    abi_name: str,
    header: str | os.PathLike[str] | Header | None,
    promised: Contract | None,
    include: Iterable[str | os.PathLike[str]],
    define: Mapping[str, str | int | None],
) -> Header:
    """What the header and the contract declare, each of which may be left out."""
    if isinstance(header, Header):  # another worker of the same library
        return header
    given = None
    if header is not None:
        given = read_header(header, abi_name, include=include, define=define)
    if promised is not None:
        return promised.header(abi_name, given)
    return given or Header({}, {})
