"""Many files at once: whatever was given, for one target or several, in parallel, kept."""

from libferry.audit.many.checking import Run, check_inputs

__all__ = ["Run", "check_inputs"]
