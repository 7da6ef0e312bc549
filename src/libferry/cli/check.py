"""``libferry check``: will it load there, why not, and what else is wrong with it."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from libferry.cli import output
from libferry.cli.failure import NO, UNKNOWN, UsageError
from libferry.errors import LibraryNotFound

if TYPE_CHECKING:
    import typer

    from libferry.audit.asking import Question
    from libferry.audit.report import Report

FORMATS = ("text", "json", "sarif", "junit")

SHOWN_WHOLE = 8
"""Files that are reported one below the other; more are reported by what is wrong."""

_EXIT_CODES = {True: 0, False: NO, None: UNKNOWN}


def command(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE...",
            help="Libraries or programs, by path or the name of an installed one, such as "
            "libz.so.1; or what has some: a folder, a wheel, .deb, .rpm, zip or "
            "tar file, a container image, the root of a system.",
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            "-t",
            metavar="T",
            help="Where it shall run: this, a name of libferry target list, a TOML file; "
            "repeated for several.",
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
    form: Annotated[
        str,
        typer.Option("--format", metavar="FORMAT", help="text, json, sarif or junit."),
    ] = "text",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write a page with all that was found, too.")
    ] = None,
    jobs: Annotated[
        str | None, typer.Option(metavar="N", help="Processes; one a CPU without it.")
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Audit everything again, and keep nothing.")
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
    libferry check dist/*.whl --html report.html
    libferry check / --format sarif > libferry.sarif
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
    from libferry.audit.asking import question_of
    from libferry.audit.baseline import read_baseline
    from libferry.audit.baseline import write_baseline as write_down
    from libferry.audit.config import find_config, read_config

    form = "json" if as_json else form
    if form not in FORMATS:
        raise UsageError(
            "libferry check",
            f"there is no format {form}",
            hint=f"take one of {', '.join(FORMATS)}",
        )
    settings = read_config(Path(config)) if config else find_config(Path())
    targets: list[str | None] = list(target) if target else [None]
    questions = [
        question_of(
            settings,
            target=one,
            sysroot=sysroot,
            host=host,
            now=now,
            select=select,
            ignore=ignore,
            contract=contract,
            together=together,
            strict=strict,
        )
        for one in targets
    ]
    strict = questions[0].strict
    files = [_meant(file, sysroot) for file in files]
    plain = form == "text" and not html
    reports = _reports(files, questions, plain=plain, jobs=jobs, keep=not no_cache)
    if write_baseline:
        findings = [finding for report in reports for finding in report.findings]
        count = write_down(Path(write_baseline), findings)
        output.line(f"{write_baseline}: {count} findings are known from now on")
        return 0
    if known := baseline or settings.baseline:
        left = read_baseline(Path(known))
        reports = [left.without_known(report, strict=strict) for report in reports]
    if html:
        _write_page(Path(html), reports)
    _write(form, reports, notes=notes, tree=tree)
    answers = {report.answer for report in reports}
    return _EXIT_CODES[False if False in answers else None if None in answers else True]


def _meant(file: str, sysroot: str | None) -> str:
    """The path of a file; a bare name of nothing is told of as it was typed."""
    if "/" in file or os.path.exists(file):
        return file
    from libferry.cli.installed import path_of

    with suppress(LibraryNotFound):
        return path_of(file, Path(sysroot) if sysroot else None)
    return file


def _reports(
    files: list[str], questions: list[Question], *, plain: bool, jobs: str | None, keep: bool
) -> list[Report]:
    from libferry.audit.inputs import is_one_file

    if plain and len(questions) == 1 and len(files) <= SHOWN_WHOLE and all(map(is_one_file, files)):
        from libferry.audit.asking import check_files

        return [check_files(files, questions[0])]
    from libferry.audit.many import Run, check_inputs
    from libferry.cli.progress import shown

    if jobs is not None and not (jobs.isdecimal() and int(jobs)):
        raise UsageError("libferry check", f"{jobs} is no number of processes", hint="--jobs 2")
    # to be ended is to be interrupted: archives are unpacked, and there are other processes
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with shown("auditing") as progress:
        run = Run(int(jobs) if jobs else None, keep, progress)
        return check_inputs(files, questions, run)


def _write(form: str, reports: list[Report], *, notes: bool, tree: bool) -> None:
    if form == "text":
        if len(reports) == 1 and 0 < len(reports[0].files) <= SHOWN_WHOLE:
            from libferry.audit.text import lines

            written = lines(reports[0], notes=notes, tree=tree)
        else:
            from libferry.audit.reports import text

            written = text.lines(reports, notes=notes)
        for line, style in written:
            # a library's name may have line ends, and what follows would be ours
            output.line(line.replace("\n", "\\n"), style)
    elif form == "json":
        from libferry.audit.reports import data

        output.write_json(data.as_dict(reports))
    elif form == "sarif":
        from libferry.audit.reports import sarif
        from libferry.audit.rules import RULES

        output.write_json(sarif.as_dict(reports, RULES))
    else:
        from libferry.audit.reports import junit

        output.write(junit.text(reports))


def _write_page(path: Path, reports: list[Report]) -> None:
    from libferry.audit.reports import page
    from libferry.audit.rules import RULES

    try:
        path.write_text(page.text(reports, RULES), encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"write {path}", error.strerror or str(error), hint="give another path to --html"
        ) from None


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
