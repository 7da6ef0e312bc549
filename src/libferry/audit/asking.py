"""``libferry.check``: from the words of a user to a report."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from libferry.audit.config import Config, words
from libferry.audit.report import FileReport, Report
from libferry.audit.running import audit_binary
from libferry.audit.selection import Selection
from libferry.audit.subject import Settings
from libferry.binary.recognise import read
from libferry.errors import FerryError, LibraryNotFound
from libferry.loader.model import Options
from libferry.target import System, list_targets, system_for

# What the loader of this machine takes from the environment (ld.so(8)).
_OF_THE_LOADER = ("LD_LIBRARY_PATH", "LD_PRELOAD", "LD_BIND_NOW", "GLIBC_TUNABLES")

# A file of one of these runs on no other system: (format, CPU) -> the target that is meant.
_PLAIN = {
    ("pe", "x86_64"): "windows-10-x64",
    ("pe", "i386"): "windows-10-x86",
    ("pe", "aarch64"): "windows-11-arm64",
    ("macho", "x86_64"): "macos-14-x64",
    ("macho", "aarch64"): "macos-14-arm64",
}


@dataclass(frozen=True)
class Question:
    """What a user asks of one file or of many; picklable.

    Attributes:
        target: ``this``, a name of ``libferry target list``, or the path of a TOML file; None
            for this machine, or the plain Windows or macOS that a file is for.
        sysroot: a folder with the root of that system.
        host: the program that loads it, whose own libraries and exports count.
        environment: what the loader is told; None for, on this machine, what this process
            was told.
        now: whether all functions are bound at once (``RTLD_NOW``).
        selection: the rules that are asked.
        exports: the names that a library is to export; None for any.
        together: whether all files are loaded into the same process.
        strict: whether a warning is a reason to say no.
    """

    target: str | None = None
    sysroot: str | None = None
    host: str | None = None
    environment: Mapping[str, str] | None = None
    now: bool = False
    selection: Selection = field(default_factory=Selection)
    exports: frozenset[str] | None = None
    together: bool = False
    strict: bool = False


def check(
    path: str | os.PathLike[str],
    target: str | None = None,
    *,
    sysroot: str | os.PathLike[str] | None = None,
    host: str | None = None,
    environment: Mapping[str, str] | None = None,
    now: bool = False,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    contract: str | os.PathLike[str] | None = None,
    strict: bool = False,
) -> Report:
    """Say whether a library loads on a system, why not, and what else is wrong with it.

    Nothing is loaded or run. ``report.answer`` is True, False, or None if it could not be
    found out; ``report.resolution`` has every place that the loader looks at.

    Args:
        path: the library or program.
        target: ``this``, a name of ``libferry target list``, or the path of a TOML file; by
            default this machine, or the plain Windows or macOS that the file is for.
        sysroot: a folder with the root of that system.
        host: the program that loads it, whose own libraries and exports count.
        environment: what the loader is told; by default, on this machine, what this process
            was told.
        now: whether all functions are bound at once (``RTLD_NOW``).
        select, ignore: rules and groups of rules to ask, or not to ask.
        contract: a header or contract file with the names that it is to export.
        strict: whether a warning is a reason to say no.

    Raises:
        LibraryNotFound: there is no such file, or no such target.
        BadBinary: the file is no library, or damaged.
        SettingsError: there is no such rule.
        DeclarationError: the contract cannot be read.
    """
    question = Question(
        target,
        os.fspath(sysroot) if sysroot is not None else None,
        host,
        environment,
        now,
        Selection(words(select, "select rules"), words(ignore, "ignore rules")),
        exports_of(contract) if contract is not None else None,
        strict=strict,
    )
    return report_of([Asker(question, [path]).ask(path)])


def question_of(
    config: Config,
    *,
    target: str | None = None,
    sysroot: str | None = None,
    host: str | None = None,
    now: bool = False,
    select: Iterable[str] | None = None,
    ignore: Iterable[str] | None = None,
    contract: str | os.PathLike[str] | None = None,
    together: bool = False,
    strict: bool = False,
) -> Question:
    """What is asked by a command line, and where that is silent, by the settings.

    Raises:
        SettingsError: there is no such rule.
        DeclarationError: the contract cannot be read.
    """
    root = sysroot or (None if target else config.sysroot)
    contract = contract or config.contract
    chosen = config.selection
    return Question(
        target=target or (None if sysroot else config.target),
        sysroot=os.fspath(root) if root else None,
        host=host or config.host,
        now=now,
        selection=Selection(
            words(select, "--select") if select else chosen.select,
            words(ignore, "--ignore") if ignore else chosen.ignore,
            chosen.per_file,
        ),
        exports=exports_of(contract) if contract else None,
        together=together,
        strict=strict or config.strict,
    )


def check_files(paths: Sequence[str | os.PathLike[str]], question: Question) -> Report:
    """The same for many files. One that cannot be read is a report, too."""
    asker = Asker(question, paths)
    return report_of(map(asker.report, paths))


class Asker:
    """Asks one question of many files, of which those for one CPU share a system.

    Args:
        question: what is asked.
        paths: the files that are asked about.
        carried: what is taken to the target, if that is more than the files.
        directories: folders that a program gives to Windows' ``AddDllDirectory``.
        flags: with which it calls ``LoadLibraryEx``.
        around: makes of each system the one that is asked.
    """

    def __init__(
        self,
        question: Question,
        paths: Sequence[str | os.PathLike[str]],
        *,
        carried: Sequence[str | os.PathLike[str]] = (),
        directories: tuple[str, ...] = (),
        flags: tuple[str, ...] = (),
        around: Callable[[System], System] | None = None,
    ) -> None:
        self.question = question
        self._paths = [os.fspath(path) for path in paths]
        self._carried = carried or self._paths
        self._directories = directories
        self._flags = flags
        self._around = around
        self._systems: dict[tuple[str, str], System] = {}

    def report(self, path: str | os.PathLike[str], file: str | None = None) -> FileReport:
        """What is to be said of a file, also if it cannot be read."""
        try:
            return self.ask(path, file)
        except FerryError as error:
            name = file or os.fspath(path)
            return FileReport(
                name, self.question.target or "", None, f"unknown: {error}", error=error.as_dict()
            )

    def ask(self, path: str | os.PathLike[str], file: str | None = None) -> FileReport:
        """What is to be said of a file.

        Args:
            path: the file.
            file: what to call it, if it is not known by its path.

        Raises:
            FerryError: the file, the target or the host cannot be read.
        """
        binary = read(path)
        system = self.system(binary.format, binary.cpu, binary.path.name)
        return audit_binary(binary, system, self._settings(system), file or os.fspath(path))

    def system(self, format: str, cpu: str, name: str) -> System:
        """The system that is asked about a file of this format and CPU.

        Raises:
            LibraryNotFound: there is none.
        """
        key = format, cpu
        if key not in self._systems:
            question = self.question
            system = system_of(format, cpu, name, question.target, question.sysroot, self._carried)
            self._systems[key] = self._around(system) if self._around else system
        return self._systems[key]

    def _settings(self, system: System) -> Settings:
        question = self.question
        here = system.target.name == "this" and question.sysroot is None
        environment = question.environment
        if environment is None:
            environment = loader_environment() if here else {}
        return Settings(
            Options(
                host=program(question.host, system) if question.host else None,
                environment=environment,
                working_directory=os.getcwd() if here else "/",
                now=question.now,
                flags=self._flags,
                directories=tuple(system.path_of(Path(folder)) for folder in self._directories),
            ),
            question.selection,
            question.exports,
            tuple(self._paths) if question.together else (),
            question.strict,
        )


def report_of(files: Iterable[FileReport]) -> Report:
    """Many reports as one."""
    files = tuple(files)
    names = {file.target for file in files}
    return Report(names.pop() if len(names) == 1 else "", files)


def system_of(
    format: str,
    cpu: str,
    name: str,
    target: str | None,
    sysroot: str | None,
    carried: Iterable[str | os.PathLike[str]],
) -> System:
    """The system that is meant for a file.

    Raises:
        LibraryNotFound: there is no such target; or none was named, and this machine has no
            loader for the file.
    """
    if target is not None and target != "this":
        return system_for(target, sysroot=sysroot, carried=carried)
    if sysroot is not None or (target is None and format != "elf"):
        plain = None if sysroot else _PLAIN.get((format, cpu))
        return system_for(plain, sysroot=sysroot, cpu=cpu, carried=carried)
    try:
        return system_for("this", cpu=cpu, carried=carried)
    except LibraryNotFound:
        near = " or ".join(f"--target {one}" for one in _likely(cpu))
        raise LibraryNotFound(
            f"check {name}",
            f"it is for {cpu}, and this machine has no loader for that",
            hint=f"say where it shall run: {near}, or another of libferry target list"
            if near
            else f"no system for {cpu} is known: give the root folder of one: --sysroot DIR",
        ) from None


def _likely(cpu: str) -> Iterator[str]:
    """A target or two with this CPU: the newest of a system that many have."""
    endings = tuple(f"-{ending}" for ending in _SUFFIXES.get(cpu, ()))
    for system in ("debian", "kylin", "alpine"):
        fit = [t for t in list_targets() if t.startswith(system) and t.endswith(endings)]
        if fit:
            yield fit[-1]


# what the names of targets end with
_SUFFIXES: dict[str, tuple[str, ...]] = {
    "x86_64": ("amd64",),
    "i386": ("i386",),
    "aarch64": ("arm64",),
    "arm": ("armhf",),
}
_SUFFIXES |= {"riscv64": ("riscv64",), "loongarch64": ("loong64", "loong64-old-world")}


def loader_environment() -> dict[str, str]:
    """What this process was told that the loader heeds."""
    return {name: os.environ[name] for name in _OF_THE_LOADER if name in os.environ}


def program(name: str, system: System) -> str:
    """The target's path of a program that was given by name or path.

    Raises:
        LibraryNotFound: it has no such program.
    """
    if "/" in name:
        path = system.path_of(Path(name))
        if system.find(path) is not None:
            return path
        tried = path
    else:
        import shutil  # late: it imports what unpacks archives

        here = shutil.which(name) if system.target.name == "this" else None
        folders = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin")
        for path in ([here] if here else []) + [f"{folder}/{name}" for folder in folders]:
            if system.find(path) is not None:
                return path
        tried = ", ".join(folders)
    raise LibraryNotFound(
        f"find the program {name} on {system.target.name}",
        f"it is not there: {tried}",
        hint="give its path there; of a described target, only its libraries are known: "
        "--sysroot DIR",
    )


def exports_of(contract: str | os.PathLike[str]) -> frozenset[str]:
    """The names that a header or a contract promises.

    Raises:
        DeclarationError: it cannot be read.
    """
    from libferry.contract import read_contract, read_header

    path = Path(contract)
    # which ABI makes no difference to the names
    abi = "x86_64-sysv"
    header = read_contract(path).header(abi) if path.suffix == ".toml" else read_header(path, abi)
    return frozenset((*header.functions, *header.variables))
