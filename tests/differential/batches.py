"""How many functions, and where Hypothesis starts, from FERRY_CASES and FERRY_SEED."""

from __future__ import annotations

import os

import pytest

CASES = int(os.environ.get("FERRY_CASES", "300"))
SEED = int(os.environ.get("FERRY_SEED", "0"))
BATCH = 60  # functions for one run of the compiler
STORIES = 3  # told of a batch that fails; a wrong rule fails dozens


def batches() -> list[tuple[int, int]]:
    """Give each batch's start for Hypothesis, and its number of functions."""
    return [(SEED + at // BATCH, min(BATCH, CASES - at)) for at in range(0, CASES, BATCH)]


def tell(stories: list[str], start: int, count: int) -> None:
    """Fail if anything went wrong, with the first few stories."""
    if stories:
        again = f"FERRY_SEED={start} FERRY_CASES={count}"
        told = "\n\n".join(stories[:STORIES])
        pytest.fail(f"{len(stories)} of {count} functions, {again}\n\n{told}", pytrace=False)
