"""Tests of libferry.binary: what it says is checked against what others say."""
