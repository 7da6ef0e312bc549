"""A resolution as text: the tree, and where was looked for what is not found.

One line a library, and the reason on the same line, so that the question "why this one"
has its answer where it arises:

    libssl.so.3 => /lib/x86_64-linux-gnu/libssl.so.3 [ld.so.cache]
    ├── libcrypto.so.3 => /lib/x86_64-linux-gnu/libcrypto.so.3 [ld.so.cache]
    └── libmissing.so => not found
            /opt/lib/libmissing.so        RUNPATH of /opt/bin/tool: no such file
            /etc/ld.so.cache              no such name in it
"""

from __future__ import annotations

from collections.abc import Iterator

from libferry.loader.model import Node, Resolution, Step

_STATES = {
    "missing": "not found",
    "unknown": "not known to be there",
    "refused": "refused",
    "ignored": "not loaded, and not needed",
}
_OUTCOMES = {"missing": "no such file", "skipped": "passed over", "fatal": "given up"}


def tree(resolution: Resolution, again: bool = False) -> str:
    """The libraries as a tree, with the trail below each that is not found.

    Args:
        resolution: what to show.
        again: whether to show a library once more below each that needs it, too.
    """
    return "\n".join(map(_one_line, _lines(resolution.root, "", "", again)))


def trail(node: Node) -> str:
    """Where a library was looked for, in order, and why each place was passed over."""
    width = max((len(step.path) for step in node.tried), default=0)
    return "\n".join(_one_line(f"{step.path:<{width}}  {_why(step)}") for step in node.tried)


def _lines(root: Node, first: str, rest: str, again: bool) -> Iterator[str]:
    # chains of needs can be longer than Python's stack is deep
    waiting = [(root, first, rest)]
    while waiting:
        node, first, rest = waiting.pop()
        yield first + line(node)
        if node.state in ("missing", "unknown", "refused") and node.tried:
            for text in trail(node).split("\n"):
                yield f"{rest}    {text}"
        shown = [need for need in node.needs if again or need.state != "again"]
        for need in reversed(shown):
            last = need is shown[-1]
            corner, line_down = ("└── ", "    ") if last else ("├── ", "│   ")
            waiting.append((need, rest + corner, rest + line_down))


def line(node: Node) -> str:
    """One library, as a line."""
    if node.state in ("loaded", "again"):
        where = f" => {node.path}" if node.path != node.name else ""
        return f"{node.name}{where} [{node.how}]"
    where = f" => {node.path}:" if node.found and node.path != node.name else " =>"
    return f"{node.name}{where} {_STATES[node.state]}"


def _one_line(text: str) -> str:
    """A name may have line ends; what follows must not pass for a line of ours."""
    return text.replace("\n", "\\n")


def _why(step: Step) -> str:
    reason = step.reason or _OUTCOMES.get(step.outcome, "taken")
    return f"{step.source}: {reason}"
