"""Numbers with as many digits as mean anything, and the unit that suits them."""

from __future__ import annotations


def show_ratio(ratio: float) -> str:
    if ratio < 0.0995:
        return f"{ratio:.2g}"
    return f"{ratio:.0f}" if ratio >= 99.5 else f"{ratio:.2f}"


def show_time(seconds: float) -> str:
    if seconds == 0:
        return "0"
    for unit, size in (("ps", 1e-12), ("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3)):
        if abs(seconds) < 999.5 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def show_count(count: float) -> str:
    """Write how often something happens in a call."""
    return f"{count:.3g}"


def show_bytes(size: float) -> str:
    """Write a size in the unit that programs' memory is counted in."""
    return f"{size / (1 << 20):.1f} MiB"
