"""The meaning of a header's names: types, constants, functions and variables.

Everything is found out when it is asked for, and remembered.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from threading import RLock

from libferry.abi import (
    ABIS,
    Abi,
    CType,
    FunctionType,
    Integer,
    Opaque,
    Pointer,
    Record,
)
from libferry.contract import arithmetic
from libferry.contract.declared import Declared, Qualified
from libferry.contract.enums import Enums, enum_type
from libferry.contract.expressions import evaluate
from libferry.contract.functions import refusal, signature
from libferry.contract.header import AddressConstant, Header, Lazy, Signature
from libferry.contract.known_types import known_types, va_list
from libferry.contract.literals import Constant, NotConstant
from libferry.contract.macros import TooMuch, expand
from libferry.contract.outline import outline
from libferry.contract.records import Records, by_name
from libferry.contract.syntax import Parser
from libferry.contract.tokens import TRIED, Tokens, link, tokenize, words_of
from libferry.errors import DeclarationError

MOST_NESTED = 60  # typedefs of typedefs
_RESERVED = re.compile("_[_A-Z]")  # 7.1.3: names of the compiler and its library

Known = Header | tuple[tuple[str, CType], ...]


class Reader:
    """One header's names, for one ABI.

    Args:
        abi: whose sizes and layouts.
        tokens: the header.
        known: what was read before: its types and constants may be used here.
        strict: whether what cannot be understood is an error, or is passed over.
    """

    def __init__(self, abi: Abi, tokens: Tokens, known: Known = (), *, strict: bool) -> None:
        self.abi = abi
        self.tokens = tokens
        self.outline = outline(tokens, strict=strict)
        self.known = known
        self.known_types: Mapping[str, CType] = (
            known.types if isinstance(known, Header) else dict(known)
        )
        self.standard = known_types(abi.os)
        self._typedefs: dict[str, Qualified | None] = {}
        self._resolving = 0
        self._lock = RLock()
        self._constants: dict[str, Constant | None] = {}
        words = tokens.words
        self.places = {n: at for at, n in self.outline.unnamed.items() if words[at] != "enum"}
        self.enums = Enums(self)
        self.records = Records(self)
        self._settle_objects()

    def _settle_objects(self) -> None:
        """``fn_t f;`` declares a function if its typedef is one's type."""
        found = self.outline
        kinds = {base: self._is_function(base) for base in set(found.bases.values())}
        for name, base in found.bases.items():
            if kinds[base] and name in found.objects:
                found.functions.setdefault(name, []).append(found.objects.pop(name))

    def _is_function(self, name: str) -> bool:
        if name not in self.outline.typedefs:
            return False
        try:
            known = self.typedef(name)
        except DeclarationError:
            return False
        return known is not None and isinstance(known.type, FunctionType)

    # ---- names that a parser asks for ----

    def is_typedef(self, name: str) -> bool:
        """Whether it names a type."""
        return (
            name in self.outline.typedefs
            or name in self.known_types
            or name in self.standard
            or name in ("__builtin_va_list", "va_list")
        )

    def typedef(self, name: str) -> Qualified | None:
        """The type of that name, or None."""
        if name in self._typedefs:
            return self._typedefs[name]
        if self._resolving > MOST_NESTED:
            raise DeclarationError(
                f"read the type {name}",
                f"it is behind more than {MOST_NESTED} typedefs",
                hint="give plain C declarations",
            )
        self._typedefs[name] = None  # should it be asked for while it is made
        self._resolving += 1
        try:
            found = self._typedef(name)
        except BaseException:
            del self._typedefs[name]
            raise
        finally:
            self._resolving -= 1
        self._typedefs[name] = found
        return found

    def _typedef(self, name: str) -> Qualified | None:
        at = self.outline.typedefs.get(name)
        if name == "wchar_t":
            at = None  # whatever a header makes it: it is what text is made of
        if at is not None:
            declared = self.declared(at, name)
            aligned = declared.attributes.aligned or declared.type.aligned
            return replace(declared.type, aligned=aligned)
        if name in self.known_types:
            return Qualified(by_name(self.known_types[name]))
        if name in self.standard:
            return Qualified(self._standard(self.standard[name]))
        if name in ("__builtin_va_list", "va_list"):
            return self.built_in().typedef("__builtin_va_list")
        return None

    def built_in(self) -> Reader:
        """What the compiler declares by itself."""
        return _built_in(self.abi.name)

    def _standard(self, meaning: str) -> CType:
        base = meaning.replace("const ", "").rstrip("* ")
        match base:
            case "$intptr" | "$uintptr":
                found: CType = arithmetic.word(self.abi, signed=base == "$intptr")
            case "$wchar":
                found = Integer("wchar_t", self.abi.sizes["wchar_t"], self.abi.wchar_signed, True)
            case _:
                found = arithmetic.named(self.abi, base.split())
        for star in range(meaning.count("*")):
            readonly = star == 0 and meaning.startswith("const ")
            found = Pointer(found, self.abi.pointer_size, readonly)
        return found

    def declared(self, at: int, name: str) -> Declared:
        """The declarator of that name in the declaration that begins there."""
        parser = Parser(self, self.tokens, at)
        specifiers = parser.specifiers()
        while True:
            declared = parser.declarator(specifiers)
            if declared.name == name:
                if parser.words[parser.at] not in (",", ";", "=", "{"):
                    parser.fail(f"{parser.words[parser.at]!r} is not expected here")
                return declared
            if parser.words[parser.at] == "=":  # an initializer is of no interest
                parser.at = self._past_initializer(parser.at)
            parser.expect(",")

    def _past_initializer(self, at: int) -> int:
        words, closing = self.tokens.words, self.tokens.closing
        while words[at] not in (",", ";", ""):
            at = closing[at] + 1 if at in closing else at + 1
        return at

    def tag(self, keyword: str, at: int, name: str, tokens: Tokens) -> Qualified:
        """A struct, union or enum, by its tag, or by its place if it has none."""
        own = tokens is self.tokens
        if keyword == "enum":
            place = self.outline.tags.get(f"enum {name}") if name else at if own else None
            if place is not None:
                return Qualified(self.enums.type(place))
            known = self.known_types.get(f"enum {name}")
            return Qualified(known or self._unknown_enum(f"enum {name}"))
        found = f"{keyword} {name}" if name else self.outline.unnamed.get(at) if own else None
        if found is None:
            raise DeclarationError(
                TRIED,
                f"{tokens.place(at)}: a {keyword} cannot be defined here",
                hint="declare it before it is used",
            )
        return Qualified(Opaque(found), transparent=self.records.is_transparent(found))

    def _unknown_enum(self, name: str) -> Integer:
        """An enum whose enumerators are not declared is taken for one of few of them."""
        return Integer(name, self.abi.sizes["int"], "windows" in self.abi.os)

    def object_type(self, name: str) -> CType | None:
        """The type of a variable or function."""
        at = self.outline.objects.get(name)
        if at is None and name in self.outline.functions:
            at = self.outline.functions[name][0]
        return None if at is None else self.declared(at, name).type.type

    # ---- constants ----

    def constant(self, name: str) -> Constant | None:
        """An enumerator or a macro that stands for a value; None if it is neither."""
        if name in self.outline.enumerators:
            return self.enums.constant(name)
        if name in self._constants:
            return self._constants[name]
        self._constants[name] = None  # a macro may name itself
        try:
            self._constants[name] = self._constant(name)
        except BaseException:
            del self._constants[name]
            raise
        return self._constants[name]

    def _constant(self, name: str) -> Constant | None:
        macro = self.tokens.macros.get(name)
        if macro is not None and macro.parameters is None and macro.body:
            return self._macro(macro.body)
        if isinstance(self.known, Header) and name in self.known.constants:
            value = self.known.constants[name]
            return _from_python(self.abi, value)
        return None

    def _macro(self, body: str) -> Constant | None:
        try:
            words = expand(words_of(body), self.tokens.macros)
        except TooMuch:
            return None
        try:
            parser = self.words(words)
            value = evaluate(parser)
        except (NotConstant, DeclarationError):
            return None
        return value if parser.at == len(words) else None

    # ---- records ----

    def complete(self, ctype: CType) -> CType:
        """The type with its records in full, wherever it is a value and not pointed to."""
        return self.records.complete(ctype)

    def size_of(self, ctype: CType) -> int:
        """``sizeof``."""
        return self.records.size_of(ctype)

    def alignment_of(self, ctype: CType) -> int:
        """``_Alignof``."""
        return self.records.alignment_of(ctype)

    def offset_of(self, ctype: CType, member: str) -> int:
        """``offsetof``, of a member that is not a bit-field."""
        return self.records.offset_of(ctype, member)

    # ---- functions and variables ----

    def signature(self, name: str) -> Signature | None:
        """A declared function, with its call plan; ``functions.signature`` raises."""
        return signature(self, name)

    def words(self, words: Sequence[str]) -> Parser:
        """A parser of words that are in no header, such as a macro's."""
        tokens = Tokens(words=[*words, "", ""], lines=[1], marks=[(1, "constant", 1)])
        link(tokens)
        return Parser(self, tokens, 0)

    def alias(self, name: str) -> str | None:
        """The function that a macro only renames: ``#define MessageBox MessageBoxW``."""
        macro = self.tokens.macros.get(name)
        if macro is None or macro.parameters is not None:
            return None
        try:
            words = expand([name], self.tokens.macros)
        except TooMuch:
            return None
        return words[0] if len(words) == 1 and words[0] in self.outline.functions else None

    def variable(self, name: str) -> CType | None:
        """The type of an exported variable."""
        at = self.outline.objects.get(name)
        if at is None:
            return None
        if "thread" in Parser(self, self.tokens, at).specifiers().storage:
            raise refusal(
                name, "each thread has its own", "declare a function that gives its address"
            )
        return self.complete(self.declared(at, name).type.type)

    # ---- all of it ----

    def type(self, name: str) -> CType | None:
        """A typedef, or ``struct x``, ``union x``, ``enum x``."""
        if name.startswith(("struct ", "union ")):
            record = self.records.find(name)
            if record is not None:
                return record
            return self.known_types.get(name) or (
                Opaque(name) if name in self.outline.mentioned else None
            )
        if name.startswith("enum "):
            at = self.outline.tags.get(name)
            if at is not None:
                return self.enums.type(at)
            known = self.known_types.get(name)
            if known is None and name in self.outline.mentioned:
                return self._unknown_enum(name)
            return known
        if name not in self.outline.typedefs:
            return self.records.find(name) if name in self.places else self.known_types.get(name)
        found = self.typedef(name)
        if found is None:
            return None
        ctype = self.complete(found.type)
        if found.aligned and isinstance(ctype, Record):
            return replace(ctype, alignment=found.aligned)
        return ctype

    def type_names(self) -> Collection[str]:
        """Every name that ``type`` knows, without those of ``known``."""
        found = self.outline
        return {**found.typedefs, **found.tags, **found.mentioned, **self.places}

    def _has_type(self, name: str) -> bool:
        found = self.outline
        return (
            name in found.typedefs
            or name in found.tags
            or name in found.mentioned
            or name in self.places
        )

    def constant_value(self, name: str) -> int | float | str | AddressConstant | None:
        """The value of an enumerator or macro."""
        found = self.constant(name)
        if found is None:
            return None
        if isinstance(found.type, Pointer) and isinstance(found.value, int):
            return AddressConstant(found.type, found.value)
        return found.value

    def constant_names(self) -> Collection[str]:
        """Enumerators, and the macros that have a value and a name for users."""
        own = [
            macro.name
            for macro in self.tokens.macros.values()
            if not macro.foreign and macro.parameters is None and macro.body
        ]
        names = [*self.outline.enumerators, *(n for n in own if not _RESERVED.match(n))]
        return [name for name in names if self.constant(name) is not None]

    def everything(self) -> Header:
        """Read all of it.

        Raises:
            DeclarationError, UnsupportedDeclaration: something cannot be read or called.
        """
        for name in self.outline.defined:
            raise refusal(name, "it has a body", "give declarations only")
        types: dict[str, CType | None] = {}
        if not isinstance(self.known, Header):  # a whole one may hold ten thousand
            types.update(self.known_types)
        types.update((name, self.type(name)) for name in self.type_names())
        functions = {name: self.signature(name) for name in self.outline.functions}
        variables = {name: self.variable(name) for name in self.outline.objects}
        for name in self.outline.enumerators:
            self.constant(name)
        return Header(
            {name: found for name, found in functions.items() if found is not None},
            {name: found for name, found in types.items() if found is not None},
            self._constants_by_name(),
            {name: found for name, found in variables.items() if found is not None},
            self._thread_safe(),
            self._own_records(),
        )

    def lazily(self) -> Header:
        """Everything, to be read when it is asked for."""
        found = self.outline
        return Header(
            Lazy(lambda: found.functions, self.signature, self._has_function, self._lock),
            Lazy(self.type_names, self.type, self._has_type, self._lock),
            self._constants_by_name(),
            Lazy(lambda: found.objects, self.variable, None, self._lock),
            self._thread_safe(),
            self._own_records(),
        )

    def _own_records(self) -> list[str]:
        """The records that are defined in the header itself, outermost ones only."""
        words, own = self.tokens.words, self.tokens.name
        named = {at: name for name, at in self.outline.tags.items()}
        found: list[str] = []
        inside = 0
        for at in sorted(self.outline.unnamed.keys() | named.keys()):
            name = named.get(at) or self.outline.unnamed[at]
            if words[at] == "enum" or (at < inside and "(" in name):
                continue
            opening = next(i for i in range(at, len(words)) if words[i] == "{")
            inside = max(inside, self.tokens.closing[opening])
            if self.tokens.file(at) == own:
                found.append(name)
        return found

    def _thread_safe(self) -> bool:
        return "FERRY_NOT_THREAD_SAFE" not in self.tokens.words

    def _has_function(self, name: str) -> bool:
        return name in self.outline.functions or self.alias(name) is not None

    def _constants_by_name(self) -> Lazy[int | float | str | AddressConstant]:
        has = lambda name: self.constant(name) is not None  # noqa: E731
        return Lazy(self.constant_names, self.constant_value, has, self._lock)


@lru_cache
def _built_in(abi_name: str) -> Reader:
    """What a compiler declares by itself."""
    return Reader(ABIS[abi_name], tokenize(va_list(abi_name), "built-in"), strict=True)


def _from_python(abi: Abi, value: int | float | str | AddressConstant) -> Constant:
    if isinstance(value, AddressConstant):
        return Constant(value.value, value.type)
    if isinstance(value, str):
        return Constant(value, Integer("char", 1, abi.char_signed, True))
    if isinstance(value, float):
        return Constant(value, arithmetic.DOUBLE)
    return Constant(value, enum_type(abi, [value, -1], packed=False))


__all__ = ["Known", "Reader", "by_name", "enum_type"]
