"""The meaning of a header's names: types, constants, functions and variables.

Everything is found out when it is asked for, and remembered. A pointer leads to a
record by name only, so reading one declaration never needs the layout of what it
points to; ``complete`` puts the layouts where a value is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Literal

from libferry.abi import (
    ABIS,
    Abi,
    Array,
    CType,
    FunctionType,
    Integer,
    Opaque,
    Pointer,
    Record,
    Void,
    lower,
    size_of,
)
from libferry.abi.layout import Member, alignment_of, make_record
from libferry.abi.lower import NoPlan
from libferry.contract import arithmetic
from libferry.contract.attributes import Attributes
from libferry.contract.expressions import Constant, NotConstant, evaluate, int_type
from libferry.contract.header import Header, Lazy, Parameter, Signature
from libferry.contract.known_types import known_types, va_list
from libferry.contract.macros import TooMuch, expand
from libferry.contract.outline import outline
from libferry.contract.syntax import Declared, Parser, Qualified, is_identifier
from libferry.contract.tokens import TRIED, Tokens, tokenize, words_of
from libferry.errors import DeclarationError, UnsupportedDeclaration

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
        self._records: dict[str, Record] = {}
        self._laying_out: set[str] = set()
        self._cut: set[str] = set()
        self._enums: dict[int, Integer] = {}
        self._constants: dict[str, Constant | None] = {}
        words = tokens.words
        self._places = {n: at for at, n in self.outline.unnamed.items() if words[at] != "enum"}
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
        self._typedefs[name] = None  # should it be asked for while it is made
        try:
            found = self._typedef(name)
        except BaseException:
            del self._typedefs[name]
            raise
        self._typedefs[name] = found
        return found

    def _typedef(self, name: str) -> Qualified | None:
        at = self.outline.typedefs.get(name)
        if name == "wchar_t":
            at = None  # whatever a header makes it: it is what text is made of
        if at is not None:
            declared = self._declared(at, name)
            aligned = declared.attributes.aligned or declared.type.aligned
            return replace(declared.type, aligned=aligned)
        if name in self.known_types:
            return Qualified(by_name(self.known_types[name]))
        if name in self.standard:
            return Qualified(self._standard(self.standard[name]))
        if name in ("__builtin_va_list", "va_list"):
            return _built_in(self.abi.name).typedef("__builtin_va_list")
        return None

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

    def _declared(self, at: int, name: str) -> Declared:
        """The declarator of that name in the declaration that begins there."""
        parser = Parser(self, self.tokens, at)
        specifiers = parser.specifiers()
        while True:
            declared = parser.declarator(specifiers)
            if declared.name == name:
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
                return Qualified(self._enum(place))
            known = self.known_types.get(f"enum {name}")
            return Qualified(known or Integer(f"enum {name}", self.abi.sizes["int"], False))
        if name:
            return Qualified(Opaque(f"{keyword} {name}"))
        if not own:
            raise DeclarationError(
                TRIED, f"a {keyword} cannot be defined here", hint="declare it in the header"
            )
        found = self.outline.unnamed[at]
        return Qualified(Opaque(found), transparent=False)

    def object_type(self, name: str) -> CType | None:
        """The type of a variable or function."""
        at = self.outline.objects.get(name)
        if at is None and name in self.outline.functions:
            at = self.outline.functions[name][0]
        return None if at is None else self._declared(at, name).type.type

    # ---- constants ----

    def constant(self, name: str) -> Constant | None:
        """An enumerator or a macro that stands for a value; None if it is neither."""
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
        if name in self.outline.enumerators:
            keyword = self.outline.enumerators[name]
            if keyword not in self._enums:
                self._enum(keyword)
                return self._constants[name]
            return None
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
        tokens = Tokens(words=[*words, "", ""], lines=[1], marks=[(1, "macro", 1)])
        parser = Parser(self, tokens, 0)
        try:
            value = evaluate(parser)
        except (NotConstant, DeclarationError, ValueError, RecursionError, IndexError, KeyError):
            return None
        return value if parser.at == len(words) else None

    def _enum(self, keyword: int) -> Integer:
        """The type of an enum and the values of its enumerators, 6.7.2.2."""
        if keyword in self._enums:
            return self._enums[keyword]
        parser = Parser(self, self.tokens, keyword + 1)
        attributes = Attributes()
        parser.attributes(attributes)
        name = ""
        if is_identifier(parser.words[parser.at]):
            name = parser.words[parser.at]
            parser.at += 1
        parser.attributes(attributes)
        fixed: CType | None = None
        if parser.words[parser.at] == ":":
            parser.at += 1
            fixed = parser.specifiers().type.type
        int_ = int_type(self.abi)
        self._enums[keyword] = int_  # for a size asked by an enumerator's own value
        try:
            values = self._enumerators(parser, fixed if isinstance(fixed, Integer) else int_)
        except BaseException:
            del self._enums[keyword]
            raise
        parser.attributes(attributes)
        if isinstance(fixed, Integer):
            made = fixed
        else:
            made = enum_type(self.abi, values, packed=attributes.packed)
        name = f"enum {name}" if name else self.outline.unnamed.get(keyword, "")
        if name:
            made = Integer(name, made.size, made.signed)
        self._enums[keyword] = made
        return made

    def _enumerators(self, parser: Parser, int_: Integer) -> list[int]:
        parser.expect("{")
        values: list[int] = []
        following = 0
        while parser.words[parser.at] != "}":
            name = parser.words[parser.at]
            if not is_identifier(name):
                parser.fail(f"an enumerator's name is expected here, not {name!r}")
            parser.at += 1
            parser.attributes(Attributes())
            if parser.words[parser.at] == "=":
                parser.at += 1
                following = parser.number(f"the value of {name}")
            values.append(following)
            self._constants[name] = Constant(following, _enumerator(self.abi, following, int_))
            following += 1
            if parser.words[parser.at] == ",":
                parser.at += 1
            elif parser.words[parser.at] != "}":
                parser.expect(",")
        parser.at += 1
        return values

    # ---- records ----

    def complete(self, ctype: CType) -> CType:
        """The type with its records in full, wherever it is a value and not pointed to."""
        match ctype:
            case Opaque():
                return self._record(ctype.name) or ctype
            case Array():
                return replace(ctype, of=self.complete(ctype.of))
            case FunctionType():
                parameters = tuple(self.complete(p) for p in ctype.parameters)
                return replace(ctype, result=self.complete(ctype.result), parameters=parameters)
            case Pointer(to=FunctionType() | Pointer()):
                return replace(ctype, to=self.complete(ctype.to))
        return ctype

    def _record(self, name: str) -> Record | None:
        """A record by name; None if it is not defined, or just being laid out.

        The latter happens where a function pointer in a record takes that record.
        """
        if name in self._records:
            return self._records[name]
        at = self.outline.tags.get(name, self._places.get(name))
        if at is None:
            known = self.known_types.get(name)
            if known is None and name.startswith("struct __va_list"):
                built_in = _built_in(self.abi.name)
                known = None if self is built_in else built_in._record(name)
            return known if isinstance(known, Record) else None
        if name in self._laying_out:
            self._cut.add(name)
            return None
        self._laying_out.add(name)
        try:
            record = self._lay_out(name, at)
        finally:
            self._laying_out.discard(name)
        self._cut.discard(name)
        if not self._cut:  # else it depends on where the question began
            self._records[name] = record
        return record

    def _lay_out(self, name: str, at: int) -> Record:
        parser = Parser(self, self.tokens, at)
        kind: Literal["struct", "union"] = "struct" if parser.words[at] == "struct" else "union"
        parser.at += 1
        own = Attributes()
        parser.attributes(own)
        if is_identifier(parser.words[parser.at]):
            parser.at += 1
        parser.attributes(own)
        opening = parser.at
        members = [self._member(parser, declared) for declared, _ in parser.members()]
        parser.attributes(own)
        self._check(own, f"lay out {name}")
        try:
            return make_record(
                self.abi,
                kind,
                name,
                members,
                pack=self.tokens.pack(opening),
                aligned=own.aligned or None,
                packed=own.packed,
            )
        except ValueError as error:
            raise DeclarationError(
                f"lay out {name}",
                f"{self.tokens.place(at)}: {error}",
                hint="give its members as C allows them",
            ) from None

    def _member(self, parser: Parser, declared: Declared) -> Member:
        given = declared.attributes
        self._check(given, f"lay out {declared.name or 'a member'}")
        ctype = self.complete(declared.type.type)
        innermost = ctype
        while isinstance(innermost, Array):
            innermost = innermost.of
        if isinstance(innermost, Opaque | Void | FunctionType):
            what = "is not defined" if isinstance(innermost, Opaque) else "has no size"
            parser.fail(
                f"member {declared.name!r}: {innermost.name} {what}",
                declared.at,
                f"define {innermost.name} in front, or declare a pointer to it",
            )
        aligned, packed = given.aligned or None, given.packed
        if declared.type.aligned is not None:
            # what a typedef asks for may be less than the type needs
            packed = True
            aligned = max(declared.type.aligned, aligned or 0)
        return Member(declared.name, ctype, declared.bits, aligned, packed)

    def _check(self, attributes: Attributes, tried: str) -> None:
        if attributes.refused:
            raise UnsupportedDeclaration(
                tried,
                f"{attributes.refused} changes its form in a way that libferry does not know",
                hint="leave out what uses it",
            )

    def size_of(self, ctype: CType) -> int:
        """``sizeof``."""
        try:
            return size_of(self.complete(ctype))
        except ValueError as error:
            raise NotConstant(str(error)) from None

    def alignment_of(self, ctype: CType) -> int:
        """``_Alignof``."""
        try:
            return alignment_of(self.abi, self.complete(ctype))
        except ValueError as error:
            raise NotConstant(str(error)) from None

    def offset_of(self, ctype: CType, member: str) -> int:
        """``offsetof``, of a member that is not a bit-field."""
        record = self.complete(ctype)
        if isinstance(record, Record):
            for found in record.fields:
                if found.name == member:
                    return found.offset
                if not found.name and isinstance(found.type, Record):
                    try:
                        return found.offset + self.offset_of(found.type, member)
                    except NotConstant:
                        continue
        raise NotConstant(f"{ctype.name} has no member {member}")

    # ---- functions and variables ----

    def signature(self, name: str) -> Signature | None:
        """A declared function, with its call plan.

        Raises:
            DeclarationError: its declaration cannot be read.
            UnsupportedDeclaration: it cannot be called; the reason is named.
        """
        places = self.outline.functions.get(name)
        if places is None:
            other = self._alias(name)
            return None if other is None else self.signature(other)
        all_declared = [self._declared(at, name) for at in places]
        declared = next((d for d in reversed(all_declared) if d.parameters), all_declared[-1])
        function = declared.type.type
        if not isinstance(function, FunctionType):
            raise self._refusal(name, "it is not a function", "declare it as one")
        refused = next((d.attributes.refused for d in all_declared if d.attributes.refused), None)
        if refused:
            raise self._refusal(
                name,
                f"{refused} functions cannot be called",
                "cdecl, stdcall, fastcall and thiscall can; leave the others out of the header",
            )
        kinds = [d.type.type for d in all_declared]
        conventions = [k.convention for k in kinds if isinstance(k, FunctionType)]
        convention = next((c for c in conventions if c != "cdecl"), function.convention)
        types = tuple(self._passed(p) for p in function.parameters)
        given = declared.parameters or []
        names = [p.name for p in given] or [""] * len(types)
        result = self.complete(function.result)
        for position, ctype in enumerate((result, *types)):
            if isinstance(ctype, Opaque):
                what = f"parameter {position} is" if position else "it returns"
                raise self._refusal(
                    name,
                    f"{what} {ctype.name}, which is not defined",
                    f"define {ctype.name} in front, or pass it by pointer",
                )
        try:
            plan = lower(
                self.abi,
                result,
                types,
                convention=convention,
                variadic_from=len(types) if function.variadic else None,
            )
        except NoPlan as reason:
            raise self._refusal(
                name, str(reason), "pass it by pointer, or leave this function out of the header"
            ) from None
        labels = [d.attributes.label for d in all_declared if d.attributes.label]
        return Signature(
            name,
            result,
            tuple(Parameter(n, t) for n, t in zip(names, types, strict=True)),
            plan,
            function.variadic,
            convention,
            self._symbol(labels[0]) if labels else name,
        )

    def _alias(self, name: str) -> str | None:
        """The function that a macro only renames: ``#define MessageBox MessageBoxW``."""
        macro = self.tokens.macros.get(name)
        if macro is None or macro.parameters is not None:
            return None
        try:
            words = expand([name], self.tokens.macros)
        except TooMuch:
            return None
        return words[0] if len(words) == 1 and words[0] in self.outline.functions else None

    def _passed(self, ctype: CType) -> CType:
        return self.complete(ctype)

    def _symbol(self, label: str) -> str:
        """What the dynamic loader calls it: some formats put an underscore before C's names."""
        underscored = "macos" in self.abi.os or (
            self.abi.cpu == "i386" and "windows" in self.abi.os
        )
        return label.removeprefix("_") if underscored else label

    def _refusal(self, name: str, reason: str, hint: str) -> UnsupportedDeclaration:
        return UnsupportedDeclaration(f"declare {name}", reason, hint=hint)

    def variable(self, name: str) -> CType | None:
        """The type of an exported variable."""
        at = self.outline.objects.get(name)
        if at is None:
            return None
        if "thread" in Parser(self, self.tokens, at).specifiers().storage:
            raise self._refusal(
                name, "each thread has its own", "declare a function that gives its address"
            )
        return self.complete(self._declared(at, name).type.type)

    # ---- all of it ----

    def type(self, name: str) -> CType | None:
        """A typedef, or ``struct x``, ``union x``, ``enum x``."""
        if name.startswith(("struct ", "union ")):
            record = self._record(name)
            if record is not None:
                return record
            return self.known_types.get(name) or (
                Opaque(name) if name in self.outline.mentioned else None
            )
        if name.startswith("enum "):
            at = self.outline.tags.get(name)
            return self.known_types.get(name) if at is None else self._enum(at)
        if name not in self.outline.typedefs:
            return self._record(name) if name in self._places else self.known_types.get(name)
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
        return {**found.typedefs, **found.tags, **found.mentioned, **self._places}

    def constant_value(self, name: str) -> int | float | str | None:
        """The value of an enumerator or macro."""
        found = self.constant(name)
        return None if found is None else found.value

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
            raise self._refusal(name, "it has a body", "give declarations only")
        types = {name: self.type(name) for name in self.type_names()}
        functions = {name: self.signature(name) for name in self.outline.functions}
        variables = {name: self.variable(name) for name in self.outline.objects}
        for name in self.outline.enumerators:
            self.constant(name)
        return Header(
            {name: found for name, found in functions.items() if found is not None},
            {**self.known_types, **{n: t for n, t in types.items() if t is not None}},
            self._constants_by_name(),
            {name: found for name, found in variables.items() if found is not None},
        )

    def lazily(self) -> Header:
        """Everything, to be read when it is asked for."""
        found = self.outline
        return Header(
            Lazy(lambda: found.functions, self.signature, self._has_function),
            Lazy(self.type_names, self.type),
            self._constants_by_name(),
            Lazy(lambda: found.objects, self.variable),
        )

    def _has_function(self, name: str) -> bool:
        return name in self.outline.functions or self._alias(name) is not None

    def _constants_by_name(self) -> Lazy[int | float | str]:
        has = lambda name: self.constant(name) is not None  # noqa: E731
        return Lazy(self.constant_names, self.constant_value, has)


@lru_cache
def _built_in(abi_name: str) -> Reader:
    """What a compiler declares by itself."""
    return Reader(ABIS[abi_name], tokenize(va_list(abi_name), "built-in"), strict=True)


def by_name(ctype: CType) -> CType:
    """The type with its records by name, as pointers lead to them."""
    match ctype:
        case Record():
            return Opaque(ctype.name)
        case Array():
            return replace(ctype, of=by_name(ctype.of))
    return ctype


def enum_type(abi: Abi, values: list[int], *, packed: bool) -> Integer:
    """The type of an enum with these values.

    GCC and Clang: unsigned int unless a value is negative, and wider if one does not
    fit. Microsoft's compiler: int.
    """
    signed = min(values, default=0) < 0
    low, high = min(values, default=0), max(values, default=0)
    if packed:
        for size in (1, 2):
            if -(1 << (8 * size - 1)) * signed <= low and high < 1 << (8 * size - signed):
                return arithmetic.of_size(abi, size, signed)
    if "windows" in abi.os and low >= -(1 << 31) and high < 1 << 31:
        return arithmetic.integer(abi, "int", True)
    for name in ("int", "long", "long long"):
        bits = 8 * abi.sizes[name] - signed
        if -(1 << bits) * signed <= low and high < 1 << bits:
            return arithmetic.integer(abi, name, signed)
    raise DeclarationError(
        TRIED, f"no type holds the enumerators {low} and {high}", hint="check their values"
    )


def _enumerator(abi: Abi, value: int, int_: Integer) -> Integer:
    """An enumerator is an int, unless it is too large for one."""
    bits = 8 * int_.size - int_.signed
    if -(1 << bits) * int_.signed <= value < 1 << bits:
        return int_
    return enum_type(abi, [value], packed=False)


def _from_python(abi: Abi, value: int | float | str) -> Constant:
    if isinstance(value, str):
        return Constant(value, Integer("char", 1, abi.char_signed, True))
    if isinstance(value, float):
        return Constant(value, arithmetic.DOUBLE)
    return Constant(value, enum_type(abi, [value, -1], packed=False))


__all__ = ["Known", "Reader", "by_name", "enum_type"]
