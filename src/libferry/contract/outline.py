"""Which names a header declares, and where, without reading what they are.

``<windows.h>`` is four megabytes of declarations, of which a program uses twenty. To
read all of them takes seconds; to note where each begins takes a tenth of that. C
makes it possible: in specifiers the first name is a type's and the next is declared,
whatever either is, and everything in brackets can be jumped over.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from libferry.contract import words as w
from libferry.contract.tokens import TRIED, Tokens
from libferry.contract.words import is_identifier
from libferry.errors import DeclarationError

_WITH_BRACKETS = w.ATTRIBUTE | w.DECLSPEC | w.ASM | w.ALIGNAS | w.IGNORED_WITH_ARGUMENT


@dataclass
class Outline:
    """Where each name's declaration begins, as the index of a word.

    Attributes:
        typedefs: by name.
        functions: by name, every declaration of it.
        objects: variables, and functions of a typedef's type, by name.
        bases: the typedef that such an object is declared with and nothing else.
        defined: functions with a body that others may call, by name.
        tags: the keyword of each record and enum with members, by ``struct name``.
        mentioned: tags that are only named.
        enumerators: the keyword of the enum that has it, by name.
        unnamed: names for records and enums without one, by the index of their keyword:
            that of its typedef, or for a record that has none its place.
    """

    typedefs: dict[str, int] = field(default_factory=dict)
    functions: dict[str, list[int]] = field(default_factory=dict)
    objects: dict[str, int] = field(default_factory=dict)
    bases: dict[str, str] = field(default_factory=dict)
    defined: dict[str, int] = field(default_factory=dict)
    tags: dict[str, int] = field(default_factory=dict)
    mentioned: dict[str, None] = field(default_factory=dict)
    enumerators: dict[str, int] = field(default_factory=dict)
    unnamed: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Specifiers:
    storage: set[str]
    end: int
    base: str = ""  # the typedef that they name
    unnamed: int | None = None  # the keyword of a record without a tag


def outline(tokens: Tokens, *, strict: bool) -> Outline:
    """Find the declarations of a header.

    Args:
        tokens: the header; a last word "" is added to it.
        strict: whether what cannot be understood is an error, or is passed over.

    Raises:
        DeclarationError: something is not a declaration.
    """
    return _Finder(tokens, strict).find()


class _Finder:
    def __init__(self, tokens: Tokens, strict: bool) -> None:
        self.tokens = tokens
        self.words = tokens.words
        self.closing = tokens.closing
        self.strict = strict
        self.found = Outline()
        self.bodies: list[tuple[int, int]] = []  # of functions

    def find(self) -> Outline:
        words = self.words
        end = len(words)
        words.extend(("", ""))  # so that looking one word ahead needs no check
        at = 0
        while at < end:
            word = words[at]
            if word in (";", "}"):
                at += 1
            elif word == "extern" and words[at + 1][:1] == '"':
                at += 3 if words[at + 2] == "{" else 2
            elif word == "FERRY_NOT_THREAD_SAFE":
                at += 1
            elif word in w.STATIC_ASSERT or word in w.ASM or word in w.IGNORED_WITH_ARGUMENT:
                at = self._past_argument(at)
            else:
                at = self._declaration(at)
        self._tags(end)
        return self.found

    def _past_argument(self, at: int) -> int:
        """The word behind one that may have an argument in brackets."""
        at += 1
        while self.words[at] in w.QUALIFIERS:  # asm volatile (...)
            at += 1
        return self.closing[at] + 1 if at in self.closing and self.words[at] == "(" else at

    def _beside(self, at: int) -> int:
        """The word behind an attribute or its like at ``at``; ``at`` if there is none."""
        word = self.words[at]
        if word in _WITH_BRACKETS:
            return self._past_argument(at)
        if word in w.MEANINGS:
            return self._past_argument(at)
        if word in w.CONVENTIONS or word in w.OTHER_CONVENTIONS or word in w.IGNORED:
            return at + 1
        if word == "[" and self.words[at + 1] == "[":
            return self.closing[at] + 1
        return at

    def _specifiers(self, at: int) -> _Specifiers:
        storage: set[str] = set()
        made = _Specifiers(storage, at)
        typed = False
        while True:
            word = self.words[at]
            if word in w.STORAGE:
                storage.add(w.STORAGE[word])
                at += 1
            elif word in w.TYPE_WORDS:
                typed = True
                at += 1
            elif word in w.QUALIFIERS or (word == w.ATOMIC and self.words[at + 1] != "("):
                at += 1
            elif word in w.TAGS and not typed:
                typed = True
                at, name, body = self._tag(at)
                if body and not name:
                    made.unnamed = self.keyword
            elif (word in w.TYPEOF or word in (w.ATOMIC, "_BitInt")) and not typed:
                typed = True
                at = self._past_argument(at)
            elif (behind := self._beside(at)) != at:
                at = behind
            elif not typed and is_identifier(word):
                typed = True
                made.base = word
                at += 1
            else:
                made.end = at
                return made

    def _tag(self, at: int) -> tuple[int, str, int]:
        """Past ``struct name {...}``: the next word, the name, and where ``{`` is, or 0."""
        self.keyword = at
        keyword = self.words[at]
        at += 1
        while (behind := self._beside(at)) != at:
            at = behind
        name = ""
        if is_identifier(self.words[at]):
            name = self.words[at]
            at += 1
        while (behind := self._beside(at)) != at:
            at = behind
        if keyword == "enum" and self.words[at] == ":":
            at += 1
            while is_identifier(self.words[at]):
                at += 1
        if self.words[at] == "{":
            return self.closing[at] + 1, name, at
        return at, name, 0

    def _declaration(self, start: int) -> int:
        made = self._specifiers(start)
        at = made.end
        while self.words[at] != ";":
            name, function, plain = self._declared(at)
            end = self._end_of_declarator(at)
            if not name:
                return self._lost(start, at)
            if "typedef" in made.storage:
                self.found.typedefs.setdefault(name, start)
                if plain and made.unnamed is not None:
                    self.found.unnamed.setdefault(made.unnamed, name)
            elif self.words[end] == "{" or (function and self.words[end] not in (",", ";", "")):
                return self._body(name, made, start, end)
            elif function:
                if "static" not in made.storage:
                    self.found.functions.setdefault(name, []).append(start)
            elif not made.storage & {"static", "register"}:
                self.found.objects.setdefault(name, start)
                if plain and made.base:
                    self.found.bases[name] = made.base
            if self.words[end] != ",":
                if self.words[end] != ";":
                    return self._lost(start, end)
                return end + 1
            at = end + 1
        return at + 1

    def _declared(self, at: int) -> tuple[str, bool, bool]:
        """A declarator's name, whether it declares a function, and whether nothing else."""
        words = self.words
        plain = True
        starred = False
        while True:
            word = words[at]
            if word in ("*", "^"):
                starred = True
            elif word == "(":
                starred = False
            elif (behind := self._beside(at)) != at:
                at = behind
                continue
            elif word not in w.QUALIFIERS and word != w.ATOMIC:
                break
            plain = plain and word not in ("*", "^", "(")
            at += 1
        if not is_identifier(word):
            return "", False, False
        behind = at + 1
        while words[behind] == ")" and not starred:
            behind += 1
        function = words[behind] == "("
        return word, function, plain and words[behind] not in ("(", "[")

    def _end_of_declarator(self, at: int) -> int:
        """Where the ``,`` or ``;`` behind it is, or a function's body."""
        words, closing = self.words, self.closing
        assigned = False
        while (word := words[at]) not in (",", ";", ""):
            if word == "{" and not assigned:
                return at
            if word == "=":
                assigned = True
            at = closing[at] + 1 if at in closing else at + 1
        return at

    def _body(self, name: str, made: _Specifiers, start: int, at: int) -> int:
        """A function that is defined here; between the two may be an old parameter list."""
        while self.words[at] not in ("{", ""):
            at = self.closing[at] + 1 if at in self.closing else at + 1
        if not self.words[at]:
            return self._lost(start, at)
        end = self.closing[at]
        self.bodies.append((at, end))
        if not made.storage & {"static", "inline"}:
            self.found.defined.setdefault(name, start)
        return end + 1

    def _lost(self, start: int, at: int) -> int:
        """What is no declaration: an error, or passed over up to the next one."""
        if self.strict:
            raise self._complaint(start, at)
        while (word := self.words[at]) not in (";", ""):
            if at in self.closing:
                at = self.closing[at]
                if word == "{":
                    break
            at += 1
        return at + 1

    def _complaint(self, start: int, at: int) -> DeclarationError:
        words = self.words
        word = words[at]
        first = words[start]
        place = self.tokens.place(min(at, len(words) - 3))
        hint = "give plain C declarations, each ended by a semicolon"
        if not word:
            happened = "the last declaration is not finished: a ; or ) is missing"
        elif at > start and is_identifier(first) and first not in w.STORAGE and _may_be_type(first):
            happened = f"{first!r} is not a known type, or {word!r} is not expected here"
            hint = (
                f"if {first} is a macro, define it in front: #define {first}; if a type, add its "
                f"typedef in front, such as: typedef unsigned int {first};"
            )
        else:
            happened = f"{word!r} is not expected here"
        return DeclarationError(TRIED, f"{place}: {happened}", hint=hint)

    # ---- tags ----

    def _tags(self, end: int) -> None:
        """Every struct, union and enum, however deep; not those inside functions."""
        words, found = self.words, self.found
        positions = [at for at, word in enumerate(words) if word in w.TAGS]
        bodies = iter([*sorted(self.bodies), (end, end)])
        body = next(bodies)
        unnamed: dict[str, int] = {}
        for at in positions:
            while at > body[1]:
                body = next(bodies)
            if at > body[0]:
                continue
            _, name, opening = self._tag(at)
            keyword = words[at]
            if not opening:
                if name:
                    found.mentioned.setdefault(f"{keyword} {name}")
                continue
            if name:
                found.tags.setdefault(f"{keyword} {name}", at)
            elif keyword != "enum" and at not in found.unnamed:
                made = f"{keyword} ({self.tokens.place(at)})"
                unnamed[made] = unnamed.get(made, 0) + 1
                if unnamed[made] > 1:
                    made = f"{made[:-1]}, {unnamed[made]})"
                found.unnamed[at] = made
            if keyword == "enum":
                self._enumerators(at, opening)

    def _enumerators(self, keyword: int, opening: int) -> None:
        at = opening + 1
        end = self.closing[opening]
        while at < end:
            if is_identifier(self.words[at]):
                self.found.enumerators.setdefault(self.words[at], keyword)
            while at < end and self.words[at] != ",":
                at = self.closing[at] + 1 if at in self.closing else at + 1
            at += 1


def _may_be_type(word: str) -> bool:
    return word not in w.TYPE_WORDS and word not in w.TAGS and word not in w.QUALIFIERS
