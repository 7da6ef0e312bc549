"""``libferry call --isolation sandbox``, and what ``libferry doctor`` says of sandboxes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from libferry.sandbox.layers import names
from tests.cli.conftest import ferry

pytestmark = pytest.mark.needs("libseccomp.so.2", install="apt-get install libseccomp2")

OPEN = ("libc.so.6", "int open(const char *path, int flags)")


def test_a_call_in_a_sandbox() -> None:
    ran = ferry("call", "--isolation", "sandbox", "libm.so.6", "double cos(double)", "0")
    assert (ran.code, ran.out) == (0, "1.0\n")


def test_a_violation_is_an_answer_with_the_line_that_allows_it(tmp_path: Path) -> None:
    ran = ferry("call", "--isolation", "sandbox", *OPEN, "/etc/hosts", "0")
    assert ran.code == 1
    assert '[files] read = ["/etc/hosts"]' in ran.err
    file = tmp_path / "mine.toml"
    file.write_text('inherits = "pure"\n[files]\nread = ["/etc/hosts"]\n')
    ran = ferry("call", "--isolation", "sandbox", "--profile", str(file), *OPEN, "/etc/hosts", "0")
    assert ran.code == 0
    assert int(ran.out) >= 3


def test_a_profile_without_a_sandbox_is_refused() -> None:
    ran = ferry("call", "--profile", "pure", *OPEN, "/etc/hosts", "0")
    assert ran.code != 0
    assert "isolation='sandbox'" in ran.err


def test_layers_can_be_insisted_on() -> None:
    layers = ferry("doctor", "--json").json["sandbox"]
    there = [layer["layer"] for layer in layers if layer["in_force"]]
    cos = ("call", "--isolation", "sandbox", "libm.so.6", "double cos(double)", "0")
    assert ferry(*cos, "--require", there[0], "--require", there[-1]).code == 0
    assert ferry(*cos, "--require", "all").code == (0 if len(there) == len(layers) else 1)
    ran = ferry(*cos, "--require", "moat")
    assert ran.code != 0
    assert "moat" in ran.err


def test_doctor_lists_every_layer() -> None:
    layers = ferry("doctor", "--json").json["sandbox"]
    assert [layer["layer"] for layer in layers] == list(names())
    for layer in layers:
        assert layer["in_force"] == (layer["why_not"] is None), json.dumps(layer)
    text = ferry("doctor").out
    assert "layers of a sandbox" in text
