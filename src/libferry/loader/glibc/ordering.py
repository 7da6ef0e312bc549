"""The order in which initialisers run.

A library's initialisers run after those of what it needs, and where the needs go in a
circle somebody has to be first. Up to glibc 2.34 the order was made by moving each library
behind the last one that needs it, until nothing moves; since 2.35 it is the reverse of a
walk, depth first, that begins at the end of the list. The two give different orders, even
without circles, and libraries that happened to work have stopped working for it.

Source: glibc ``elf/dl-sort-maps.c``, ``_dl_sort_maps_original`` and ``_dl_sort_maps_dfs``;
``elf/dl-init.c``, ``_dl_init``.
"""

from __future__ import annotations

from collections.abc import Sequence

from libferry.loader.glibc.facts import DF_1_INITFIRST
from libferry.loader.glibc.mapping import Loaded
from libferry.loader.glibc.rules import SORT_DEPTH_FIRST, Version


def initialisers(order: Sequence[Loaded], version: Version) -> list[Loaded]:
    """Sort libraries, given in the order of symbol search, to that of initialisers."""
    if SORT_DEPTH_FIRST.holds(version):
        ordered = _depth_first(order)
    else:
        ordered = [order[0], *_by_moving(list(order[1:]))]
    ordered.reverse()
    first = [one for one in ordered if one.facts.flags_1 & DF_1_INITFIRST]
    if first:  # GL(dl_initfirst) holds one: the last that was loaded
        last = max(first, key=order.index)
        ordered.remove(last)
        ordered.insert(0, last)
    return ordered


def _depth_first(order: Sequence[Loaded]) -> list[Loaded]:
    root = order[0]
    visited = {id(root)}
    postorder: list[Loaded] = []
    for start in reversed(order[1:]):
        if id(start) in visited:
            continue
        visited.add(id(start))
        # the walk is recursive in glibc; a chain of needs may be longer than Python's stack
        stack = [(start, iter(start.needs))]
        while stack:
            one, rest = stack[-1]
            for need in rest:
                if id(need) not in visited:
                    visited.add(id(need))
                    stack.append((need, iter(need.needs)))
                    break
            else:
                postorder.append(one)
                stack.pop()
    postorder.append(root)
    postorder.reverse()
    listed = {id(one) for one in order}
    return [one for one in postorder if id(one) in listed]


def _by_moving(maps: list[Loaded]) -> list[Loaded]:
    count = len(maps)
    if count <= 1:
        return maps
    needs = {id(one): {id(need) for need in (one, *one.needs)} for one in maps}
    seen = [0] * (count + 1)
    at = 0
    while True:
        seen[at] += 1
        this = maps[at]
        for last in range(count - 1, at, -1):
            if id(this) in needs[id(maps[last])]:
                break
        else:
            at += 1
            if at == count:
                return maps
            seen[at:] = [0] * (count + 1 - at)
            continue
        del maps[at]
        maps.insert(last, this)
        if seen[at + 1] > count - at:
            at += 1
            seen[at:] = [0] * (count + 1 - at)
            continue
        mine = seen.pop(at)
        seen.insert(last, mine)
