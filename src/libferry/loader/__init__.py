"""What a loader would do: where it finds each library, and why not.

``resolve`` answers for a library on a target, ``locate`` finds a library of this machine by
its name.
"""

from libferry.loader.model import Node, Options, Problem, Resolution, Step
from libferry.loader.resolve import resolve
from libferry.loader.search import locate

__all__ = ["Node", "Options", "Problem", "Resolution", "Step", "locate", "resolve"]
