"""Change a library, and prove that nothing else changed.

The work is done on a copy beside the file. It takes the file's place when it has been
compared with the original in everything that a loader sees, and when the library's own
loader, where this machine has one, says no more against it than it did before. Until then
the original is not touched.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from libferry.binary import Binary, read
from libferry.edit.changes import Changes
from libferry.edit.elf import comparing, exports, loaders, names, stack, stripping, versions
from libferry.edit.elf.facts import facts
from libferry.edit.elf.file import ElfFile
from libferry.edit.growing import apply as grow
from libferry.errors import ArgumentValueError, BadBinary, EditFailed, FerryError, Signed

LARGEST = 1 << 32  # bytes; it is read whole, and linkers stop at 2 GiB of code on most CPUs


@dataclass(frozen=True)
class Fixed:
    """What was done.

    Attributes:
        path: the changed file.
        backup: where the original is; None if there was no need for one.
        hidden: the exports that are hidden now.
        loader: which loader looked at it; None if there is none here for it.
        notes: what its user should know.
    """

    path: Path
    backup: Path | None
    hidden: tuple[str, ...] = ()
    loader: str | None = None
    notes: tuple[str, ...] = ()


def fix(
    path: str | os.PathLike[str],
    changes: Changes,
    *,
    output: str | os.PathLike[str] | None = None,
    backup: bool = True,
    resign: bool = False,
) -> Fixed:
    """Make the changes in a library or program.

    Args:
        path: the file.
        changes: what to change.
        output: where the changed one goes; None for the file's own place.
        backup: whether the original is kept as ``FILE.orig``.
        resign: whether a signature may be lost and made anew.

    Raises:
        LibraryNotFound, BadBinary: there is no such file, or it cannot be read.
        ArgumentValueError: there is nothing to do, or what is to be changed is not there.
        Signed: it is signed.
        EditorMissing: it has to grow, and patchelf is not installed.
        EditFailed: the changed file was not what was asked; nothing was replaced.
    """
    binary = read(path)
    tried = f"change {binary.path.name}"
    _check(binary, changes, tried, resign=resign)
    # a link stays one
    source = Path(os.path.realpath(binary.path))
    target = source if output is None else Path(output).absolute()
    _check_place(target, tried)
    if source.stat().st_size > LARGEST:
        raise EditFailed(
            tried,
            f"it is larger than {LARGEST >> 30} GiB",
            hint="build it again; it may have a hole: compare its size with du's",
        )
    try:
        with _copy(source, target) as copy:
            hidden = _edit(copy, binary, changes, tried)
            _compare(source, copy, changes, tried)
            loader, notes = _load(binary, source, copy, changes, tried)
            _take_owner_and_mode(copy, source, in_place=output is None)
            kept = _keep(source) if output is None and backup else None
            os.replace(copy, target)
    except OSError as error:
        if isinstance(error, FerryError):
            raise
        raise EditFailed(
            tried,
            f"cannot write {target}: {error.strerror}",
            hint="make room there, or give another place with -o",
        ) from None
    return Fixed(target, kept, hidden, loader, notes)


def _check_place(target: Path, tried: str) -> None:
    """Refuse a device: what takes its place would no longer be one, ``/dev/null`` least of all."""
    if os.path.lexists(target) and not (target.is_file() or target.is_symlink()):
        raise ArgumentValueError(
            tried, f"{target} is no file that could be replaced", hint="give a file's path with -o"
        )


def _take_owner_and_mode(copy: Path, source: Path, *, in_place: bool) -> None:
    """As the original has them; a new owner takes set-user-ID away, so the mode comes last."""
    status = source.stat()
    if in_place:
        with suppress(PermissionError):  # only root gives files away
            os.chown(copy, status.st_uid, status.st_gid)
    made, mode = copy.stat(), status.st_mode & 0o7777
    if (made.st_uid, made.st_gid) != (status.st_uid, status.st_gid):
        mode &= 0o1777  # set-user-ID would mean somebody else
    os.chmod(copy, mode)


def _check(binary: Binary, changes: Changes, tried: str, *, resign: bool) -> None:
    if not changes:
        raise ArgumentValueError(
            tried, "no change was asked for", hint="see libferry fix --help for what there is"
        )
    if binary.signature is not None and not resign:
        raise Signed(
            tried,
            f"it is signed ({binary.signature.kind}), and the signature would no longer hold",
            hint="change it before it is signed, or say --resign",
        )
    if binary.format != "elf":
        raise BadBinary(
            tried,
            f"it is a {binary.format} file, and only ELF files can be changed so far",
            hint="build it again with the linker's own options",
        )
    if binary.kind == "object":
        raise BadBinary(tried, "it is an object file, which no loader reads", hint="link it first")
    _check_names(binary, changes, tried)


def _check_names(binary: Binary, changes: Changes, tried: str) -> None:
    """Refuse what is not there: a misspelled name would otherwise do nothing and say so nowhere."""
    wanted = [*changes.remove_needed, *(old for old, _ in changes.replace_needed)]
    for name in wanted:
        if name not in binary.needed:
            raise ArgumentValueError(
                tried, f"it does not need {name}", hint=f"it needs {', '.join(binary.needed)}"
            )
    if changes.rename:
        _check_renames(binary, changes, tried)
    names = [name for pair in (*changes.replace_needed, *changes.rename) for name in pair]
    names += [*changes.add_needed, *changes.remove_needed]
    names += [name for name in (changes.soname, changes.interpreter) if name is not None]
    for name in names:
        if not name or "\0" in name or "\n" in name:
            raise ArgumentValueError(tried, f"{name!r} is no name", hint="give a name")
    if changes.search_path is not None and "\0" in changes.search_path:
        raise ArgumentValueError(tried, "a path has no NUL", hint="give folders")
    if changes.interpreter is not None and binary.interpreter is None:
        raise ArgumentValueError(
            tried, "it has no interpreter: it is a library", hint="only programs have one"
        )
    if changes.search_path is not None and changes.remove_search_path:
        raise ArgumentValueError(
            tried, "a search path is to be set and removed", hint="say one of both"
        )


def _check_renames(binary: Binary, changes: Changes, tried: str) -> None:
    there = {row[0] for row in facts(binary.path).symbols}
    for old, new in changes.rename:
        if old not in there:
            raise ArgumentValueError(
                tried, f"it has no symbol {old}", hint="see: libferry inspect --exports"
            )
        if new in there or any(char.isspace() for char in new):
            raise ArgumentValueError(
                tried, f"it cannot be renamed to {new!r}", hint="give a name that nothing has"
            )


@contextmanager
def _copy(source: Path, target: Path) -> Iterator[Path]:
    """A copy beside the source, so that $ORIGIN means the same; or beside the target."""
    made = None
    try:
        for folder in dict.fromkeys((target.parent, source.parent)):
            try:
                fd, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=folder)
            except OSError:
                continue
            os.close(fd)
            made = Path(name)
            break
        if made is None:
            raise EditFailed(
                f"change {source.name}",
                f"no file can be made in {target.parent}",
                hint="give another place with -o",
            )
        shutil.copyfile(source, made)
        shutil.copystat(source, made)
        os.chmod(made, source.stat().st_mode & 0o7777 | 0o200)
        yield made
    finally:
        if made is not None:
            made.unlink(missing_ok=True)


def _keep(source: Path) -> Path:
    """Keep the original under a name that nothing has yet."""
    number = 1
    while True:
        kept = source.with_name(f"{source.name}.orig{f'.{number}' if number > 1 else ''}")
        try:
            os.link(source, kept)
        except FileExistsError:
            number += 1
        except OSError:  # a file system without links
            shutil.copy2(source, kept)
            return kept
        else:
            return kept


# ---- the edit ----


def _edit(copy: Path, binary: Binary, changes: Changes, tried: str) -> tuple[str, ...]:
    mode = copy.stat().st_mode
    file = ElfFile(copy)
    left = names.apply(file, changes)
    if left.clear_execstack and stack.clear_execstack(file):
        left = replace(left, clear_execstack=False)
    file.save()
    grow(copy, left)
    file = ElfFile(copy)
    for library, version in changes.weaken_versions:
        _asked(versions.weaken(file, library, version), binary, library, version, tried)
    for library, version in changes.drop_versions:
        _asked(versions.drop(file, library, version), binary, library, version, tried)
    hidden: tuple[str, ...] = ()
    if changes.hide or changes.keep is not None:
        hidden = exports.hide(file, changes)
        if not hidden and changes.hide:
            raise ArgumentValueError(
                tried,
                f"it exports nothing like {', '.join(changes.hide)}",
                hint="see what it exports: libferry inspect --exports",
            )
    if changes.strip:
        stripping.strip(file)
    file.save()
    os.chmod(copy, mode)
    return hidden


def _asked(done: bool, binary: Binary, library: str, version: str, tried: str) -> None:
    if not done:
        raise ArgumentValueError(
            tried,
            f"it asks for no version {version} of {library}",
            hint=f"see what it asks for: readelf -V {binary.path.name}",
        )


def _compare(source: Path, copy: Path, changes: Changes, tried: str) -> None:
    try:
        read(copy)
        wanted = comparing.expected(facts(source), changes)
        found = comparing.differences(wanted, facts(copy))
    except BadBinary as error:
        found = [error.happened]
    if found:
        raise EditFailed(
            tried,
            f"the changed file is not as it should be ({'; '.join(found[:3])}), and was thrown "
            "away",
            hint="build the library again with the linker's own options",
        )


def _load(
    binary: Binary, source: Path, copy: Path, changes: Changes, tried: str
) -> tuple[str | None, tuple[str, ...]]:
    """Ask the loader before and after."""
    before = loaders.ask(binary, source)
    if before is None:
        return None, ("this machine has no loader for it: it was compared, and not loaded",)
    # where its libraries were found before: only the file is in question here
    after = loaders.ask(binary, copy, before.folders)
    if after is None:
        return None, ()
    new = after.complaints - before.complaints
    asked = (changes.remove_needed, changes.replace_needed, changes.rename)
    if any((*asked, changes.weaken_versions)):
        new = frozenset(line for line in new if not list(loaders.undefined([line])))
    if new or (after.ended < 0 <= before.ended) or (after.ended and not before.ended):
        said = "; ".join(sorted(new)[:2]) or f"ended with {after.ended}"
        raise EditFailed(
            tried,
            f"{after.loader} does not load the changed file ({said}), and it was thrown away",
            hint=f"what the loader says of the original: libferry check {binary.path.name}",
        )
    notes = []
    if before.complaints:
        notes.append(f"{before.loader} did not load the original either: {min(before.complaints)}")
    missing = sorted(set(loaders.undefined(after.complaints - before.complaints)))
    if missing:
        notes.append(f"no library has these symbols now: {', '.join(missing[:5])}")
    return after.loader, tuple(notes)
