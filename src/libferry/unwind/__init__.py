"""Explain a crash after it: who called whom, from registers, stack and files on disk.

``backtrace(fault)`` unwinds the stack of a worker that is gone, for every CPU that has
workers, with nothing but Python. ``minidump.write`` keeps the same facts in a file for
debuggers.
"""

from libferry.unwind.frames import Frame, backtrace

__all__ = ["Frame", "backtrace"]
