"""What the audit works out of a file, whether anything is wrong with it or not."""

from __future__ import annotations

from libferry.audit.subject import Subject
from libferry.audit.versions import floors
from libferry.errors import BadBinary


def facts_of(subject: Subject) -> dict[str, object]:
    """As plain data: what the file is, and the newest version it needs of each library."""
    binary = subject.binary
    facts: dict[str, object] = {
        "format": binary.format,
        "kind": binary.kind,
        "cpu": binary.cpu,
        "bits": binary.bits,
        "os": binary.os,
        "soname": binary.soname,
    }
    try:
        if newest := [floor.as_dict() for floor in floors(binary)]:
            facts["newest_versions"] = newest
        if binary.minimum_os:
            facts["minimum_os"] = binary.minimum_os
    except BadBinary:
        pass  # a finding of its own
    return facts
