"""What a loader would do with a library: the plain values.

A ``Resolution`` keeps everything that the loader looked at, in its order, so that "not
found" can be answered with where it looked, and "found" with why there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from libferry.binary.model import Binary
    from libferry.target.model import Target
    from libferry.target.system import Found

Outcome = Literal["found", "missing", "skipped", "fatal"]
State = Literal["loaded", "again", "missing", "unknown", "refused", "ignored"]


@dataclass(frozen=True, slots=True)
class Step:
    """One place that the loader tried.

    Attributes:
        path: the file, or the folder if the loader passes it over as a whole.
        source: who sent it there: ``RUNPATH of /opt/a/libx.so``, ``LD_LIBRARY_PATH``,
            ``ld.so.cache``, ``default path``, ``KnownDLLs``, ``@rpath of …``.
        outcome: ``missing`` (no file), ``skipped`` (a file that it passes over),
            ``fatal`` (a file at which it gives up), ``found``.
        reason: why skipped or fatal, in the loader's words where it has some.
    """

    path: str
    source: str
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why it does not load, or why it would fail later.

    Attributes:
        id: the rule's id; the audit has a rule of the same name that explains it.
        library: the target's path of the library that has the problem.
        subject: the library, symbol or version that it is about.
        message: what the loader prints, as far as it is known.
        when: ``load``; ``call`` if only the first use of a symbol fails; ``maybe`` if it
            depends on what is not known.
        source: of the loader's rule: file and version, or documentation page.
    """

    id: str
    library: str
    subject: str
    message: str
    when: Literal["load", "call", "maybe"]
    source: str


@dataclass(eq=False, slots=True)
class Node:
    """One library that was asked for, by one that needs it.

    Attributes:
        name: as it was asked for.
        requester: who needs it; None for what was asked to be loaded.
        state: ``again`` if it had been loaded already (then it has no ``needs`` here);
            ``missing``; ``unknown`` if it is not found but the target is only described;
            ``refused`` if a file was found and is fatal; ``ignored`` if the loader goes
            on without it.
        found: the file, if there is one.
        binary: what it says; None for one that is only described.
        how: why this one: ``runpath``, ``ld.so.cache``, ``default path``, ``already loaded``.
        tried: every place, in order.
        needs: what it needs itself, in its order.
    """

    name: str
    requester: Node | None = None
    state: State = "missing"
    found: Found | None = None
    binary: Binary | None = None
    how: str = ""
    tried: list[Step] = field(default_factory=list)
    needs: list[Node] = field(default_factory=list)

    @property
    def path(self) -> str:
        """Where it was found, or its name."""
        return self.found.path if self.found else self.name

    def walk(self) -> Iterator[Node]:
        """This node and all below it, depth first."""
        # a chain of needs can be longer than Python's stack is deep
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += reversed(node.needs)


@dataclass(frozen=True)
class Options:
    """How the library is loaded.

    Attributes:
        host: the program that loads it (``dlopen``), whose own libraries, exports and
            search path count; None for one that has nothing but the C library. A path of
            the target.
        environment: ``LD_LIBRARY_PATH``, ``LD_PRELOAD``, ``PATH``, ``DYLD_LIBRARY_PATH``…
        working_directory: what relative and empty search paths mean.
        secure: set-user-ID, hardened runtime: the environment is ignored.
        now: whether all symbols are bound at once (``RTLD_NOW``).
        symbols: whether to look up every symbol, as ``ldd -r`` does; without, what is loaded
            and its versions are all.
        flags: Windows' ``LOAD_*`` flags by name, and ``AddDllDirectory`` folders.
    """

    host: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: str = "/"
    secure: bool = False
    now: bool = False
    symbols: bool = True
    flags: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()


@dataclass(frozen=True)
class Resolution:
    """What the target's loader would do.

    Attributes:
        target: whose loader.
        root: the library or program, with what it needs below.
        order: every library once, in the order in which symbols are searched.
        initialisers: the same in the order in which their initialisers run.
        problems: why not, or why perhaps not; empty if all is well.
        scope: what was in the process before: the host program and its libraries.
    """

    target: Target
    root: Node
    order: tuple[Node, ...]
    initialisers: tuple[Node, ...]
    problems: tuple[Problem, ...]
    scope: tuple[Node, ...] = ()

    @property
    def loads(self) -> bool | None:
        """Whether it loads; None if that depends on what is not known of the target."""
        if any(problem.when == "load" for problem in self.problems):
            return False
        return None if any(problem.when == "maybe" for problem in self.problems) else True
