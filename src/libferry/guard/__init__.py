"""What code a process has, and whether it is what was expected.

``files`` reads what is mapped from the kernel; ``snapshot`` keeps it in a file and compares;
``sealed`` makes a copy of a library that nobody can change any more; ``preloads``, ``filter``
and ``watching`` are ``libferry run``: the same for somebody else's program.
"""

from libferry.guard.files import LoadedFile
from libferry.guard.snapshot import Expected, Loaded, snapshot

__all__ = ["Expected", "Loaded", "LoadedFile", "snapshot"]
