"""A place among the words of a header, and what may stand at any such place: attributes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NoReturn

from libferry.abi import CType
from libferry.contract import words
from libferry.contract.attributes import Attributes, Meaning
from libferry.contract.declared import Names
from libferry.contract.expressions import integer
from libferry.contract.literals import Constant, NotConstant
from libferry.contract.tokens import TRIED, Tokens
from libferry.contract.words import is_identifier
from libferry.errors import DeclarationError, UnsupportedDeclaration

_NUMBERED = frozenset(
    f"{before}{name}{before}"
    for name in ("aligned", "align", "vector_size", "ext_vector_type", "neon_vector_type")
    for before in ("", "__")
)
_HINT = "give plain C declarations, each ended by a semicolon"


class Cursor(ABC):
    """Reads from one word of a header on.

    Attributes:
        names: the meaning of names.
        words, at: the words, and the index of the next one.
        depth: of the expression that is read, in brackets and operands.
    """

    def __init__(self, names: Names, tokens: Tokens, at: int) -> None:
        self.names = names
        self.abi = names.abi
        self.tokens = tokens
        self.words = tokens.words
        self.at = at
        self.depth = 0

    @abstractmethod
    def starts_type(self, at: int) -> bool:
        """Whether a type's name begins at that word."""

    @abstractmethod
    def read_type(self) -> CType:
        """Read a type's name, 6.7.7."""

    # ---- what expressions ask for ----

    def constant(self, name: str) -> Constant | None:
        """An enumerator or a macro."""
        return self.names.constant(name)

    def size_of(self, ctype: CType) -> int:
        """``sizeof``."""
        return self.names.size_of(ctype)

    def alignment_of(self, ctype: CType) -> int:
        """``_Alignof``."""
        return self.names.alignment_of(ctype)

    def offset_of(self, ctype: CType, member: str) -> int:
        """``offsetof``."""
        return self.names.offset_of(ctype, member)

    # ---- words ----

    def fail(self, complaint: str, at: int | None = None, hint: str = _HINT) -> NoReturn:
        """Say what is wrong, and where."""
        place = self.tokens.place(self.at if at is None else at)
        raise DeclarationError(TRIED, f"{place}: {complaint}", hint=hint)

    def refuse(self, complaint: str, hint: str) -> NoReturn:
        """Say what is C but cannot be done, and where."""
        place = self.tokens.place(self.at)
        raise UnsupportedDeclaration(TRIED, f"{place}: {complaint}", hint=hint)

    def expect(self, word: str) -> None:
        """Go past a word that has to come now."""
        if self.words[self.at] != word:
            self.fail(f"{word!r} is expected here{self.instead()}")
        self.at += 1

    def instead(self) -> str:
        """What is here, for a message about what should be."""
        found = self.words[self.at]
        return f", not {found!r}" if found else ", where the text ends"

    def accept(self, word: str) -> bool:
        """Go past a word if it comes now."""
        if self.words[self.at] == word:
            self.at += 1
            return True
        return False

    def past_brackets(self) -> None:
        """Go past a bracket and all up to the one that closes it."""
        closing = self.tokens.closing.get(self.at)
        if closing is None:
            self.fail(f"'(' is expected here{self.instead()}")
        self.at = closing + 1

    # ---- attributes ----

    def attribute(self, into: Attributes) -> bool:
        """Read one attribute, or one word that is like one, if there is one."""
        word = self.words[self.at]
        if word in words.ATTRIBUTE or word in words.DECLSPEC:
            self.at += 1
            self._attribute_list(into)
        elif word in words.CONVENTIONS:
            into.convention = words.CONVENTIONS[word]
            self.at += 1
        elif word in words.OTHER_CONVENTIONS:
            into.refused = word
            self.at += 1
        elif word in words.IGNORED_WITH_ARGUMENT or word in words.IGNORED:
            self.at += 1
            if word in words.IGNORED_WITH_ARGUMENT and self.words[self.at] == "(":
                self.past_brackets()
        elif word in words.ALIGNAS:
            self.at += 1
            self._alignas(into)
        elif word in words.MEANINGS:
            self._meaning(into)
        elif word == "[" and self.words[self.at + 1] == "[":
            self.past_brackets()  # C23's [[...]] changes no call and no layout
        else:
            return False
        return True

    def attributes(self, into: Attributes) -> None:
        """Read all attributes that stand here."""
        while self.attribute(into):
            pass

    def _attribute_list(self, into: Attributes) -> None:
        """``((name, name(arguments)))``, or Microsoft's ``(name name(arguments))``."""
        at = self.at
        self.past_brackets()
        end = self.at
        position = at + 1
        while position < end:
            word = self.words[position]
            position += 1
            if not is_identifier(word):
                continue
            number = None
            arguments: list[str] = []
            if self.words[position] == "(":
                closing = self.tokens.closing[position]
                arguments = self.words[position + 1 : closing]
                number = self._argument(position + 1, closing) if word in _NUMBERED else None
                position = closing + 1
            into.note(word.strip("_"), number, arguments, self.abi)

    def _argument(self, start: int, end: int) -> int | None:
        """The value of an attribute's argument, if it has one."""
        reader = type(self)(self.names, self.tokens, start)
        try:
            value = integer(reader)
        except NotConstant:
            return None
        return value if reader.at == end else None

    def _alignas(self, into: Attributes) -> None:
        at = self.at
        self.expect("(")
        if self.starts_type(self.at):
            into.align(self.alignment_of(self.read_type()))
        else:
            into.align(self.number("an alignment"))
        self.at = at
        self.past_brackets()

    def _meaning(self, into: Attributes) -> None:
        at = self.at
        kind = words.MEANINGS[self.words[at]]
        argument: tuple[str, ...] = ()
        self.at += 1
        if self.words[self.at] == "(":
            argument = tuple(self.words[self.at + 1 : self.tokens.closing[self.at]])
            self.past_brackets()
        into.meanings.append(Meaning(kind, argument, self.tokens.place(at)))

    def number(self, what: str) -> int:
        """Read a constant expression that is an integer."""
        at = self.at
        try:
            return integer(self)
        except NotConstant as reason:
            self.fail(
                f"{what} is not a constant: {reason}",
                at,
                "give it as a number, or define its names",
            )
