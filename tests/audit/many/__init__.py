"""Tests of libferry.audit.many: in parallel and kept, the answers stay the same."""
