"""PE: Windows libraries and programs, and Wine's.

``image`` is the file as its loader sees it, ``exports`` and ``imports`` its names,
``headers`` what else its tables say, ``manifest`` the XML that it carries, and ``view``
all of it together.
"""

from libferry.binary.pe.image import MAGIC, Image, code_view, function_starts, read

__all__ = ["MAGIC", "Image", "code_view", "function_starts", "read"]
