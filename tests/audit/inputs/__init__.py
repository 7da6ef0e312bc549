"""Tests of libferry.audit.inputs: the files are made by the tools that everybody uses."""
