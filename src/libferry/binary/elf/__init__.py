"""ELF: Linux, the BSDs, Android and most else.

``image`` is the file as its loader sees it, ``symbols`` its names and their versions,
``sections`` the linker's account of the same file, and ``view`` all of it together.
"""

from libferry.binary.elf.image import Image, cpu_name, read
from libferry.binary.elf.layout import MAGIC, PF_X

__all__ = ["MAGIC", "PF_X", "Image", "cpu_name", "read"]
