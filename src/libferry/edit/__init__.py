"""Change what a library says of itself: search paths, needed names, exports, versions.

``fix(path, Changes(...))`` does it on a copy, compares the copy with the original, has the
library's own loader look at it, and only then puts it in the original's place.
"""

from libferry.edit.changes import Changes
from libferry.edit.fixing import Fixed, fix

__all__ = ["Changes", "Fixed", "fix"]
