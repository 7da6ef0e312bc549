"""Rules over what was read and resolved, and their findings."""

from libferry.audit.model import Finding, Rule

__all__ = ["Finding", "Rule"]
