"""Bind the imports of one module: every name must be there, also behind forwards.

An export that is a forward (``NTDLL.RtlAllocateHeap``, ``OTHER.#12``) makes the loader load
the other DLL when somebody binds to it, and may lead to a forward again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from libferry.binary.model import Export, Import
from libferry.binary.pe.view import PeView
from libferry.errors import BadBinary
from libferry.loader.model import Node
from libferry.loader.windows import rules
from libferry.loader.windows.names import module_name, with_extension
from libferry.loader.windows.process import Search

if TYPE_CHECKING:
    from libferry.loader.windows.engine import Loader

FORWARDS_AT_MOST = 64


def bind(loader: Loader, node: Node, search: Search) -> None:
    """Look for all that ``node`` imports, and load what forwards lead to."""
    if node.binary is None:
        return
    try:
        wanted = node.binary.imports
    except BadBinary as error:
        loader.report("not-a-library", node, node.name, error.happened, rules.PE_FORMAT)
        return
    providers = {need.name: need for need in node.needs if need.state in ("loaded", "again")}
    offers = {name: _offered(provider) for name, provider in providers.items()}
    for one in wanted:
        provider = providers.get(one.library or "")
        if provider is None or one.delay:
            continue
        offered = offers.get(one.library or "")
        if offered is not None:  # nearly all end here
            export = offered.get(one.name if one.ordinal is None else one.ordinal)
            if export is not None and export.forward is None:
                continue
        _bind(loader, node, one, provider, search)


def _offered(provider: Node) -> Mapping[str | int, Export] | None:
    """The exports of a module; None if they are not here, or damaged."""
    try:
        return cast(PeView, provider.binary.view).offered if provider.binary else None
    except BadBinary:
        return None


def _bind(loader: Loader, node: Node, one: Import, provider: Node, search: Search) -> None:
    name: str | int = one.name if one.ordinal is None else one.ordinal
    subject = f"{one.library}!{one.name}"
    seen: set[tuple[str, str | int]] = set()
    first = True
    while provider.binary is not None:
        key = (provider.path.lower(), name)
        if key in seen or len(seen) == FORWARDS_AT_MOST:
            loader.report(
                "forwarder-missing", node, subject, "its forwards go round", rules.PE_FORMAT
            )
            return
        seen.add(key)
        try:
            export = cast(PeView, provider.binary.view).offered.get(name)
        except BadBinary as error:
            loader.report("not-a-library", provider, one.name, error.happened, rules.PE_FORMAT)
            return
        if export is None:
            id_ = "missing-procedure" if isinstance(name, str) else "missing-ordinal"
            detail = f"{provider.path} does not export {name if first else f'{name}, where'}"
            if not first:
                id_, detail = "forwarder-missing", f"{detail} {subject} leads"
            loader.report(id_, node, subject, detail, rules.ERRORS)
            return
        if export.forward is None:
            return
        library, _, name_text = export.forward.rpartition(".")
        name = int(name_text[1:]) if name_text[:1] == "#" and name_text[1:].isdigit() else name_text
        following = _follow(loader, provider, library, search)
        if following.state not in ("loaded", "again"):
            loader.report(
                "forwarder-missing",
                node,
                subject,
                f"it leads to {export.forward}, and {with_extension(library)} is not there",
                rules.PE_FORMAT,
            )
            return
        provider, first = following, False
    _described(loader, node, provider, name, subject)


def _described(loader: Loader, node: Node, provider: Node, name: str | int, subject: str) -> None:
    """Of a DLL that is not here, only what came later than it is known."""
    later = cast(Mapping[str, tuple[str, str]], loader.process.target.facts.get("later", {}))
    row = later.get(f"{module_name(provider.path)}!{name}")
    if row is None:
        return
    version, source = row
    if loader.process.target.version < tuple(map(int, version.split("."))):
        detail = f"{module_name(provider.path)} has {name} since Windows {version}: {source}"
        loader.report("missing-procedure", node, subject, detail, rules.ERRORS)


def _follow(loader: Loader, provider: Node, library: str, search: Search) -> Node:
    """Load the DLL that a forward leads to; one that was loaded for it before is taken."""
    wanted = with_extension(library)
    for need in provider.needs:
        if module_name(with_extension(need.name)) == module_name(wanted):
            return need
    node = Node(wanted, provider, how="")
    before = len(loader.problems)
    loader.find(node, search)
    del loader.problems[before:]  # what is missing is said once, about the import
    node.how = f"forward, {node.how}" if node.how else "forward"
    provider.needs.append(node)
    if node.state == "loaded":
        loader.below(node, search)
    return node
