"""Rules over what was read and resolved, and their findings.

``audit_file`` asks all rules of one file and gives a ``FileReport``; ``libferry.check`` is
that for one file and people's words for the rest.
"""

from libferry.audit.model import Finding, Rule
from libferry.audit.report import Edge, FileReport, Report
from libferry.audit.running import audit_file
from libferry.audit.selection import Selection
from libferry.audit.subject import Settings

__all__ = [
    "Edge",
    "FileReport",
    "Finding",
    "Report",
    "Rule",
    "Selection",
    "Settings",
    "audit_file",
]
