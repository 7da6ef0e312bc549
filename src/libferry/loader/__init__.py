"""Where a library is that was given by name only."""

from libferry.loader.search import locate

__all__ = ["locate"]
