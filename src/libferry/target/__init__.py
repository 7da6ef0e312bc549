"""Where a library shall run: systems as data, described or at hand."""

from libferry.target.model import Given, Target
from libferry.target.system import Found, System

__all__ = ["Found", "Given", "System", "Target"]
