"""Structs and unions: from their members as written to their layout.

A pointer leads to a record by name only, so reading one declaration never needs the
layout of what it points to; ``complete`` puts the layouts where a value is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from libferry.abi import Array, CType, FunctionType, Opaque, Pointer, Record, Void, size_of
from libferry.abi.layout import Member, alignment_of, make_record
from libferry.contract.attributes import Attributes
from libferry.contract.declared import Declared
from libferry.contract.literals import NotConstant
from libferry.contract.syntax import Parser
from libferry.contract.words import is_identifier
from libferry.errors import DeclarationError, UnsupportedDeclaration

if TYPE_CHECKING:
    from libferry.contract.reader import Reader

MOST_NESTED = 60  # records within records


class Records:
    """The records of one header."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        words = set(reader.tokens.words)
        self._any_transparent = any(w.strip("_") == "transparent_union" for w in words)
        self._records: dict[str, Record] = {}
        self._laying_out: set[str] = set()
        self._cut: set[str] = set()
        self._depths: dict[str, int] = {}

    def complete(self, ctype: CType) -> CType:
        """The type with its records in full, wherever it is a value and not pointed to."""
        match ctype:
            case Opaque():
                return self.find(ctype.name) or ctype
            case Array():
                return replace(ctype, of=self.complete(ctype.of))
            case FunctionType():
                parameters = tuple(self.complete(p) for p in ctype.parameters)
                return replace(ctype, result=self.complete(ctype.result), parameters=parameters)
            case Pointer(to=FunctionType() | Pointer()):
                return replace(ctype, to=self.complete(ctype.to))
        return ctype

    def find(self, name: str) -> Record | None:
        """A record by name; None if it is not defined, or just being laid out.

        The latter happens where a function pointer in a record takes that record.
        """
        if name in self._records:
            return self._records[name]
        at = self.reader.outline.tags.get(name, self.reader.places.get(name))
        if at is None:
            known = self.reader.known_types.get(name)
            if known is None and name in ("struct __va_list", "struct __va_list_tag"):
                built_in = self.reader.built_in()
                known = None if built_in is self.reader else built_in.records.find(name)
            return known if isinstance(known, Record) else None
        if name in self._laying_out:
            self._cut.add(name)
            return None
        if len(self._laying_out) > MOST_NESTED:
            raise self._nested(name)
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
        parser = Parser(self.reader, self.reader.tokens, at)
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
        depth = 1 + max((self._depth(member.type) for member in members), default=0)
        if depth > MOST_NESTED:
            raise self._nested(name)
        self._depths[name] = depth
        try:
            return make_record(
                self.reader.abi,
                kind,
                name,
                members,
                pack=self.reader.tokens.pack(opening),
                aligned=own.aligned or None,
                packed=own.packed,
            )
        except ValueError as error:
            raise DeclarationError(
                f"lay out {name}",
                f"{self.reader.tokens.place(at)}: {error}",
                hint="give its members as C allows them",
            ) from None

    def _depth(self, ctype: CType) -> int:
        while isinstance(ctype, Array):
            ctype = ctype.of
        return self._depths.get(ctype.name, 1) if isinstance(ctype, Record) else 0

    def _nested(self, name: str) -> DeclarationError:
        return DeclarationError(
            f"lay out {name}",
            f"records are nested more than {MOST_NESTED} deep",
            hint="give plain C declarations",
        )

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
            # what a typedef asks for may be less than the type needs; not so where
            # Microsoft's rules hold
            packed = packed or self.reader.abi.bit_fields == "sysv"
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
            return alignment_of(self.reader.abi, self.complete(ctype))
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

    def is_transparent(self, name: str) -> bool:
        """Whether it is a union that is passed as its first member, GNU's way."""
        at = self.reader.outline.tags.get(name, self.reader.places.get(name))
        if not self._any_transparent or at is None or self.reader.tokens.words[at] != "union":
            return False
        attributes = Attributes()
        parser = Parser(self.reader, self.reader.tokens, at + 1)
        parser.attributes(attributes)
        parser.at += is_identifier(parser.words[parser.at])
        parser.attributes(attributes)
        parser.at = self.reader.tokens.closing[parser.at] + 1
        parser.attributes(attributes)
        return attributes.transparent


def by_name(ctype: CType) -> CType:
    """The type with its records by name, as pointers lead to them."""
    match ctype:
        case Record():
            return Opaque(ctype.name)
        case Array():
            return replace(ctype, of=by_name(ctype.of))
    return ctype
