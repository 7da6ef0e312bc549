"""Unpacking without trusting a name.

An archive is a list of instructions to a file system: make this, link that there, write
here. A hostile one makes a link to ``/etc`` and then writes through it, and an honest
one, the layer of a container image, writes through links that another layer made and that
are absolute, since they are meant for a root that is not ours. Python's ``tarfile`` has a
filter against the first, and it refuses the second.

So nothing is done on disk while an archive is read. Names live in a tree in memory, where
links are followed as they would be in the archive's own root (``..`` at the top stays at
the top), and contents go to numbered files. At the end the tree is laid out: folders,
then files, and links last, each rewritten to a relative one that stays inside. There is
never a link on disk that something could be written through. Devices, pipes and sockets
are left out.

Of the files, only those are kept that matter for loading: native code; what has the name
of a library (a loader that finds a text there gives up); and what loaders read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from libferry.audit.inputs.limits import Budget
from libferry.audit.inputs.native import HEAD, is_native

LONGEST_NAME = 255  # bytes; NAME_MAX of Linux's file systems
LONGEST_TARGET = 4095  # characters; PATH_MAX
LINKS = 40  # followed for one name; Linux's path_resolution(7)
CONFIGURATION_SIZE = 64 << 20  # bytes; an ld.so.cache of 100,000 libraries is 10 MiB

_LIBRARY_NAME = re.compile(r"\.so(\.|$)|\.(dll|dylib|manifest)$", re.IGNORECASE)
_CONFIGURATION = re.compile(
    r"etc/(ld\.so\.(cache|conf|preload|conf\.d/[^/]*)|ld-musl-[^/]*\.path|os-release)"
    r"|usr/lib/os-release"
)


@dataclass(slots=True)
class Node:
    """One name in the tree.

    Attributes:
        kind: what it is.
        layer: of a container image, from which it came.
        children: of a folder.
        stored: the numbered file with the contents; None for a file that is not kept.
        native: whether it is code.
        target: of a link, as the archive has it.
    """

    kind: Literal["folder", "file", "link"]
    layer: int = 0
    children: dict[str, Node] = field(default_factory=dict)
    stored: Path | None = None
    native: bool = False
    target: str = ""


class Unpacking:
    """One archive, or the layers of one image, on their way into a folder."""

    def __init__(self, folder: Path, budget: Budget) -> None:
        """Lay it out as ``folder/tree``; nobody else uses ``folder``, which is empty."""
        self.budget = budget
        self.layer = 0
        self.root = folder / "tree"
        self._contents = folder / "contents"
        self._root = Node("folder")
        self._stored = 0
        os.mkdir(self.root, 0o700)
        os.mkdir(self._contents, 0o700)

    def folder(self, name: str) -> None:
        """Make a folder, and those above it."""
        self.budget.entry()
        above, last = self._place(name)
        there = above[-1][1].children.get(last)
        if last and (there is None or there.kind != "folder"):
            above[-1][1].children[last] = Node("folder", self.layer)

    def file(self, name: str, contents: Iterable[bytes]) -> None:
        """Write a file, in place of what was there; take no more contents than needed."""
        self.budget.entry()
        above, last = self._place(name)
        if not last:
            raise self.budget.bad(f"it has a file without a name: {name!r}")
        # a link there is replaced, not written through, as tar and dpkg do
        above[-1][1].children[last] = node = Node("file", self.layer)
        parts = iter(contents)
        head = b""
        while len(head) < HEAD and (part := next(parts, b"")):
            head += part
        node.native = is_native(head)
        path = "/".join([part for part, _ in above[1:]] + [last])
        if node.native or _LIBRARY_NAME.search(last):
            node.stored = self._store(head, parts, None)
        elif _CONFIGURATION.fullmatch(path):
            node.stored = self._store(head, parts, CONFIGURATION_SIZE)

    def link(self, name: str, target: str) -> None:
        """Make a symbolic link."""
        self.budget.entry()
        if "\0" in target or not target or len(target) > LONGEST_TARGET:
            raise self.budget.bad(f"its link {name!r} leads to no possible name")
        above, last = self._place(name)
        if last:
            above[-1][1].children[last] = Node("link", self.layer, target=target)

    def hard_link(self, name: str, target: str) -> None:
        """Give a file another name; one that is not there makes a file that is not kept."""
        self.budget.entry()
        beside, old = self._place(target)
        there = beside[-1][1].children.get(old)
        above, last = self._place(name)
        if not last:
            return
        made = Node("file", self.layer)
        if there is not None and there.kind != "folder":
            made = Node(there.kind, self.layer, {}, there.stored, there.native, there.target)
        above[-1][1].children[last] = made

    def remove(self, name: str) -> None:
        """Take away what lower layers have at ``name``."""
        self.budget.entry()
        above, last = self._place(name)
        node = above[-1][1].children.get(last)
        if node is not None and not self._is_of_this_layer(node):
            del above[-1][1].children[last]

    def empty(self, name: str) -> None:
        """Take away what lower layers have in the folder ``name``."""
        self.budget.entry()
        above, last = self._place(name)
        node = above[-1][1].children.get(last) if last else self._root
        if node is not None:
            self._is_of_this_layer(node)

    def _is_of_this_layer(self, node: Node) -> bool:
        """Whether anything there is of this layer; what is not is taken away."""
        self.budget.entry()
        kept = {n: c for n, c in node.children.items() if self._is_of_this_layer(c)}
        node.children = kept
        return bool(kept) or node.layer == self.layer

    def lay_out(self) -> list[str]:
        """Make it all in the folder; give the native files, relative, each content once.

        Raises:
            BadArchive: the file system takes it not: a full disk, too long a name.
        """
        try:
            return sorted(self._lay_out())
        except OSError as error:
            raise self.budget.bad(
                f"it cannot be unpacked into {self.root}: {error.strerror}",
                hint="make room there, or set TMPDIR to a folder on another disk",
            ) from None

    def _lay_out(self) -> Iterator[str]:
        laid: dict[Path, str] = {}
        links: list[tuple[str, Node]] = []
        waiting: list[tuple[str, Node]] = [("", self._root)]
        while waiting:
            path, node = waiting.pop()
            for name, child in sorted(node.children.items()):
                below = f"{path}{name}"
                if child.kind == "link":
                    links.append((below, child))
                elif child.kind == "folder":
                    os.mkdir(self.root / below, 0o700)
                    waiting.append((f"{below}/", child))
                elif child.stored is not None and child.stored in laid:
                    os.link(self.root / laid[child.stored], self.root / below)
                elif child.stored is not None:
                    os.rename(child.stored, self.root / below)
                    laid[child.stored] = below
                    if child.native:
                        yield below
        for path, node in links:
            if inside := self._inside(path, node.target):
                os.symlink(inside, self.root / path)

    def _inside(self, path: str, target: str) -> str:
        """A link's target as a relative path that stays inside; "" if it has none."""
        above = path.split("/")[:-1]
        parts = [] if target.startswith("/") else list(above)
        for part in target.split("/"):
            if part == "..":
                # not quite what a link through another link means, but never outside
                del parts[-1:]
            elif part not in ("", "."):
                parts.append(part)
        common = 0
        while common < min(len(above), len(parts)) and above[common] == parts[common]:
            common += 1
        return "/".join([*[".."] * (len(above) - common), *parts[common:]]) or "."

    def _store(self, head: bytes, rest: Iterator[bytes], limit: int | None) -> Path:
        path = self._contents / str(self._stored)
        self._stored += 1
        size = len(head)
        try:
            with open(path, "xb") as file:
                file.write(head)
                for part in rest:
                    size += len(part)
                    if limit is not None and size > limit:
                        raise self.budget.bad(f"a configuration file in it is over {limit} bytes")
                    file.write(part)
        except OSError as error:
            raise self.budget.bad(
                f"it cannot be unpacked into {self.root}: {error.strerror}",
                hint="make room there, or set TMPDIR to a folder on another disk",
            ) from None
        return path

    def _place(self, name: str) -> tuple[list[tuple[str, Node]], str]:
        """The folders that ``name`` is in, made if need be, and the last part of the name."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        for part in parts:
            if "\0" in part or len(os.fsencode(part)) > LONGEST_NAME:
                raise self.budget.bad(f"no file can have the name {part[:80]!r}")
        if ".." in parts:
            raise self.budget.bad(
                f"the name {name[:200]!r} leads out of a folder",
                hint="treat it as hostile: no packing program writes such names",
            )
        return self._walk(parts[:-1]), parts[-1] if parts else ""

    def _walk(self, parts: list[str]) -> list[tuple[str, Node]]:
        """The folders on the way along ``parts``, links followed; missing ones are made."""
        chain: list[tuple[str, Node]] = [("", self._root)]
        ahead = parts[::-1]
        links = 0
        while ahead:
            part = ahead.pop()
            if part == "..":
                if len(chain) > 1:
                    chain.pop()
                continue
            if part in ("", "."):
                continue
            node = chain[-1][1].children.get(part)
            if node is not None and node.kind == "link":
                links += 1
                if links > LINKS:
                    raise self.budget.bad(f"its links at {part!r} lead in a circle")
                if node.target.startswith("/"):
                    del chain[1:]
                ahead += node.target.split("/")[::-1]
                continue
            if node is None or node.kind == "file":
                self.budget.entry()
                node = chain[-1][1].children[part] = Node("folder", self.layer)
            chain.append((part, node))
            if len(chain) > self.budget.limits.depth:
                raise self.budget.bad(f"it has folders more than {self.budget.limits.depth} deep")
        return chain
