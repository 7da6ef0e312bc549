"""What the pointers in a value lead to, kept alive as long as the value.

C has no owners: storing an address does not keep what is there. Python's users are
not used to that, and a Buffer that is collected while a structure still points to it
is a fault later and elsewhere. So the root of a value's memory holds what was stored
in it, by the place where it was, until something else is stored over all of that.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from libferry import _core

_lock = threading.RLock()  # what is collected meanwhile may keep and drop, too


def held(value: _core.Aggregate) -> list[object]:
    """What the pointers in ``value`` lead to now."""
    with _lock:
        kept, base = _core.kept_of(value)
        end = base + _core.size_of(value)
        return [
            one
            for (place, extent), objects in list(kept.items())
            if place < end and base < place + extent
            for one in objects
        ]


def keep(value: _core.Aggregate, offset: int, size: int, objects: Sequence[object]) -> None:
    """Keep ``objects`` for what was stored in ``size`` bytes at ``offset`` of ``value``."""
    dropped = []
    with _lock:
        kept, base = _core.kept_of(value)
        start = base + offset
        for place, extent in list(kept):
            if start <= place and place + extent <= start + size:
                dropped.append(kept.pop((place, extent), ()))
        if objects:
            kept[start, size] = tuple(objects)
    del dropped  # outside of the lock: what goes with it may run any code
