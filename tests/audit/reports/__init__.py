"""Tests of libferry.audit.reports: other programs read what we write."""
