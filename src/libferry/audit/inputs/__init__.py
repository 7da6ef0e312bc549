"""What can be given to ``libferry check``, opened: files, folders, packages, images."""

from libferry.audit.inputs.limits import Limits
from libferry.audit.inputs.model import Item, Tree
from libferry.audit.inputs.opening import is_one_file, opened

__all__ = ["Item", "Limits", "Tree", "is_one_file", "opened"]
