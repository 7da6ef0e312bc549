"""From what somebody pasted to the entries that it may mean.

People paste three kinds of thing. A *number*: decimal, hexadecimal, or negative, since
languages without unsigned numbers print 0xC0000135 as -1073741515; the same Windows error
also goes as an HRESULT, 0x800700C1 for 193. A *name*, ``ENOEXEC``. Or a *line of output*,
with file names in it, and before it whatever their program puts there: a traceback's
"OSError:", the loader's "error while loading shared libraries:". So a message is searched
for in the text, and the entry that explains most of the text comes first.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from libferry.loader.glossary import errno
from libferry.loader.glossary.errno import Errno
from libferry.loader.glossary.reading import Entry, entries

LONGEST_TEXT = 4096  # characters; the rest of a long log says nothing more

_NUMBER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]{1,16}|\d{1,20})")
_FILE = "{file}: "
_FACILITY_WIN32 = 0x80070000  # winerror.h: HRESULT_FROM_WIN32
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_SPACE = re.compile(r"[ \t\r]+")
_PATH = r"(?:[A-Za-z]:(?=[\\/]))?[^\n:]+?"  # what stands for a {name}: Windows' paths have a colon
# what Chinese text may have either of: the translations mix them, and so do those who paste
_WIDTH = str.maketrans("：，；（）！“”‘’`", ":,;()!\"\"'''")


@dataclass(frozen=True)
class Match:
    """One meaning of what was asked.

    Attributes:
        entry: what explains it; None for an errno of which there is nothing more to say.
        errnos: the numbers that its name has, on each system; empty if it has none.
        text: what strerror says, or "".
        values: what stood in the place of the pattern's ``{name}``s.
        score: how many characters of what was asked are explained by it.
        span: where in what was asked; (0, 0) if all of it is a number or name.
    """

    entry: Entry | None
    errnos: tuple[Errno, ...] = ()
    text: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    score: int = 0
    span: tuple[int, int] = (0, 0)

    @property
    def commands(self) -> tuple[str, ...]:
        """What to run next, with the names from the message where it had them."""
        if self.entry is None:
            return ()
        return tuple(_filled(command, self.values) for command in self.entry.commands)


def explain(asked: str) -> tuple[Match, ...]:
    """What it may mean, the likeliest first; empty if nothing is known."""
    asked = asked.strip()[:LONGEST_TEXT]
    if _NUMBER.fullmatch(asked):
        return _of_number(int(asked, 0 if "x" in asked.lower() else 10))
    return _of_name(asked) or _of_text(asked)


def near(asked: str) -> tuple[str, ...]:
    """Names and messages that look like what was asked, the nearest first."""
    asked = asked.strip()[:LONGEST_TEXT]
    names = {name.lower(): name for name in _names()}
    found = [names[name] for name in difflib.get_close_matches(asked.lower(), names, 3, 0.6)]
    words = set(_plain(asked).lower().split())
    patterns = {pattern for entry in entries() for pattern in entry.patterns()}
    shared = [(len(words & _words_of(pattern)), pattern) for pattern in patterns]
    found += [pattern for count, pattern in sorted(shared, reverse=True)[:3] if count > 1]
    return tuple(found[:5])


@cache
def _words_of(pattern: str) -> frozenset[str]:
    return frozenset(_plain(_PLACEHOLDER.sub(" ", pattern)).lower().split())


def _names() -> Iterator[str]:
    for entry in entries():
        yield from entry.names
    yield from {row.name for row in errno.errnos()}


# ---- numbers and names ----


def _of_number(number: int) -> tuple[Match, ...]:
    forms = {number}
    if -(1 << 31) <= number < 0:
        forms = {number + (1 << 32), -number}  # Linux system calls return -ENOEXEC
    forms |= {form & 0xFFFF for form in forms if form & ~0xFFFF == _FACILITY_WIN32}
    found = [Match(entry) for entry in entries() if forms & set(entry.numbers)]
    names: dict[str, list[Errno]] = {}
    for row in errno.errnos():
        if row.number in forms:
            names.setdefault(row.name, []).append(row)
    return (*found, *_errno_matches(names))


def _errno_matches(names: Mapping[str, Iterable[Errno]]) -> list[Match]:
    """One match a name; those of which there is more to say come first."""
    found = []
    for name, rows in names.items():
        text = errno.messages().get(name, {}).get("glibc", "")
        for entry in _about(name):
            found.append(Match(entry, tuple(rows), text))
    return sorted(found, key=lambda match: (match.entry is None, _systems(match)))


def _about(name: str) -> list[Entry | None]:
    """What is to say of an errno: None stands for nothing but its numbers."""
    return [entry for entry in entries() if entry.errno == name] or [None]


def _systems(match: Match) -> int:
    """Where in the list: Linux first, and what all CPUs have before what one has."""
    return min((row.os != "linux") * 2 + bool(row.cpus) for row in match.errnos)


def _of_name(asked: str) -> tuple[Match, ...]:
    wanted = asked.upper()
    found = [
        Match(entry)
        for entry in entries()
        if asked.lower() == entry.id or wanted in {name.upper() for name in entry.names}
    ]
    rows = [row for row in errno.errnos() if row.name == wanted]
    return (*found, *_errno_matches({wanted: rows} if rows else {}))


# ---- lines of output ----


def _of_text(asked: str) -> tuple[Match, ...]:
    plain = _plain(asked)
    folded = plain.lower()
    found = [match for entry in entries() if (match := _best(entry, plain))]
    known = {match.entry.errno for match in found if match.entry}
    for name, texts in errno.messages().items():
        score = max(len(text) if _plain(text).lower() in folded else 0 for text in texts.values())
        if score and name not in known:
            text = texts["glibc"]
            found += [Match(entry, _rows(name), text, {}, score) for entry in _about(name)]
    return tuple(sorted((one for one in found if not _is_part(one, found)), key=_likeliest))


def _is_part(match: Match, others: Iterable[Match]) -> bool:
    """Whether another entry explains the same text, and more of it.

    "{file}: No such file or directory" is in many a longer message, whose own words would
    then be taken for the file.
    """
    start, end = match.span
    return any(
        other.score > match.score and other.span[0] <= start < end <= other.span[1]
        for other in others
        if other.entry and not other.entry.general
    )


def _likeliest(match: Match) -> tuple[bool, int]:
    return bool(match.entry and match.entry.general), -match.score


def _best(entry: Entry, plain: str) -> Match | None:
    best: Match | None = None
    for pattern in entry.patterns():
        hit = _expression(pattern).search(plain)
        if hit:
            named = {name: text for name, text in hit.groupdict().items() if text}
            values = {name: text.strip(" '\"") for name, text in named.items()}
            score = len(hit[0]) - sum(map(len, named.values()))
            if best is None or score > best.score:
                best = Match(entry, _rows(entry.errno), "", values, score, hit.span())
    return best


def _rows(name: str) -> tuple[Errno, ...]:
    return tuple(row for row in errno.errnos() if name and row.name == name)


def _plain(text: str) -> str:
    return _SPACE.sub(" ", text.translate(_WIDTH)).replace(" :", ":")


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    """What finds a message, with each ``{name}`` being the least text that fits.

    Chinese translations are pasted with and without spaces behind their colons, and many
    messages without the name of the file that they begin with.
    """
    if pattern.startswith(_FILE):
        return re.compile(f"(?:{_regular(_FILE)})?{_regular(pattern[len(_FILE) :])}", re.IGNORECASE)
    return re.compile(_regular(pattern), re.IGNORECASE)


def _regular(pattern: str) -> str:
    parts = _PLACEHOLDER.split(pattern)
    text, seen = "", set()
    for index, part in enumerate(parts):
        if index % 2 == 0:
            text += re.sub(r"\\ |:\\ ?", _loose, re.escape(_plain(part)))
        elif part in seen:
            text += _PATH
        else:
            seen.add(part)
            at_end = index == len(parts) - 2 and not parts[-1]
            text += rf"(?P<{part}>[^\s:]+)" if at_end else rf"(?P<{part}>{_PATH})"
    return text


def _loose(hit: re.Match[str]) -> str:
    return ": ?" if ":" in hit[0] else " ?"


def _filled(command: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda hit: values.get(hit[1]) or hit[1].upper(), command)
