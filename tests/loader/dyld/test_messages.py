"""What our dyld says, ``libferry explain`` knows, since people will paste the real one's."""

from __future__ import annotations

import pytest

from libferry.loader import glossary

from .conftest import Mac
from .machowriter import HARDENED, Macho, Need, Signed, Want

SYSTEMS = [f"macos-{version}-arm64" for version in (11, 12, 13, 14, 15, 26)]

MISSING = ["@rpath/gone.dylib"]
LIBRARIES = {
    "missing-library": Macho("/l", needs=MISSING, rpaths=["@loader_path"]),
    "missing-rpath": Macho("/l", needs=MISSING),
    "no-slice": Macho("/l", cpu="x86_64"),
    "wrong-platform": Macho("/l", platform="iOS"),
    "unsigned": Macho("/l", signed=None),
    "missing-symbol": Macho("/l", wants=[Want("_nobody_has_this", -2)]),
    "minimum-os": Macho("/l", minimum=(99, 0)),
}


def explained(message: str) -> list[glossary.Entry]:
    return [match.entry for match in glossary.explain(message) if match.entry is not None]


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("rule", LIBRARIES)
def test_every_message_is_explained(mac: Mac, system: str, rule: str) -> None:
    mac.write("l.dylib", LIBRARIES[rule])
    (problem,) = mac.on(system).resolve("l.dylib").problems
    assert problem.id == rule
    if rule == "minimum-os" and system < "macos-13":
        return  # dyld did not say anything
    assert "macos" in {entry.system for entry in explained(problem.message)}


@pytest.mark.parametrize("system", SYSTEMS)
def test_messages_on_signatures_are_explained(mac: Mac, system: str) -> None:
    mac.write("l.dylib", Macho("/l", signed=Signed("TEAM2", 0)))
    mac.write("main", Macho(kind="executable", signed=Signed("TEAM1", HARDENED)))
    (problem,) = mac.on(system).resolve("l.dylib", host="main").problems
    rules = {entry.rule for entry in explained(problem.message)}
    assert "library-validation" in rules


@pytest.mark.parametrize("system", SYSTEMS)
def test_messages_on_symbols_are_explained(mac: Mac, system: str) -> None:
    mac.write("a.dylib", Macho(mac.path("a.dylib")))
    need = Need(mac.path("a.dylib"))
    mac.write("l.dylib", Macho("/l", needs=[need], wants=[Want("_gone", 1)]))
    (problem,) = mac.on(system).resolve("l.dylib").problems
    rules = {entry.rule for entry in explained(problem.message)}
    assert "missing-symbol" in rules
