"""Run a program under its real loader, and compare what it does with the prediction."""

from libferry.loader.tracing.compare import Comparison, Difference
from libferry.loader.tracing.run import Traced, trace

__all__ = ["Comparison", "Difference", "Traced", "trace"]
