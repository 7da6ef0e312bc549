"""Compile a C library for any ABI that libferry calls, from one machine.

``compile_library`` takes C source and an ABI's name, and gives the path of a ``.so``
or ``.dll``. The compiler is ``zig cc`` from the ``ziglang`` package, which is the
extra ``build``: ``pip install 'libferry[build]'``.
"""

from libferry.build.zig import compile_library
from libferry.errors import BuildError

__all__ = ["BuildError", "compile_library"]
