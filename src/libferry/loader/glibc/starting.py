"""From the start of a process to all that is loaded: a program, or ``dlopen`` in one.

Source: glibc ``elf/rtld.c``, ``dl_main``; ``elf/dl-open.c``, ``dl_open_worker_begin``.
"""

from __future__ import annotations

import stat
from weakref import WeakKeyDictionary

from libferry.binary.model import Binary
from libferry.loader.glibc import requirements, rules, symbols, tokens, versions
from libferry.loader.glibc.facts import Facts
from libferry.loader.glibc.mapping import Loaded, Process
from libferry.loader.glibc.ordering import initialisers
from libferry.loader.glibc.places import Places
from libferry.loader.model import Node, Options, Problem, Resolution
from libferry.target.system import Found, System

C_LIBRARY = "libc.so.6"
PRELOAD_FILE = "/etc/ld.so.preload"
PRELOADED = ("LD_PRELOAD", PRELOAD_FILE)


Key = tuple[tuple[tuple[str, str], ...], bool, str, str]

# What has been read of a system's files, and found in its folders, by options: many
# libraries of one system are asked for one after the other.
_KNOWN: WeakKeyDictionary[System, tuple[dict[object, Facts], dict[Key, Places]]]
_KNOWN = WeakKeyDictionary()


def places_of(system: System, options: Options, program: str) -> Places:
    """The places of a system for a program, kept as long as the system itself."""
    known = _KNOWN.get(system)
    if known is None:
        known = _KNOWN[system] = ({}, {})
    origin = ""
    if "$" in options.environment.get("LD_LIBRARY_PATH", ""):
        found = system.find(program)
        origin = (found.real if found else program).rpartition("/")[0] or "/"
    given = tuple(sorted(options.environment.items()))
    key = given, options.secure, options.working_directory, origin
    places = known[1].get(key)
    if places is None:
        places = known[1][key] = Places(system, options, known[0], origin)
    return places


def start(binary: Binary, path: str, system: System, options: Options) -> Resolution:
    """Resolve a program, or a library that is loaded into one."""
    places = places_of(system, options, options.host or path)
    process = Process(places)
    found = places.system.find(path) or Found(path, path, ("file", path), binary.path)
    if binary.kind == "executable" and options.host is None:
        node, order, scope = _program(process, found)
        new, in_scope, before = process.loaded, order, []
    else:
        scope = _host(process, options)
        before = list(process.loaded)
        if options.host is not None and any(one.how.startswith(PRELOADED) for one in scope):
            _preloaded(process, options)
        process.dlopened = True
        node = Node(path)
        root = process.load(node, path, None)
        order = process.needs_of(root, []) if root is not None else []
        # the C library, if this is the first to ask for it, is shown below it like the others
        new = process.loaded[len(before) :]
        in_scope = [*before, *order]
    started = initialisers(order, places.version) if order else []
    for one in new:
        process.problems += versions.check(one, process)
    process.problems += requirements.isa_levels(new, places.target)
    # the loader comes to the rest, which is relocation, only if all else is well
    if options.symbols and not process.problems:
        if process.dlopened:
            fresh = {id(one) for one in new}
            relocated = [one for one in started if id(one) in fresh]
            process.problems += requirements.static_tls(relocated, before, places.target)
        now = options.now or bool(options.environment.get("LD_BIND_NOW"))
        process.problems += symbols.check(new, in_scope, now)
    return Resolution(
        target=places.target,
        root=node,
        order=tuple(one.node for one in order),
        initialisers=tuple(one.node for one in started),
        problems=tuple(process.problems),
        scope=scope,
    )


def _preloaded(process: Process, options: Options) -> None:
    """Whether a host that is a program of itself still starts with what is preloaded."""
    before = process.loaded
    for one in before:
        process.problems += versions.check(one, process)
    if options.symbols and not process.problems:
        now = bool(options.environment.get("LD_BIND_NOW"))
        found = symbols.check(before, before, now)
        process.problems += (problem for problem in found if problem.when == "load")


def _program(process: Process, found: Found) -> tuple[Node, list[Loaded], tuple[Node, ...]]:
    """Start a program: what the kernel does, then preloads, then what it needs."""
    places = process.places
    node = Node(found.path, state="loaded", found=found, how="program")
    facts = places.facts(found)
    node.binary = facts.binary
    words = facts.verdict.skip or facts.verdict.fatal
    if words or facts.broken is not None:
        node.state = "refused"
        message = f"{found.path}: {words or facts.broken}"
        id = facts.verdict.id if words else "truncated"
        process.problems.append(Problem(id, found.path, found.path, message, "load", rules.PROGRAM))
        return node, [], ()
    program = process.program = Loaded(node, found, facts, None)
    # the kernel gives the path without links: elf/dl-origin.c, /proc/self/exe
    program.origin = found.real.rpartition("/")[0] or "/"
    process.loaded.append(program)
    interpreter = facts.binary.interpreter if facts.binary else None
    _interpreter(process, program, interpreter)
    preloads = _preloads(process, program)
    order = process.needs_of(program, [one for _, one in preloads if one is not None])
    return node, order, tuple(node for node, _ in preloads)


def _interpreter(process: Process, program: Loaded, path: str | None) -> None:
    """The loader itself is in every process, under the path that the program asks for."""
    target = process.places.target
    if path is None:
        return
    if process.places.system.find(path) is None:
        # LoongArch has two systems, whose programs ask for different loaders
        other_world = target.cpu == "loongarch64" and path in rules.LOONGARCH_LOADERS
        id = "loongarch-world" if other_world else "missing-interpreter"
        message = f"{path}: No such file or directory"
        complete = process.places.system.complete or path != target.interpreter
        process.problems.append(
            Problem(
                *(id, program.path, path, message),
                "load" if complete else "maybe",
                rules.PROGRAM,
            )
        )
        return
    _implicit(process, path, "the loader itself")


def _implicit(process: Process, path: str, how: str) -> None:
    """Something that is there before it is asked for."""
    found = process.places.system.find(path)
    if found is None:
        return
    facts = process.places.facts(found)
    if facts.verdict.skip or facts.verdict.fatal:
        return
    node = Node(path, how=how)
    process.add(node, found, facts, None).implicit = True


def _host(process: Process, options: Options) -> tuple[Node, ...]:
    """The process into which a library is loaded, and what it has."""
    places = process.places
    if options.host is None:
        if places.target.interpreter is not None:
            _implicit(process, places.target.interpreter, "the loader itself")
        node = Node(C_LIBRARY)
        located = places.search(C_LIBRARY, places.plan(places.environment))
        if located.found is not None and located.facts is not None and not located.verdict.fatal:
            node.how, node.tried = located.how, located.tried
            process.add(node, located.found, located.facts, None).implicit = True
        return ()
    found = places.system.find(options.host)
    if found is None:
        message = f"{options.host}: No such file or directory"
        process.problems.append(
            Problem(
                *("missing-library", options.host, options.host, message, "load"), rules.PROGRAM
            )
        )
        return ()
    node, order, preloads = _program(process, found)
    return tuple(one.node for one in order) or (node, *preloads)


def _preloads(process: Process, program: Loaded) -> list[tuple[Node, Loaded | None]]:
    """LD_PRELOAD, then /etc/ld.so.preload; what cannot be loaded is ignored (``do_preload``)."""
    places = process.places
    secure = places.options.secure
    wanted = [
        (name, "LD_PRELOAD")
        for name in places.options.environment.get("LD_PRELOAD", "").replace(":", " ").split(" ")
        if name and not (secure and "/" in name)
    ]
    lines = (places.system.data(PRELOAD_FILE) or b"").decode("utf-8", "replace").splitlines()
    wanted += [
        (name, PRELOAD_FILE)
        for line in lines
        for name in line.partition("#")[0].replace(":", " ").split()
    ]
    preloads: list[tuple[Node, Loaded | None]] = []
    for name, source in wanted:
        node = Node(name, how=source)
        kept = len(process.problems)
        count = len(process.loaded)
        # elf/dl-load.c, _dl_map_new_object: with a slash, tokens are the program's
        wanted_name = tokens.expand(name, places.tokens(program.origin)) if "/" in name else name
        one = process.load(node, wanted_name or name, program)
        if one is not None and secure and not _is_set_user_id(one.found):
            del process.loaded[count:]
            one = None
        if one is None:
            node.state = "ignored"
            del process.problems[kept:]
        else:
            node.how = f"{source}: {node.how}"
        # "It is no duplicate": what was there already does not move forward
        preloads.append((node, one if len(process.loaded) > count else None))
    return preloads


def _is_set_user_id(found: Found) -> bool:
    """__RTLD_SECURE in ``open_path``: root has to have said that it may be preloaded."""
    try:
        return found.file is not None and bool(found.file.stat().st_mode & stat.S_ISUID)
    except OSError:
        return False
