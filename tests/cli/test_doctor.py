"""``libferry doctor``: what this machine can host."""

from __future__ import annotations

import pytest

from libferry.abi import ABIS
from libferry.runtime import runner
from tests.cli.conftest import ferry

NO_QEMU = {"PATH": "/nonexistent"}
FOREIGN = "aarch64-aapcs64"

pytestmark = pytest.mark.skipif(
    runner.host_cpu() != "x86_64", reason="needs a machine to which AArch64 is foreign: x86-64"
)


def test_every_abi_is_answered() -> None:
    ran = ferry("doctor", "--json")
    assert ran.code == 0
    assert ran.json["host"] == runner.host_abi()
    answers = {answer["abi"]: answer for answer in ran.json["abis"]}
    assert answers.keys() == ABIS.keys()
    own = answers[runner.host_abi()]
    assert own["hosted"]
    assert own["isolation"] == ["in-process", "worker", "sandbox"]
    assert own["start_ms"] > 0


def test_what_is_missing_has_a_command_and_is_no_failure() -> None:
    ran = ferry("doctor", environment=NO_QEMU)
    assert ran.code == 0
    row = next(line for line in ran.out.splitlines() if line.startswith(FOREIGN))
    assert row.split()[1] == "no"
    assert "qemu-aarch64 is missing" in row
    missing = ran.out[ran.out.index("To add what is missing:") :].splitlines()
    hint = next(line for line in missing if line.split()[:1] == [FOREIGN])
    assert hint.split(maxsplit=1)[1] == "apt-get install qemu-user-static libc6-arm64-cross"


def test_what_is_missing_is_an_error_as_data() -> None:
    answers = ferry("doctor", "--json", environment=NO_QEMU).json["abis"]
    missing = next(answer for answer in answers if answer["abi"] == FOREIGN)
    assert not missing["hosted"]
    assert missing["error"]["error"] == "NoRunner"
