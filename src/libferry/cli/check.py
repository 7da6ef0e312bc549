"""``libferry check``: will it load there, why not, and what else is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from libferry.cli import output
from libferry.cli.commands import Plain
from libferry.cli.failure import NO, UNKNOWN, UsageError

PARSER = {"cls": Plain}

_EXIT_CODES = {True: 0, False: NO, None: UNKNOWN}


def command(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="FILE...", help="Libraries or programs.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            "-t",
            metavar="T",
            help="Where it shall run: this, a name of libferry target list, a TOML file.",
        ),
    ] = None,
    sysroot: Annotated[
        str | None, typer.Option(metavar="DIR", help="The root folder of that system.")
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(metavar="PROGRAM", help="The program that loads it, such as python3."),
    ] = None,
    now: Annotated[
        bool, typer.Option("--now", help="Bind all functions at once (RTLD_NOW).")
    ] = False,
    contract: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A header or contract with all that it is to export."),
    ] = None,
    together: Annotated[
        bool, typer.Option("--together", help="The files are loaded into the same process.")
    ] = False,
    select: Annotated[
        list[str] | None,
        typer.Option(metavar="RULES", help="Ask only these rules or groups; a,b or repeated."),
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="RULES", help="Ask all but these.")
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Settings; otherwise the nearest libferry.toml, or pyproject.toml with "
            "[tool.libferry.check].",
        ),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="FILE", help="Leave out the findings in there.")
    ] = None,
    write_baseline: Annotated[
        str | None,
        typer.Option("--write-baseline", metavar="FILE", help="Write down all findings as known."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A warning is a no, too.")] = False,
    tree: Annotated[
        bool, typer.Option("--tree", help="Show what is loaded, from where and why.")
    ] = False,
    notes: Annotated[
        bool, typer.Option("--notes", help="Show what is only worth knowing.")
    ] = False,
    rules: Annotated[bool, typer.Option("--rules", help="List the rules.")] = False,
    explain: Annotated[str | None, typer.Option(metavar="RULE", help="Explain one rule.")] = None,
) -> int:
    """Say whether a library loads on a system, why not, and what to do.

    \b
    libferry check ./libnotice.so
    libferry check ./libnotice.so --target kylin-v10-server-arm64
    libferry check ./_plugin.so --host python3 --tree
    libferry check build/*.so --together --select load,symbols
    libferry check --explain missing-version

    Nothing is loaded or run, and the system need not be here: its loader's rules are
    followed, over what that system has. Without --target it is this machine, or for a DLL
    or dylib a plain Windows or macOS.

    Exit codes: 0, yes; 1, no; 2, it could not be found out.
    """
    if rules or explain:
        _show_rules(explain)
        return 0
    if not files:
        raise UsageError(
            "libferry check", "no file was given", hint="give a library: libferry check FILE"
        )
    from libferry.audit.asking import check_files, question_of
    from libferry.audit.baseline import read_baseline
    from libferry.audit.baseline import write_baseline as write_down
    from libferry.audit.config import find_config, read_config
    from libferry.audit.text import lines

    settings = read_config(Path(config)) if config else find_config(Path())
    question = question_of(
        settings,
        target=target,
        sysroot=sysroot,
        host=host,
        now=now,
        select=select,
        ignore=ignore,
        contract=contract,
        together=together,
        strict=strict,
    )
    report = check_files(files, question)
    if write_baseline:
        count = write_down(Path(write_baseline), report.findings)
        output.line(f"{write_baseline}: {count} findings are known from now on")
        return 0
    if known := baseline or settings.baseline:
        report = read_baseline(Path(known)).without_known(report, strict=question.strict)
    for text, style in lines(report, notes=notes, tree=tree):
        output.line(text, style)
    return _EXIT_CODES[report.answer]


def _show_rules(name: str | None) -> None:
    from libferry.audit.catalogue import explained, rule
    from libferry.audit.rules import RULES

    if name:
        output.write(explained(rule(name)))
        return
    output.table(
        ("rule", "group", "severity", "what"),
        [(one.id, one.group, one.severity, one.title) for one in RULES.values()],
        ("bold",),
    )
