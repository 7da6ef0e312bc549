"""What dyld, the loader of macOS, would do.

No macOS ran any of this. The rules are read from the source of dyld that Apple publishes
(``apple-oss-distributions/dyld``; each rule names the release and the file), from its
manual page ``dyld(1)``, and from the test cases that were published with it until macOS 13
(``testing/test-cases`` of dyld-1066.10), after which our own tests are written. What is not
published is the kernel's side, AMFI, which decides what a signed program is allowed; for
that we have Apple's documentation of the hardened runtime and the messages that people
report.

What is not done: interposing, DYLD_VERSIONED_*, the simulator, Mac Catalyst's second root,
weak definitions that are missing, and what the libraries in the shared cache export.
"""

from __future__ import annotations

from libferry.binary.model import Binary
from libferry.errors import LibraryNotFound
from libferry.loader.dyld import messages
from libferry.loader.dyld.admission import Refusal, admit
from libferry.loader.dyld.images import Image, Loading
from libferry.loader.dyld.paths import Request
from libferry.loader.dyld.process import process_of, program_slice
from libferry.loader.dyld.symbols import Binding
from libferry.loader.model import Node, Options, Resolution, Step
from libferry.target.system import Found, System

__all__ = ["resolve"]


def resolve(binary: Binary, path: str, system: System, options: Options) -> Resolution:
    """What dyld would do with a program that is started, or a library that is opened.

    Args:
        binary: what the file says; any slice of it.
        path: where it lies on the target.
        system: the target and its files.
        options: ``host`` is the program that opens the library.

    Raises:
        LibraryNotFound: there is no program ``options.host``.
        BadBinary: that is damaged, or a file asks for more than can be looked for.
    """
    found = system.find(path) or Found(path, path, ("asked for", path), None)
    is_program = binary.format == "macho" and binary.kind == "executable" and not options.host
    program = _program(binary, found, system, options, is_program=is_program)
    process = process_of(system.target, options, program and (program[0].real, program[1]))
    loading = Loading(system, process)
    root = Node(path)
    chosen, refusal = admit(binary, found.real, Request(path, (), linked=False), process)
    host = None
    if program is not None and not is_program:
        host = _start(loading, Node(program[0].path), program[0], program[1])
    before = len(loading.loaded)
    loading.problems.clear()
    if chosen is None:
        refusal = refusal or Refusal("not-a-library", "slice is not valid mach-o file")
    if refusal is not None or chosen is None:
        assert refusal is not None
        _refuse(loading, root, found, chosen, refusal)
        return _result(system, loading, root, None, before)
    if loading.same_file(found) is not None:
        root.state, root.found, root.binary, root.how = "again", found, chosen, "already loaded"
        return _result(system, loading, root, None, before)
    if is_program:
        image = _start(loading, root, found, chosen)
    else:
        image = loading.add(root, found, chosen)
        root.how = "asked for"
        chain = (host.link,) if host is not None else ()
        loading.load_needs(image, chain)
    _check(loading, before, image if is_program else host, now=options.now)
    return _result(system, loading, root, image, before)


def _program(
    binary: Binary, found: Found, system: System, options: Options, *, is_program: bool
) -> tuple[Found, Binary] | None:
    if is_program:
        slice_ = program_slice(binary, system.target)
        return None if slice_ is None else (found, slice_)
    if options.host is None:
        return None
    host = system.find(options.host)
    slice_ = program_slice(system.read(host), system.target) if host is not None else None
    if host is None or slice_ is None:
        raise LibraryNotFound(
            f"see what {options.host} has loaded",
            "there is no such program on the target, or none for its CPU",
            hint="give the path that the program has there",
        )
    return host, slice_


def _start(loading: Loading, node: Node, found: Found, binary: Binary) -> Image:
    """Load a program, what is inserted into it, and what all these need."""
    node.how = "started"
    image = loading.add(node, found, binary)
    inserted = []
    for name in loading.process.environment.get("DYLD_INSERT_LIBRARIES", ()):
        below = Node(name, node)
        request = Request(name, (image.link,), inserted=True, falls_back=image.falls_back)
        there, _ = loading.load(below, request)
        node.needs.append(below)
        if there is not None:
            inserted.append(there)
    loading.load_needs(image, ())
    for there in inserted:
        loading.load_needs(there, (image.link,))
    return image


def _refuse(
    loading: Loading, root: Node, found: Found, chosen: Binary | None, refusal: Refusal
) -> None:
    root.state, root.found, root.binary = "refused", found, chosen
    root.tried.append(Step(root.name, "asked for", "fatal", refusal.reason))
    words = messages.reason_of(root.tried, loading.process, root.name)
    loading.problem(refusal.rule, root, root.name, words)


def _check(loading: Loading, before: int, program: Image | None, *, now: bool) -> None:
    process = loading.process
    binding = Binding(loading, program, now=now)
    for image in loading.loaded[before:]:
        binding.check(image)
        if messages.is_too_new(image.node, process):
            words = f"{image.path}{messages.too_new(image.node, process)}"
            loading.problem("minimum-os", image.node, image.path, words, certain=False)


def _result(
    system: System, loading: Loading, root: Node, image: Image | None, before: int
) -> Resolution:
    return Resolution(
        target=system.target,
        root=root,
        order=tuple(each.node for each in loading.loaded[before:]),
        initialisers=_initialisers(loading, image, before),
        problems=tuple(loading.problems),
        scope=tuple(each.node for each in loading.loaded[:before]),
    )


def _initialisers(loading: Loading, root: Image | None, before: int) -> tuple[Node, ...]:
    """Bottom up; a library that is only asked for upwards comes after the others.

    dyld-1378, dyld/Loader.cpp runInitializersBottomUpPlusUpwardLinks.
    """
    if root is None:
        return ()
    done = set(loading.loaded[:before])
    order: list[Node] = []
    # What is inserted is not among the program's needs, and is initialised before it.
    needed = {child for each in loading.loaded for _, child in each.needs}
    waiting = [each for each in loading.loaded[before:] if each is not root and each not in needed]
    waiting.append(root)
    while waiting:
        upward: list[Image] = []
        for image in waiting:
            order += _bottom_up(image, done, upward)
        waiting = [image for image in upward if image not in done]
    return tuple(order)


def _bottom_up(image: Image, done: set[Image], upward: list[Image]) -> list[Node]:
    order: list[Node] = []
    path = [(image, iter(image.needs))] if image not in done else []
    done.add(image)
    while path:
        image, needs = path[-1]
        for linked, child in needs:
            if child is None or child in done:
                continue
            if linked.upward:
                upward.append(child)
                continue
            done.add(child)
            path.append((child, iter(child.needs)))
            break
        else:
            path.pop()
            order.append(image.node)
    return order
