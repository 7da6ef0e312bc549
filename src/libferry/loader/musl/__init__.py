"""What musl's loader would do, as far as files decide it.

``rules`` are the tables of what differs by version and CPU, ``places`` where a name is
looked for, ``process`` how a process fills, ``binding`` what fails when symbols are bound.

A program starts with what it needs; a library is loaded by a host program with ``dlopen``.
Without a host, there is a program that has musl and nothing else.
"""

from __future__ import annotations

from dataclasses import replace
from weakref import WeakKeyDictionary

from libferry.binary.model import Binary
from libferry.loader.model import Node, Options, Problem, Resolution
from libferry.loader.musl import binding, rules
from libferry.loader.musl.places import Places
from libferry.loader.musl.process import Dso, Names, Process, is_glibcs_loader
from libferry.target.system import Found, System

# what libraries of a system offer: many are resolved one after the other
_KNOWN: WeakKeyDictionary[System, dict[object, Names]] = WeakKeyDictionary()


def resolve(binary: Binary, path: str, system: System, options: Options) -> Resolution:
    """Resolve one program or library; see ``libferry.loader.resolve``."""
    interpreter = system.target.interpreter or ""
    places = Places(system, options, interpreter)
    process = Process(places, options, _KNOWN.setdefault(system, {}))
    found = system.find(path) or Found(path, path, ("file", path), binary.path)
    places.subject = found
    if binary.kind == "executable" and options.host is None:
        program = _program(process, found, binary)
        _interpreter(process, binary)
        binding.check(process, [*process.order[1:], program], process.order, options)
        return _resolution(process, program.node, process.order, program, ())
    host = _host(process, options)
    scope = tuple(dso.node for dso in process.order)
    process.running = True
    if options.host is not None and process.places.preloads:
        # a program that starts by itself may not with these: __dls3 ends it
        binding.check(process, process.order[1:], process.order, replace(options, now=True))
    else:
        process.problems.clear()
    node, root = process.load(path, host, None)
    if root is None:
        return _resolution(process, node, [], None, scope)
    process.load_needs(root)
    new = [dso for dso in process.order if not dso.startup]
    if not process.problems or any(problem.when == "maybe" for problem in process.problems):
        binding.check(process, new, process.order, options)
    first = [dso for dso in process.order if dso.startup and dso in _reached(root)]
    return _resolution(process, node, [*new, *first], root, scope)


def _program(process: Process, found: Found, binary: Binary | None) -> Dso:
    """Start a program: what is preloaded, then what it needs (__dls3)."""
    node = Node(found.path, state="loaded", found=found, binary=binary, how="program")
    program = Dso(node, found.path, None)
    process.order.append(program)
    # a preload that fails is not reported: load_preload
    problems = len(process.problems)
    for name in process.places.preloads.replace(":", " ").split():
        process.load(name, None, None)
    del process.problems[problems:]
    process.load_needs(program)
    return program


def _interpreter(process: Process, binary: Binary) -> None:
    """The kernel starts the loader that the program names, or none."""
    path, system = binary.interpreter, process.system
    if path is None or system.find(path) is not None:
        return
    glibcs = is_glibcs_loader(path)
    process.problems.insert(
        0,
        Problem(
            "glibc-on-musl" if glibcs else "missing-interpreter",
            str(process.order[0].name),
            path,
            f"{process.order[0].name}: {rules.MISSING}",
            "load" if glibcs or system.complete else "maybe",
            rules.PROGRAM,
        ),
    )


def _host(process: Process, options: Options) -> Dso:
    """The program that is there before: the one that is named, or one with musl alone."""
    system = process.system
    if options.host is not None:
        found = system.find(options.host)
        if found is not None and found.file is not None:
            return _program(process, found, system.read(found))
    program = Dso(Node("", state="loaded", how="program"), "", None)
    program.direct = []
    process.order.append(program)
    for name in process.places.preloads.replace(":", " ").split():
        process.load(name, None, None)
    process.load("libc.so", program, program.node)
    process.load_needs(program)
    return program


def _reached(root: Dso) -> list[Dso]:
    """A library and all that it needs, breadth first: extend_bfs_deps."""
    found = [root]
    for dso in found:
        found += [one for one in dict.fromkeys(dso.direct or ()) if one not in found]
    return found


def _initialisers(process: Process, root: Dso) -> list[Dso]:
    """The order in which initialisers run: queue_ctors; before 1.1.22, the list backwards."""
    if not rules.BY_DEPENDENCY.holds(process.target.version):
        return [dso for dso in reversed(process.order) if dso.startup != process.running]
    queue: list[Dso] = []
    marked = {root}
    stack = [(root, iter(root.direct or ()))]
    while stack:
        dso, needs = stack[-1]
        for one in needs:
            if one not in marked:
                marked.add(one)
                stack.append((one, iter(one.direct or ())))
                break
        else:
            queue.append(dso)
            stack.pop()
    return [dso for dso in queue if dso.startup != process.running]


def _resolution(
    process: Process, node: Node, order: list[Dso], root: Dso | None, scope: tuple[Node, ...]
) -> Resolution:
    return Resolution(
        target=process.target,
        root=node,
        order=tuple(dso.node for dso in order),
        initialisers=tuple(dso.node for dso in _initialisers(process, root)) if root else (),
        problems=tuple(process.problems),
        scope=scope,
    )
