"""Which layers there are, on this kernel and on others."""

from __future__ import annotations

import pytest

from libferry.errors import ArgumentValueError, SandboxUnavailable
from libferry.sandbox import Report, read_profile
from libferry.sandbox.kernel import Kernel
from libferry.sandbox.layers import check, layers_of, names

ALL = frozenset({"user", "mount", "pid", "net", "ipc", "uts", "cgroup"})
NEW = Kernel(7, True, True, ALL, (6, 18))
OLD = Kernel(0, True, False, ALL, (4, 19))


def report(kernel: Kernel, profile: str = "pure") -> Report:
    read = read_profile(profile)
    return Report(read, layers_of(read, kernel))


def test_every_layer_says_what_it_stops_and_a_missing_one_why() -> None:
    for layer in report(OLD):
        assert layer.stops
        assert layer.in_force != bool(layer.why)


def test_a_kernel_of_2018_has_neither_landlock_nor_notification_and_is_told_which_has() -> None:
    missing = {layer.name: layer.why for layer in report(OLD).missing}
    assert missing["landlock"] == "this kernel is 4.19; Linux 5.13 has it"
    assert missing["landlock network"] == "this kernel is 4.19; Linux 6.7 has it"
    assert missing["seccomp notification"] == "this kernel is 4.19; Linux 5.5 has it"
    assert "network namespace" not in missing


def test_an_older_landlock_has_files_and_no_ports() -> None:
    kernel = Kernel(3, True, True, ALL, (6, 4))
    missing = {layer.name: layer.why for layer in report(kernel).missing}
    assert "landlock" not in missing
    assert missing["landlock network"] == "this kernel is 6.4; Linux 6.7 has it"


def test_a_new_kernel_without_landlock_was_built_without() -> None:
    kernel = Kernel(0, True, True, ALL, (6, 18))
    missing = {layer.name: layer.why for layer in report(kernel).missing}
    assert "lsm=" in missing["landlock"]


def test_a_machine_without_user_namespaces_has_none_of_the_others() -> None:
    missing = {layer.name for layer in report(Kernel(7, True, True, frozenset(), (6, 18))).missing}
    spaces = {"user", "mount", "pid", "network", "ipc", "uts", "cgroup"}
    assert {f"{space} namespace" for space in spaces} <= missing


def test_a_network_profile_does_not_miss_a_network_namespace() -> None:
    found = report(NEW, "network-client")
    (layer,) = [layer for layer in found if layer.name == "network namespace"]
    assert (layer.in_force, layer.wanted) == (False, False)
    assert layer not in found.missing
    check(found, ["network namespace"])


def test_a_layer_that_is_required_and_missing_is_an_error_that_says_why() -> None:
    with pytest.raises(SandboxUnavailable, match=r"landlock: this kernel is 4\.19"):
        check(report(OLD), ["landlock"])
    with pytest.raises(SandboxUnavailable, match="seccomp notification"):
        check(report(OLD), "all")
    check(report(OLD), ["seccomp", "mount namespace"])


def test_a_layer_that_does_not_exist_cannot_be_required() -> None:
    with pytest.raises(ArgumentValueError) as caught:
        check(report(NEW), ["landlok"])
    assert "landlock" in caught.value.hint


def test_a_report_reads_as_a_table() -> None:
    text = str(report(OLD))
    assert text.startswith("profile pure: Computes")
    for name in names():
        assert name in text
