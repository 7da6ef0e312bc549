"""What the audit works out of a file, whether anything is wrong with it or not."""

from __future__ import annotations

from libferry.audit.subject import Subject
from libferry.audit.versions import floors
from libferry.errors import BadBinary


def facts_of(subject: Subject) -> dict[str, object]:
    """As plain data: what the file is, who loads it, the newest versions that it needs."""
    binary = subject.binary
    facts: dict[str, object] = {
        "format": binary.format,
        "kind": binary.kind,
        "cpu": binary.cpu,
        "bits": binary.bits,
        "os": binary.os,
        "soname": binary.soname,
        "loader": subject.target.loader if subject.target else None,
    }
    try:
        if newest := [floor.as_dict() for floor in floors(binary)]:
            facts["newest_versions"] = newest
        if binary.minimum_os:
            facts["minimum_os"] = binary.minimum_os
    except BadBinary:
        pass  # a finding of its own
    return facts
