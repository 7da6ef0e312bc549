"""Load a library where it can live, and call it.

``loading`` decides where, ``library`` has ``Library``; ``runner`` knows what this
machine can host and through what; ``worker`` starts one; ``binding`` joins a signature
to the compiled ``Function``; ``explain`` words the errors that the C core finds,
``crash`` the end of a worker.
"""

from libferry import _core
from libferry.runtime import batch, bulk, crash, deadline, explain, life
from libferry.runtime.callbacks import Callback
from libferry.runtime.library import Library
from libferry.runtime.loading import load
from libferry.runtime.memory import Buffer, Out, Pointer
from libferry.runtime.output import Line
from libferry.runtime.pool import Pool, pool
from libferry.runtime.values import Array, Struct

__all__ = [
    "Array",
    "Buffer",
    "Callback",
    "Library",
    "Line",
    "Out",
    "Pointer",
    "Pool",
    "Struct",
    "load",
    "pool",
]

_core.set_hooks(
    argument=explain.argument,
    count=explain.count,
    ended=explain.ended,
    arena=explain.arena,
    called=crash.called,
    map=bulk.map_rows,
    batch=batch.batch,
    within=deadline.within,
    successor=life.successor,
)
