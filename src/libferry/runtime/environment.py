"""What a worker, and Wine for it, may know of this process's environment."""

from __future__ import annotations

import os
from collections.abc import Mapping

# They would make the loader put something of ours, maybe of another CPU, into it.
_PRELOADS = ("LD_PRELOAD", "LD_AUDIT")


def child_environment(more: Mapping[str, str]) -> dict[str, str]:
    """This process's variables without preloads, and ``more``."""
    return {k: v for k, v in os.environ.items() if k not in _PRELOADS} | dict(more)
