"""The grammar of declarations, ISO C17 6.7, with what compilers add to it.

A declaration is specifiers (``static const unsigned long``) and declarators
(``*names[4]``, in ``declarators``). What stands beside them is read by ``cursor``.

Why not a parser of C? A header needs no statements, and there is none for Python that
keeps attributes at their places or goes on after what it does not know; and reading a
declaration only when it is asked for, which makes a header of five megabytes usable,
has to begin here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

from libferry.abi import Array, CType, FunctionType, Opaque, Pointer, Record, Void
from libferry.contract import arithmetic, words
from libferry.contract.attributes import Attributes, merged
from libferry.contract.cursor import Cursor
from libferry.contract.declarators import DeclaratorReader, Step, applied, resized
from libferry.contract.declared import Declared, Qualified, Specifiers
from libferry.contract.expressions import evaluate
from libferry.contract.literals import NotConstant
from libferry.contract.words import is_identifier


class Parser(Cursor):
    """Reads from one word of a header on."""

    def at_word(self, at: int) -> Parser:
        """Another parser of the same header."""
        return Parser(self.names, self.tokens, at)

    def starts_type(self, at: int) -> bool:
        """Whether a type's name begins at that word."""
        word = self.words[at]
        return (
            word in words.TYPE_WORDS
            or word in words.TAGS
            or word in words.QUALIFIERS
            or word in words.TYPEOF
            or word in (words.ATOMIC, "__extension__", "_BitInt")
            or word in words.ATTRIBUTE
            or word in words.DECLSPEC
            or (is_identifier(word) and self.names.is_typedef(word))
        )

    def read_type(self) -> CType:
        """Read a type's name, 6.7.7."""
        return self.names.complete(self._type_name().type)

    def _type_name(self) -> Qualified:
        specifiers = self.specifiers()
        return self.declarator(specifiers, named=False).type

    # ---- specifiers ----

    def specifiers(self) -> Specifiers:
        """Read declaration specifiers, 6.7p1."""
        start = self.at
        attributes = Attributes()
        storage: set[str] = set()
        arithmetic_words: list[str] = []
        const = False
        found: Qualified | None = None
        tag: int | None = None
        while True:
            word = self.words[self.at]
            if word in words.STORAGE:
                storage.add(words.STORAGE[word])
            elif word in words.QUALIFIERS:
                const = const or word in words.CONST
            elif found is None and word in words.TYPE_WORDS:
                arithmetic_words += words.TYPE_WORDS[word].split()
            elif self.attribute(attributes):
                continue
            elif found is not None or arithmetic_words:
                break
            elif word in words.TAGS:
                found, tag = self._tag(attributes)
                continue
            elif word in words.TYPEOF:
                found = self._typeof()
                continue
            elif word == words.ATOMIC:
                if self.words[self.at + 1] == "(":
                    found = self._in_brackets()
                    continue
            elif word == "_BitInt":
                self.refuse("_BitInt cannot be passed", "use an ordinary integer type")
            elif is_identifier(word):
                found = self.names.typedef(word)
                if found is None:
                    self._unknown_type(start)
            else:
                break
            self.at += 1
        if found is None:
            found = self._arithmetic(arithmetic_words, start)
        found = replace(found, const=found.const or const)
        return Specifiers(found, storage - {""}, attributes, tag)

    def _arithmetic(self, given: list[str], start: int) -> Qualified:
        if not given:
            self.fail(f"a type is expected here{self.instead()}", start)
        try:
            return Qualified(arithmetic.named(self.abi, given))
        except arithmetic.NoType as reason:
            if reason.known:
                self.refuse(str(reason), "leave out what uses it")
            self.fail(str(reason), start)

    def _unknown_type(self, start: int) -> NoReturn:
        word = self.words[self.at]
        following = self.words[self.at + 1]
        if word.startswith(words.SCALABLE):
            self.refuse(f"{word} has no size of its own", "leave out what uses it")
        hint = (
            f"add its typedef in front, such as: typedef unsigned int {word}; or, if only "
            f"pointers to it are passed: typedef struct {word} {word};"
        )
        if following in words.TYPE_WORDS or following in words.TAGS or following in words.CONST:
            hint = f"if it is a macro, define it in front: #define {word}"
        self.fail(f"{word!r} is not a known type", hint=hint)

    def _tag(self, attributes: Attributes) -> tuple[Qualified, int | None]:
        """``struct name``, with its members or without; they are read elsewhere."""
        at = self.at
        keyword = self.words[at]
        self.at += 1
        own = Attributes()
        self.attributes(own)
        name = ""
        if is_identifier(self.words[self.at]):
            name = self.words[self.at]
            self.at += 1
        behind = Attributes()
        self.attributes(behind)
        # C23's ``enum e : short``; in ``enum e : 3;`` it is a bit-field without a name
        typed = self.words[self.at] == ":" and self.starts_type(self.at + 1)
        if keyword == "enum" and typed:
            self.at += 1
            self.specifiers()
        body = self.words[self.at] == "{"
        if body:
            self.past_brackets()
            self.attributes(own)
        elif not name:
            self.fail(f"{keyword} has neither a name nor members", at)
        else:  # ``struct s __stdcall f(void)``: no part of the type, but of the declaration
            attributes.merge(behind)
        attributes.meanings += own.meanings
        attributes.convention = own.convention or attributes.convention
        attributes.refused = own.refused or attributes.refused
        return self.names.tag(keyword, at, name, self.tokens), None if name else at

    def _typeof(self) -> Qualified:
        self.at += 1
        if self.words[self.at] != "(" or self.starts_type(self.at + 1):
            return self._in_brackets(step=0)
        at = self.at
        closing = self.tokens.closing[at]
        if closing == at + 2 and (known := self.names.object_type(self.words[at + 1])):
            self.at = closing + 1
            return Qualified(known)
        self.at += 1
        try:
            value = evaluate(self)
        except NotConstant as reason:
            self.fail(f"the type of this expression is not known: {reason}", at)
        self.at = at
        self.past_brackets()
        return Qualified(value.type)

    def _in_brackets(self, step: int = 1) -> Qualified:
        self.at += step
        self.expect("(")
        result = self._type_name()
        self.expect(")")
        return result

    # ---- declarators ----

    def declarator(
        self, specifiers: Specifiers, *, named: bool = True, parameter: bool = False
    ) -> Declared:
        """Read one declarator, 6.7.6; ``named`` is whether it must have a name.

        In a ``parameter`` a name in parentheses may also be the type of a parameter.
        """
        start = self.at
        attributes = Attributes()
        reader = DeclaratorReader(self, attributes, abstract=parameter or not named)
        steps = reader.level()
        self._trailing(attributes)
        if named and not reader.name:
            self.fail(f"a name is expected here{self.instead()}", self.at)
        before = specifiers.attributes
        if before.convention:  # it is for the first function from the name on
            steps = [Step("convention", convention=before.convention), *steps]
        base = resized(self, specifiers.type, before, attributes)
        own = merged(before, attributes)
        made = applied(self, base, steps, attributes.convention, parameter=parameter)
        function = next((s for s in steps if s.kind != "convention"), None)
        parameters = function.parameters if function and function.kind == "function" else None
        if own.transparent:
            made = replace(made, transparent=True)
        return Declared(reader.name, made, reader.at or start, own, parameters)

    def _trailing(self, attributes: Attributes) -> None:
        """Attributes and the symbol's name behind a declarator."""
        while True:
            if self.words[self.at] in words.ASM:
                self.at += 1
                at = self.at
                self.past_brackets()
                literals = [w for w in self.words[at + 1 : self.at - 1] if w[:1] == '"']
                attributes.label = "".join(w[1:-1] for w in literals)
            elif not self.attribute(attributes):
                return

    def parameter_list(self) -> tuple[list[Declared], bool]:
        """Read a function's parameters, from ``(`` to ``)``, 6.7.6.3."""
        self.expect("(")
        parameters: list[Declared] = []
        variadic = False
        if self.accept(")"):
            return parameters, variadic
        while True:
            if self.accept("..."):
                variadic = True
                break
            parameters.append(self._parameter())
            if not self.accept(","):
                break
        self.expect(")")
        if len(parameters) == 1 and not variadic and _is_void(parameters[0]):
            parameters = []
        for position, parameter in enumerate(parameters):
            if _is_void(parameter):
                self.fail(f"parameter {position + 1} is void", parameter.at)
        return parameters, variadic

    def _parameter(self) -> Declared:
        specifiers = self.specifiers()
        declared = self.declarator(specifiers, named=False, parameter=True)
        declared.type = self._adjusted(declared.type)
        return declared

    def _adjusted(self, given: Qualified) -> Qualified:
        """6.7.6.3p7 and p8: arrays and functions are passed by address."""
        match given.type:
            case Array(of=of):
                made: CType = Pointer(of, self.abi.pointer_size, given.const)
            case FunctionType():
                made = Pointer(given.type, self.abi.pointer_size)
            case Opaque() if given.transparent:
                union = self.names.complete(given.type)
                made = union.fields[0].type if isinstance(union, Record) else given.type
            case _:
                return given
        return Qualified(made, depth=given.depth)

    # ---- members ----

    def members(self) -> list[tuple[Declared, Specifiers]]:
        """Read a record's members, from ``{`` to ``}``, 6.7.2.1."""
        self.expect("{")
        found: list[tuple[Declared, Specifiers]] = []
        while not self.accept("}"):
            if self.accept(";"):
                continue
            if self.words[self.at] in words.STATIC_ASSERT:
                self.at += 1
                self.past_brackets()
                continue
            specifiers = self.specifiers()
            if self.words[self.at] == ";":
                if specifiers.tag is not None and isinstance(specifiers.type.type, Opaque):
                    unnamed = Declared("", specifiers.type, self.at, specifiers.attributes)
                    found.append((unnamed, specifiers))
                continue
            while True:
                found.append((self._member(specifiers), specifiers))
                if not self.accept(","):
                    break
            if self.words[self.at] != "}":
                self.expect(";")
        return found

    def _member(self, specifiers: Specifiers) -> Declared:
        if self.words[self.at] == ":":
            member = Declared("", specifiers.type, self.at, merged(specifiers.attributes))
        else:
            member = self.declarator(specifiers)
        if self.accept(":"):
            member.bits = self.number("a bit-field's width")
            self._trailing(member.attributes)
        return member


def _is_void(parameter: Declared) -> bool:
    return isinstance(parameter.type.type, Void)
