"""The process that a DLL is loaded into: its CPU, its folders, its order of search."""

from __future__ import annotations

import ntpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from libferry.loader.model import Options
from libferry.loader.windows.names import is_absolute
from libferry.loader.windows.rules import (
    ALTERED,
    ORDERS,
    PLACES,
    PROCESSES,
    SAFE_SEARCH_OFF,
    SEARCH_FLAGS,
    SET_DEFAULT_DIRECTORIES,
    SET_DLL_DIRECTORY,
)
from libferry.target.model import Target
from libferry.target.system import System

WINDOWS = r"C:\Windows"
BITS = {"i386": 32, "arm": 32}
# What WOW64 leaves alone: winprog64/file-system-redirector
NOT_REDIRECTED = ("catroot", "catroot2", "driverstore", r"drivers\etc", "logfiles", "spool")


@dataclass(frozen=True)
class Search:
    """Where one call of LoadLibrary looks, for the DLL and for all that it needs.

    Attributes:
        flags: the ``LOAD_*`` flags of the call.
        load_directory: of the DLL that is loaded by its full path, or "".
    """

    flags: tuple[str, ...] = ()
    load_directory: str = ""


class Process:
    """What is the same for all that is loaded.

    Args:
        program: the path of the program, or of a DLL whose folder stands for it.
        cpu: of the process.
    """

    def __init__(self, system: System, options: Options, program: str, cpu: str) -> None:
        self.system = system
        self.target: Target = system.target
        self.options = options
        self.cpu = cpu
        self.application = ntpath.dirname(program)
        self.wow64 = BITS.get(cpu, 64) == 32 and system.is_directory(rf"{WINDOWS}\SysWOW64")
        # 32-bit targets of a Windows that has no 32-bit edition are WOW64 as well
        self.system_folder = rf"{WINDOWS}\{'SysWOW64' if self.wow64 else 'System32'}"
        self.environment: Mapping[str, str] = {
            name.upper(): value for name, value in options.environment.items()
        }
        self._process_flags = self._setting(SET_DEFAULT_DIRECTORIES).split("|")

    def _setting(self, name: str) -> str:
        found = (flag for flag in self.options.flags if flag.startswith(name))
        return next(found, name)[len(name) :]

    def redirect(self, path: str) -> str:
        """The path that a 32-bit program gets for one of the system's folder."""
        if not self.wow64:
            return path
        for from_, to in ((r"\System32", r"\SysWOW64"), (r"\Sysnative", r"\System32")):
            prefix = f"{WINDOWS}{from_}\\".lower()
            if path.lower().startswith(prefix):
                rest = path[len(prefix) :]
                if not rest.lower().startswith(NOT_REDIRECTED):
                    return rf"{WINDOWS}{to}\{rest}"
        return path

    def folders(self, search: Search) -> Iterator[tuple[str, str]]:
        """The folders that are searched, in order, and what each is."""
        for place in self._places(search):
            for folder in self._folders_of(place, search):
                yield folder, PLACES[place]

    def order(self, search: Search) -> str:
        """Which of ``rules.ORDERS`` holds."""
        if self._search_flags(search):
            return "LOAD_LIBRARY_SEARCH"
        if self._setting(SET_DLL_DIRECTORY):
            return "SetDllDirectory"
        return SAFE_SEARCH_OFF if SAFE_SEARCH_OFF in self.options.flags else "standard"

    def _search_flags(self, search: Search) -> tuple[str, ...]:
        """The flags of the call, or else of the process (SetDefaultDllDirectories)."""
        own = tuple(flag for flag in search.flags if flag in SEARCH_FLAGS)
        if own or ALTERED in search.flags:
            return own
        return tuple(flag for flag in self._process_flags if flag in SEARCH_FLAGS)

    def _places(self, search: Search) -> Iterator[str]:
        flags = self._search_flags(search)
        places = ORDERS[self.order(search)].places
        if flags:
            allowed = {place for flag in flags for place in SEARCH_FLAGS[flag][1]}
            yield from (place for place in places if place in allowed)
            return
        altered = ALTERED in search.flags and search.load_directory
        for place in places:
            yield "load" if altered and place == "application" else place

    def _folders_of(self, place: str, search: Search) -> tuple[str, ...]:
        if place == "user":
            return tuple(reversed(self.options.directories))
        one = {
            "application": self.application,
            "load": search.load_directory,
            "set": self._setting(SET_DLL_DIRECTORY),
            "system": self.system_folder,
            "system16": rf"{WINDOWS}\System",
            "windows": WINDOWS,
            "current": self.options.working_directory,
        }
        one["path"] = self.environment.get("PATH", "")
        folders = (folder.strip('"') for folder in one[place].split(";"))
        return tuple(filter(is_absolute, folders))

    @property
    def known_dlls(self) -> frozenset[str]:
        """The names that are always taken from the system's folder."""
        return frozenset(cast(tuple[str, ...], self.target.facts.get("known_dlls", ())))

    def runs(self, cpu: str) -> bool:
        """Whether the target has processes of that CPU at all."""
        rows = PROCESSES.get(self.target.cpu, ())
        return any(one == cpu and self.target.version >= since for one, since in rows)
