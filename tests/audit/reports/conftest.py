from __future__ import annotations

import pytest

from libferry.audit.model import Finding
from libferry.audit.report import Edge, FileReport, Report

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&'\"\x1b]]>\x00{0}[a](b)"
"""A symbol's name, which is bytes of somebody else's choice."""


@pytest.fixture
def reports() -> list[Report]:
    """Two targets; a file that loads on one, a hostile one, and one that cannot be read."""
    finding = Finding(
        "missing-version",
        "error",
        "dist/x.whl!/pkg/_x.so",
        "GLIBC_2.34",
        "libc.so.6: version `GLIBC_2.34' not found",
        {"library": "libc.so.6"},
        "build it on an older system",
    )
    hostile = Finding("unheard-of", "warning", HOSTILE, HOSTILE, HOSTILE, {"x": HOSTILE}, HOSTILE)
    needs = (
        Edge("/x/_x.so", "libc.so.6", "/lib/libc.so.6", "loaded", "ld.so.cache"),
        Edge("/x/_x.so", HOSTILE, None, "missing", HOSTILE),
    )
    files = (
        FileReport("dist/x.whl!/pkg/_x.so", "old", False, "no: it is too new", (finding,), needs),
        FileReport(HOSTILE, "old", True, f"yes: {HOSTILE}", (hostile,)),
        FileReport(
            "/abs/a b.so",
            "old",
            None,
            "unknown: it is empty",
            error={"error": "BadBinary", "tried": "read", "happened": "it is empty", "hint": "?"},
        ),
    )
    good = FileReport("dist/x.whl!/pkg/_x.so", "new", True, "yes: it loads", (), needs)
    return [Report("old", files), Report("new", (good,))]
