"""``libferry doctor``: what this machine can host, and how well it confines."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import typer

from libferry.abi import ABIS
from libferry.cli import output
from libferry.cli.failure import NO
from libferry.errors import FerryError, SandboxUnavailable
from libferry.runtime import runner
from libferry.runtime.worker import Start, Worker
from libferry.sandbox import Layer, read_profile
from libferry.sandbox.calls import AUDIT_ARCH
from libferry.sandbox.kernel import kernel
from libferry.sandbox.layers import layers_of
from libferry.sandbox.seccomp import compile_filter

PROBE_ARENA = 1 << 20  # bytes; the smallest worker will do


@dataclass(frozen=True)
class Verdict:
    """What came of starting a worker for one ABI."""

    abi: str
    through: str = ""
    milliseconds: float = 0.0
    error: FerryError | None = None

    @property
    def isolation(self) -> list[str]:
        """Where a library of this ABI can live."""
        if self.error:
            return []
        places = ["in-process", "worker"] if self.abi == runner.host_abi() else ["worker"]
        confined = "linux" in ABIS[self.abi].os and kernel().seccomp
        return [*places, "sandbox"] if confined else places

    def as_dict(self) -> dict[str, object]:
        """The verdict as data."""
        return {
            "abi": self.abi,
            "hosted": self.error is None,
            "through": self.through or None,
            "isolation": self.isolation,
            "start_ms": None if self.error else round(self.milliseconds, 1),
            "error": self.error.as_dict() if self.error else None,
        }


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> int:
    """Say what this machine can host, and how to add the rest.

    \b
    libferry doctor
    libferry doctor --json

    A small worker is started for every kind of library, and ended again, so that a
    yes means that it works. With Wine, the first time takes some fifteen seconds.

    The exit code is 0 if libraries of this machine's own kind can be hosted, and 1 if
    not. The other kinds do not count: whoever needs none of them has a sound machine,
    and whoever needs one finds it in the answer. Neither do the layers of a sandbox:
    load(require=...) insists on those.
    """
    verdicts = [examine(abi) for abi in ABIS]
    layers = sandbox_layers()
    if as_json:
        output.write_json(
            {
                "host": runner.host_abi(),
                "abis": [verdict.as_dict() for verdict in verdicts],
                "sandbox": [layer.as_dict() for layer in layers],
            }
        )
    else:
        _show(verdicts)
        _show_sandbox(layers)
    own = (verdict for verdict in verdicts if verdict.abi == runner.host_abi())
    return 0 if any(verdict.error is None for verdict in own) else NO


def examine(abi: str) -> Verdict:
    """Start a worker for ``abi``, and end it."""
    start = time.perf_counter()
    try:
        found = runner.find(abi)
        probe = Start(found, arena=PROBE_ARENA, spin_ns=0, timeout_ns=0, one_thread=False)
        Worker(probe).close()
    except FerryError as error:
        return Verdict(abi, error=error)
    return Verdict(abi, found.through, (time.perf_counter() - start) * 1e3)


def sandbox_layers() -> tuple[Layer, ...]:
    """The layers that a sandbox for the profile "pure" would have here."""
    pure = read_profile("pure")
    lacking = {}
    host = AUDIT_ARCH.get(runner.host_cpu(), 0)
    try:
        compile_filter(pure, host, host)
    except SandboxUnavailable as error:
        lacking["seccomp"] = f"{error.happened}; {error.hint}"
    return layers_of(pure, kernel(), lacking)


def _show_sandbox(layers: Iterable[Layer]) -> None:
    output.line()
    output.table(
        ["layers of a sandbox", "in force", "stops"],
        [
            (
                layer.name,
                "yes" if layer.in_force else "no",
                layer.stops if layer.in_force else f"(nothing: {layer.why})",
            )
            for layer in layers
        ],
        styles=["bold"],
    )


def _through(verdict: Verdict) -> str:
    also = "; or in-process, without a worker" if "in-process" in verdict.isolation else ""
    return verdict.through + also


def _show(verdicts: list[Verdict]) -> None:
    output.table(
        ["libraries for", "hosted", "through", "starts and ends in"],
        [
            (
                v.abi,
                "no" if v.error else "yes",
                v.error.happened if v.error else _through(v),
                "" if v.error else f"{v.milliseconds:.0f} ms",
            )
            for v in verdicts
        ],
        styles=["bold"],
    )
    missing = [(verdict.abi, verdict.error.hint) for verdict in verdicts if verdict.error]
    if missing:
        output.line()
        output.line("To add what is missing:")
        output.fields([(f"  {abi}", hint) for abi, hint in missing])
