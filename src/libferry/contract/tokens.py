"""From the text of a header to its tokens, each of which knows its file and line.

Two kinds of text come here. A header for humans has comments, include guards and an
``extern "C"`` for C++; ``plain`` turns it into what the tokens are made from, and
refuses what needs a real preprocessor. What a preprocessor wrote has line markers
(``# 12 "zlib.h"``) and, if it was asked for them, the macros it knew. Both kinds have
``#pragma pack``, which stays in force from where it stands until the next one, so the
tokens note it by position.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field

from libferry.errors import DeclarationError

TRIED = "read the declarations"
DEEPEST = 200  # brackets within brackets; no header for people has a tenth of it

_TOKEN = re.compile(
    r"[ \t\r\f\v]*"
    r"("
    r"[^\W\d][\w$]*"
    r"|[^\w\s\"'.\\\#$<>=!+*/%&|^-]"  # the punctuation that begins no other
    r"|\n(?:[ \t]*\#[^\n\\]*(?:\\(?:\r?\n)?[^\n\\]*)*)?"
    r"|\.?\d(?:[eEpP][+-]|[\w.])*"
    r"|\"(?:\\.|[^\"\\\n])*\""
    r"|'(?:\\.|[^'\\\n])*'"
    r"|\\\r?\n"
    r"|\.\.\.|->|\+\+|--|<<=|>>=|<<|>>|[<>=!+*/%&|^-]=|&&|\|\||\#\#"
    r"|\$[\w$]*|."
    r"|)"
)
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)
_DIRECTIVE = re.compile(r"^[ \t]*#[ \t]*(\w*)[ \t]*((?:[^\n]*\\\r?\n)*[^\n]*)$", re.MULTILINE)
_DIRECTIVE_WORDS = re.compile(r"\n[ \t]*#[ \t]*(\w*)[ \t]*(.*)", re.DOTALL)
_DEFINE = re.compile(r"([^\W\d]\w*)(\(([^()]*)\))?\s*(.*)", re.DOTALL)
_MARKER = re.compile(r"([0-9]+)\s*\"((?:\\.|[^\"\\])*)\"")
_PACK = re.compile(r"pack\s*\(([^()]*)\)")
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_OPENING = {closing: opening for opening, closing in _CLOSING.items()}


@dataclass(frozen=True, slots=True)
class Macro:
    """One ``#define``; ``parameters`` is None unless it takes arguments.

    ``foreign`` marks the compiler's own, which no header defines.
    """

    name: str
    parameters: tuple[str, ...] | None
    body: str
    foreign: bool = False


@dataclass
class Tokens:
    """The words of a header, without what separates them.

    Attributes:
        words: identifiers, numbers, strings and punctuation.
        lines: the line of each word in the text, from 1.
        closing: for each opening bracket, the index of the bracket that closes it.
        packs: from which word on which ``#pragma pack`` is in force.
        macros: the macros at the end of the text.
        marks: from which line on which line of which file is meant.
        name: what the text's own file is called.
    """

    words: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    closing: dict[int, int] = field(default_factory=dict)
    packs: list[tuple[int, int | None]] = field(default_factory=list)
    macros: dict[str, Macro] = field(default_factory=dict)
    marks: list[tuple[int, str, int]] = field(default_factory=list)
    name: str = "header"

    def file(self, index: int) -> str:
        """The file in which a word stands."""
        return self.place(index).rpartition(":")[0]

    def place(self, index: int) -> str:
        """Where a word stands, as in ``zlib.h:12``."""
        line = self.lines[min(index, len(self.lines) - 1)] if self.lines else 1
        return self.place_of_line(line)

    def place_of_line(self, line: int) -> str:
        """What a line of the text is called."""
        first, file, number = self.marks[max(0, bisect_right(self.marks, (line, "\U0010ffff")) - 1)]
        return f"{file}:{number + line - first}"

    def pack(self, index: int) -> int | None:
        """The ``#pragma pack`` in force at a word, in bytes."""
        position = bisect_right(self.packs, index, key=lambda row: row[0])
        return self.packs[position - 1][1] if position else None


def plain(text: str) -> str:
    """A header for humans, without its comments and what is meant for C++.

    Every line stays where it is.

    Raises:
        DeclarationError: a comment is not closed, or a preprocessor would be needed.
    """
    if "/*" in text or "//" in text:
        if "/*" in _COMMENT.sub("", text):
            raise DeclarationError(TRIED, "a comment is not closed", hint="/* needs its */")
        text = _COMMENT.sub(lambda m: _blank(m[0]) if m[0][0] == "/" else m[0], text)
    return _select(text) if "#" in text else text


def _blank(text: str) -> str:
    """As many lines of nothing; at least a space, as C has it for comments."""
    return " " + "\n" * text.count("\n")


_CPLUSPLUS = re.compile(r"(?:defined\s*)?\(?\s*(?:defined\s*)?\(?\s*__cplusplus[\s)]*")
# Directives that a header for humans has, and that carry nothing or that tokens know.
_HARMLESS = frozenset({"include", "pragma", "undef", "line", "error", "define", "warning", ""})


def _select(text: str) -> str:
    """Follow the conditionals whose answer is known: guards, and C++, which this is not."""
    inactive: list[bool] = []  # of each conditional that is open, whether its group is left out
    parts = []
    position = 0
    for match in _DIRECTIVE.finditer(text):
        word, rest = match[1], match[2].strip()
        between = text[position : match.start()]
        parts.append(_blank(between)[1:] if any(inactive) else between)
        position = match.end()
        keep = False
        match word:
            case "ifndef" if re.fullmatch(r"\w+", rest):
                inactive.append(False)
            case "ifdef" | "if" if _CPLUSPLUS.fullmatch(rest) or (word, rest) == ("if", "0"):
                inactive.append(True)
            case "if" if rest == "1":
                inactive.append(False)
            case "elif" if not any(inactive[:-1]):
                raise _needs_preprocessor(match[0].strip().splitlines()[0])
            case "else" if inactive:
                inactive[-1] = not inactive[-1]
            case "endif":
                if inactive:
                    inactive.pop()
            case _ if any(inactive):
                if word in ("if", "ifdef", "ifndef"):
                    inactive.append(True)
            case _ if word in _HARMLESS:
                keep = word in ("define", "undef", "pragma")
            case _:
                raise _needs_preprocessor(match[0].strip().splitlines()[0])
        parts.append(match[0] if keep and not any(inactive) else _blank(match[0])[1:])
    parts.append(_blank(text[position:])[1:] if any(inactive) else text[position:])
    return "".join(parts)


def _needs_preprocessor(directive: str) -> DeclarationError:
    word = directive.lstrip("# \t").split(maxsplit=1)[0]
    return DeclarationError(
        TRIED,
        f"#{word} needs a preprocessor: {directive!r}",
        hint="give the header's path to load(header=...), which runs one, or just the "
        "declarations that you call",
    )


def tokenize(text: str, name: str = "header") -> Tokens:
    """Split a header into words.

    Args:
        text: from ``plain``, or from a preprocessor.
        name: what to call the text's own lines in messages.

    Raises:
        DeclarationError: brackets do not match.
    """
    tokens = Tokens(marks=[(1, name, 1)], name=name)
    words, lines = tokens.words, tokens.lines
    directives = _Directives(tokens, name)
    line = 0
    for word in _TOKEN.findall("\n" + text):
        if word[:1] not in "\n\\":
            words.append(word)
            lines.append(line)
        elif word == "\n":
            line += 1
        elif word[:1] == "\n":
            directives.read(word, line + 1)
            line += 1 + word.count("\n", 1)
        else:
            line += "\n" in word
    link(tokens)
    pragmas = [*directives.packs, *_pragma_words(tokens)]
    tokens.packs += _packs(sorted(pragmas, key=lambda row: row[0]))
    return tokens


def words_of(text: str) -> list[str]:
    """The words of a macro's body."""
    return [word for word in _TOKEN.findall(text) if word.strip()]


def link(tokens: Tokens) -> None:
    """Find which bracket closes which.

    Raises:
        DeclarationError: one closes none, or the other way round.
    """
    closing, pending = tokens.closing, []
    closing.clear()
    for index, word in enumerate(tokens.words):
        if word in _CLOSING:
            pending.append(index)
            if len(pending) > DEEPEST:
                raise DeclarationError(
                    TRIED,
                    f"{tokens.place(index)}: nested too deeply",
                    hint=f"brackets may be {DEEPEST} deep",
                )
        elif word in _OPENING:
            if pending and _CLOSING[tokens.words[pending[-1]]] == word:
                closing[pending.pop()] = index
            elif pending or word != "}":
                # a lone } at the end closes an extern "C" { that was left out as C++
                raise _unbalanced(tokens, index, pending)
    if pending:
        raise _unbalanced(tokens, None, pending)


def _unbalanced(tokens: Tokens, index: int | None, pending: list[int]) -> DeclarationError:
    happened = ""
    if pending:
        happened = f"{tokens.place(pending[-1])}: this {tokens.words[pending[-1]]} is not closed"
        if index is not None:
            happened += f" before the {tokens.words[index]} of {tokens.place(index)}"
    elif index is not None:
        happened = f"{tokens.place(index)}: this {tokens.words[index]} closes nothing"
    return DeclarationError(
        TRIED, happened, hint="give plain C declarations, each ended by a semicolon"
    )


class _Directives:
    """What the lines that begin with # say: places, packing, macros."""

    def __init__(self, tokens: Tokens, name: str) -> None:
        self.tokens = tokens
        self.name = name
        self.foreign = False
        self.packs: list[tuple[int, str]] = []  # before which word, and its arguments

    def read(self, directive: str, line: int) -> None:
        match = _DIRECTIVE_WORDS.match(directive)
        if match is None:
            return
        word, rest = match.groups()
        if word == "define":
            if define := _DEFINE.match(rest.replace("\\\r\n", " ").replace("\\\n", " ")):
                name, has_parameters, parameters, body = define.groups()
                names = tuple(p.strip() for p in parameters.split(",")) if has_parameters else None
                if names == ("",):
                    names = ()
                self.tokens.macros[name] = Macro(name, names, body.strip(), self.foreign)
        elif word == "undef":
            self.tokens.macros.pop(rest.strip(), None)
        elif word == "pragma":
            if pack := _PACK.match(rest):
                self.packs.append((len(self.tokens.words), pack[1]))
        elif marker := _MARKER.match(word + " " + rest if word.isdigit() else rest):
            file = marker[2].replace("\\\\", "\\")
            self.foreign = file in ("<built-in>", "<command line>")
            shown = self.name if file == "<stdin>" else re.split(r"[/\\]", file)[-1]
            next_line = line + 1 + directive.count("\n", 1)
            number = int(marker[1][:9])
            self.tokens.marks.append((next_line, shown, number))


def _pragma_words(tokens: Tokens) -> list[tuple[int, str]]:
    """``_Pragma("pack(1)")``, and Microsoft's ``__pragma(pack(1))``."""
    words = tokens.words
    found: list[tuple[int, str]] = []
    for name in ("_Pragma", "__pragma"):
        at = -1
        for _ in range(words.count(name)):
            at = words.index(name, at + 1)
            closing = tokens.closing.get(at + 1, at)
            text = " ".join(words[at + 2 : closing]).replace('\\"', '"').strip('"')
            if pack := _PACK.match(text):
                found.append((closing, pack[1]))
    return found


def _packs(pragmas: list[tuple[int, str]]) -> list[tuple[int, int | None]]:
    """What is in force after each ``#pragma pack``.

    They are (), (n), (push), (push, n), (push, name, n), (pop) and (pop, name).
    """
    made: list[tuple[int, int | None]] = []
    pushed: list[tuple[str, int | None]] = []
    current: int | None = None
    for at, arguments in pragmas:
        words = [word.strip() for word in arguments.split(",")]
        numbers = [int(w[:9]) or None for w in words if w.isdecimal() and w.isascii()]
        number = numbers[0] if numbers else None
        label = words[1] if len(words) > 1 and not words[1].isdecimal() else ""
        if words[0] == "push":
            pushed.append((label, current))
            current = number or current
        elif words[0] == "pop":
            while pushed:
                found, current = pushed.pop()
                if not label or found == label:
                    break
            current = number or current
        elif words[0] in ("", "0") or number:
            current = number
        made.append((at, current))
    return made
