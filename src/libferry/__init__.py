"""libferry: call native libraries across the boundaries that stop them."""

__version__ = "0.1.0"
