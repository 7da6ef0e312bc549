"""Tests of libferry.audit: each rule meets a bad and a good file that a compiler made."""
