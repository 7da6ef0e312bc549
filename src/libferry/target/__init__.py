"""Where a library shall run: systems as data, described or at hand."""

from libferry.target.choose import list_targets, system_for, target_for, this
from libferry.target.described import DescribedSystem
from libferry.target.model import Given, Target
from libferry.target.root import RootSystem
from libferry.target.system import Found, System

__all__ = [
    "DescribedSystem",
    "Found",
    "Given",
    "RootSystem",
    "System",
    "Target",
    "list_targets",
    "system_for",
    "target_for",
    "this",
]
