"""Which rules are asked: ids and groups, as in other linters."""

from __future__ import annotations

from libferry.audit import Selection


def test_everything_is_asked_by_default() -> None:
    assert Selection().asks("missing-library", "load", "liba.so")


def test_a_selected_group_is_asked_and_no_other() -> None:
    chosen = Selection(select=frozenset({"load"}))
    assert chosen.asks("missing-library", "load", "liba.so")
    assert not chosen.asks("no-relro", "security", "liba.so")


def test_a_selected_rule_is_asked_though_its_group_is_ignored() -> None:
    chosen = Selection(select=frozenset({"no-relro"}), ignore=frozenset({"security"}))
    assert chosen.asks("no-relro", "security", "liba.so")
    assert not chosen.asks("no-pie", "security", "liba.so")


def test_an_ignored_rule_is_not_asked_though_it_is_selected() -> None:
    chosen = Selection(select=frozenset({"security"}), ignore=frozenset({"no-relro"}))
    assert not chosen.asks("no-relro", "security", "liba.so")


def test_a_pattern_is_for_the_path_or_for_the_name() -> None:
    chosen = Selection(
        per_file=(("vendor/*", frozenset({"security"})), ("libgo*.so", frozenset({"no-relro"})))
    )
    assert not chosen.asks("no-relro", "security", "vendor/liba.so")
    assert not chosen.asks("no-relro", "security", "deep/below/libgo1.so")
    assert chosen.asks("no-pie", "security", "deep/below/libgo1.so")
