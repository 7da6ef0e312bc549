"""From what a user gave to a report for each target.

Each input is opened once for all targets. What is kept from the last run is looked at
first; for an archive that is done before it is unpacked, since all that is in it is known
by its digest. What is left is divided among processes in runs of neighbours: files of one
folder need the same libraries, which one process then reads once.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing import active_children, get_context
from pathlib import Path

from libferry.audit.asking import Question, report_of
from libferry.audit.inputs import Item, Tree, is_one_file, opened
from libferry.audit.inputs.opening import archive_digest
from libferry.audit.inputs.wheel import target_of
from libferry.audit.many.asked import Answers, Audit
from libferry.audit.many.kept import Keeping, Kept, folder, key_of
from libferry.audit.report import FileReport, Report
from libferry.errors import AuditStopped, FerryError

FEW = 16
"""Files that one process has audited before another one has started."""

CHUNK = 64


@dataclass(frozen=True)
class Run:
    """How a run is done.

    Attributes:
        jobs: processes; None for one a CPU.
        keep: whether answers are kept for the next run, and taken from the last.
        progress: is told how many files are done, of how many.
    """

    jobs: int | None = None
    keep: bool = True
    progress: Callable[[int, int], None] | None = None


def check_inputs(
    paths: Sequence[str | os.PathLike[str]], questions: Sequence[Question], run: Run | None = None
) -> list[Report]:
    """Audit all native files of some inputs: a report for each question.

    A file or an input that cannot be read is in the report, too. Without a target, a wheel
    is checked for the system that its name names, and the root of a system for itself.

    Args:
        paths: files, folders, packages, archives, images, root file systems.
        questions: one for each target.
        run: how it is done.
    """
    run = run or Run()
    found: list[list[FileReport]] = [[] for _ in questions]
    single = [path for path in paths if is_one_file(path)]
    # single files are taken to the target together
    groups: list[list[str | os.PathLike[str]]] = [single] if single else []
    groups += ([path] for path in paths if path not in single)
    for group in groups:
        for files, reports in zip(found, _input(group, questions, run), strict=True):
            files.extend(reports)
    return [report_of(files) for files in found]


def _input(
    paths: list[str | os.PathLike[str]], questions: Sequence[Question], run: Run
) -> list[list[FileReport]]:
    """The reports of one input, or of single files, for each question."""
    try:
        digest = archive_digest(paths[0]) if run.keep and len(paths) == 1 else ""
        if digest:
            kept = [_kept_whole(paths[0], digest, question) for question in questions]
            if None not in kept:
                return [reports or [] for reports in kept]
        with ExitStack() as stack:
            trees = [stack.enter_context(opened(path)) for path in paths]
            tree = trees[0]
            if len(trees) > 1:
                tree = replace(tree, items=tuple(item for one in trees for item in one.items))
            return [_audit(tree, question, run) for question in questions]
    except FerryError as error:
        report = FileReport(
            os.fspath(paths[0]), "", None, f"unknown: {error}", error=error.as_dict()
        )
        return [[replace(report, target=question.target or "")] for question in questions]


def _meant(question: Question, tree: Tree) -> Question:
    """What is asked of a tree, where the user left that open."""
    if question.target is not None or question.sysroot is not None:
        return question
    if tree.whole:
        return replace(question, sysroot=str(tree.root))
    return replace(question, target=tree.target)


def _place(question: Question, shown: str, what: str) -> Path:
    return folder() / f"{key_of(question, f'{shown} {what}')}.json"


def _kept_whole(
    path: str | os.PathLike[str], digest: str, question: Question
) -> list[FileReport] | None:
    """What is kept of an archive, if that is all of it and still counts."""
    shown = os.fspath(path)
    kept = Kept(_place(question, shown, digest))
    if kept.total < 0:
        return None
    # as it is without the archive's own files, on which nothing of this rests
    empty = Tree("file", shown, Path("/"), (), target=target_of(Path(path).name))
    audit = Audit(_meant(question, empty), empty, keep=False)
    valid = kept.valid(audit.system)
    return [valid[file] for file in sorted(valid)] if len(valid) == kept.total else None


def _audit(tree: Tree, question: Question, run: Run) -> list[FileReport]:
    """One tree for one question."""
    meant = _meant(question, tree)
    items, found = list(tree.items), dict[str, FileReport]()
    keep = run.keep and (bool(tree.content) or len(items) >= FEW)
    keeping = None
    if keep:
        system_of = Audit(meant, tree, keep=False).system
        place = _place(question, tree.shown, tree.content or str(tree.root))
        kept, keeping = Kept(place), Keeping(place, system_of)
        if not tree.content:
            found = kept.valid(system_of)
            items = [item for item in items if item.shown not in found]
            if items:
                keeping.adopt(kept, found)
    if run.progress:
        run.progress(len(tree.items) - len(items), len(tree.items))
    for answers in _answers(meant, tree, items, run, keep=keep):
        found.update((report.file, report) for report in answers.whole())
        if keeping:
            keeping.add(answers)
        if run.progress:
            run.progress(len(found), len(tree.items))
    if keeping and items:
        keeping.write(len(tree.items))
    return [found[item.shown] for item in tree.items]


def _answers(
    question: Question, tree: Tree, items: list[Item], run: Run, *, keep: bool
) -> Iterator[Answers]:
    jobs = min(run.jobs or len(os.sched_getaffinity(0)), -(-len(items) // FEW))
    if jobs <= 1:
        audit = Audit(question, tree, keep=keep)
        for start in range(0, len(items), CHUNK):
            yield audit.ask(items[start : start + CHUNK])
        return
    size = max(1, min(CHUNK, len(items) // (jobs * 4)))
    chunks = [items[start : start + size] for start in range(0, len(items), size)]
    # what is in a process that was forked is there at once; there are no threads yet
    context = get_context("fork")
    others = set(active_children())
    with ProcessPoolExecutor(jobs, context, _start, (question, tree, keep)) as pool:
        try:
            waiting = {pool.submit(_ask, chunk): chunk for chunk in chunks}
            for done in as_completed(waiting):
                yield done.result()
        except BrokenProcessPool as error:
            raise AuditStopped(
                f"check {tree.shown}",
                "a process that audits ended, perhaps for want of memory",
                hint="with fewer of them, less memory is needed: --jobs 1",
            ) from error
        except BaseException:
            # the pool itself would first see all of the work done
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(active_children()) - others:
                process.terminate()
            raise


_audit_here: Audit


def _start(question: Question, tree: Tree, keep: bool) -> None:
    global _audit_here
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends the others
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # in this way
    # Most of what is read stays. To look through it for circles as often as Python does by
    # itself takes a tenth of the time.
    gc.freeze()
    gc.set_threshold(20_000)
    _audit_here = Audit(question, tree, keep=keep)


def _ask(items: list[Item]) -> Answers:
    return _audit_here.ask(items)
