"""The grammar of declarations, ISO C17 6.7, with what compilers add to it.

A declaration is specifiers (``static const unsigned long``) and declarators
(``*names[4]``), which C reads from the name outwards: brackets and parentheses behind
it first, then the stars before it. A declarator is kept as a list of such steps, in that
order, and applied to the specifiers' type from its far end.

Why not a parser of C? A header needs no statements, and there is none for Python that
keeps attributes at their places or goes on after what it does not know; and reading a
declaration only when it is asked for, which makes a header of five megabytes usable,
has to begin here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, NoReturn, Protocol

from libferry.abi import Abi, Array, CType, FunctionType, Opaque, Pointer, Record
from libferry.abi.types import Convention
from libferry.contract import arithmetic, words
from libferry.contract.attributes import Attributes, Meaning
from libferry.contract.expressions import Constant, NotConstant, evaluate, integer
from libferry.contract.tokens import TRIED, Tokens
from libferry.errors import DeclarationError, UnsupportedDeclaration

_NUMBERED = frozenset(
    f"{before}{name}{before}"
    for name in ("aligned", "align", "vector_size", "ext_vector_type", "neon_vector_type")
    for before in ("", "__")
)
MOST_STEPS = 60  # pointers, arrays and functions in one type; C asks for 12 (5.2.4.1)
_HINT = "give plain C declarations, each ended by a semicolon"


@dataclass(frozen=True, slots=True)
class Qualified:
    """A type with what C keeps beside it.

    ``aligned`` is what a typedef asked for: unlike a member's own it may be less than
    the type needs. ``transparent`` marks a union that is passed as its first member.
    ``depth`` counts the types within the type.
    """

    type: CType
    const: bool = False
    aligned: int | None = None
    transparent: bool = False
    depth: int = 0


@dataclass(slots=True)
class Specifiers:
    """What comes before the declarators, and holds for each of them."""

    type: Qualified
    storage: set[str]
    attributes: Attributes
    tag: int | None = None  # the word of a struct, union or enum without a name


@dataclass(slots=True)
class Declared:
    """One declarator: a name (or none) and its type."""

    name: str
    type: Qualified
    at: int
    attributes: Attributes
    parameters: list[Declared] | None = None  # if it is a function's own declarator
    bits: int | None = None


@dataclass(slots=True)
class _Step:
    """One step from a name outwards."""

    kind: Literal["pointer", "block", "array", "function", "convention"]
    const: bool = False
    at: int = 0  # an array's length is there,
    end: int = 0  # up to here
    parameters: list[Declared] = field(default_factory=list)
    variadic: bool = False
    convention: Convention | None = None


class Names(Protocol):
    """What the parser has to ask for: the meaning of names."""

    abi: Abi

    def typedef(self, name: str) -> Qualified | None:
        """The type of that name, or None."""

    def is_typedef(self, name: str) -> bool:
        """Whether it names a type."""

    def tag(self, keyword: str, at: int, name: str, tokens: Tokens) -> Qualified:
        """A struct, union or enum, by its tag, or by its place if it has none."""

    def constant(self, name: str) -> Constant | None:
        """An enumerator or a macro."""

    def object_type(self, name: str) -> CType | None:
        """The type of a variable or function."""

    def complete(self, ctype: CType) -> CType:
        """The type with its records in full."""

    def size_of(self, ctype: CType) -> int:
        """``sizeof``."""

    def alignment_of(self, ctype: CType) -> int:
        """``_Alignof``."""

    def offset_of(self, ctype: CType, member: str) -> int:
        """``offsetof``."""


class Parser:
    """Reads from one word of a header on."""

    def __init__(self, names: Names, tokens: Tokens, at: int) -> None:
        self.names = names
        self.abi = names.abi
        self.tokens = tokens
        self.words = tokens.words
        self.at = at
        self.depth = 0

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
            self.fail(f"{word!r} is expected here{self._instead()}")
        self.at += 1

    def _instead(self) -> str:
        found = self.words[self.at]
        return f", not {found!r}" if found else ", where the text ends"

    def _accept(self, word: str) -> bool:
        if self.words[self.at] == word:
            self.at += 1
            return True
        return False

    def _past_brackets(self) -> None:
        """Go past a bracket and all up to the one that closes it."""
        closing = self.tokens.closing.get(self.at)
        if closing is None:
            self.fail(f"'(' is expected here{self._instead()}")
        self.at = closing + 1

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
                self._past_brackets()
        elif word in words.ALIGNAS:
            self.at += 1
            self._alignas(into)
        elif word in words.MEANINGS:
            self._meaning(into)
        elif word == "[" and self.words[self.at + 1] == "[":
            self._past_brackets()  # C23's [[...]] changes no call and no layout
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
        self._past_brackets()
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
            into.note(word.strip("_"), number, arguments, self.abi.cpu)

    def _argument(self, start: int, end: int) -> int | None:
        """The value of an attribute's argument, if it has one."""
        reader = Parser(self.names, self.tokens, start)
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
        self._past_brackets()

    def _meaning(self, into: Attributes) -> None:
        at = self.at
        kind = words.MEANINGS[self.words[at]]
        argument: tuple[str, ...] = ()
        self.at += 1
        if self.words[self.at] == "(":
            argument = tuple(self.words[self.at + 1 : self.tokens.closing[self.at]])
            self._past_brackets()
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
            self.fail(f"a type is expected here{self._instead()}", start)
        try:
            return Qualified(arithmetic.named(self.abi, given))
        except arithmetic.NoType as reason:
            if reason.known:
                self.refuse(str(reason), "leave out what uses it")
            self.fail(str(reason), start)

    def _unknown_type(self, start: int) -> NoReturn:
        word = self.words[self.at]
        following = self.words[self.at + 1]
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
        if keyword == "enum" and self.words[self.at] == ":":
            self.at += 1
            self.specifiers()
        body = self.words[self.at] == "{"
        if body:
            self._past_brackets()
            self.attributes(own)
        elif not name:
            self.fail(f"{keyword} has neither a name nor members", at)
        else:  # ``struct s __stdcall f(void)``: no part of the type, but of the declaration
            _merge(attributes, behind)
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
        self._past_brackets()
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
        reader = _Declarator(self, attributes, abstract=parameter or not named)
        steps = reader.level()
        self._trailing(attributes)
        if named and not reader.name:
            self.fail(f"a name is expected here{self._instead()}", self.at)
        before = specifiers.attributes
        if before.convention:  # it is for the first function from the name on
            steps = [_Step("convention", convention=before.convention), *steps]
        base = self._resized(specifiers.type, before, attributes)
        own = _merged(before, attributes)
        made = self._apply(base, steps, attributes.convention, parameter=parameter)
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
                self._past_brackets()
                literals = [w for w in self.words[at + 1 : self.at - 1] if w[:1] == '"']
                attributes.label = "".join(w[1:-1] for w in literals)
            elif not self.attribute(attributes):
                return

    def _resized(self, base: Qualified, *given: Attributes) -> Qualified:
        """The declared type, with the modes and vectors that attributes make of it."""
        made = base.type
        try:
            for attributes in given:
                if attributes.mode is not None:
                    made = arithmetic.mode(self.abi, made, attributes.mode)
                if attributes.vector is not None:
                    made = arithmetic.vector(made, attributes.vector)
                elif attributes.elements is not None:
                    made = arithmetic.vector_of(made, attributes.elements)
        except arithmetic.NoType as reason:
            self.refuse(str(reason), "leave out what uses it")
        return replace(base, type=made)

    def _apply(
        self,
        base: Qualified,
        steps: list[_Step],
        convention: Convention | None,
        *,
        parameter: bool,
    ) -> Qualified:
        """The type that the steps, from the name outwards, make of ``base``."""
        _settle_conventions(steps, convention)
        made = base
        deepest = max((p.type.depth for s in steps for p in s.parameters), default=0)
        depth = max(base.depth, deepest) + len(steps)
        if depth > MOST_STEPS:
            self.fail(f"a type is made of more than {MOST_STEPS} others")
        for position in range(len(steps) - 1, -1, -1):
            step = steps[position]
            match step.kind:
                case "pointer":
                    pointer = Pointer(made.type, self.abi.pointer_size, made.const)
                    made = Qualified(pointer, step.const)
                case "block":
                    made = Qualified(Pointer(Opaque("block"), self.abi.pointer_size), step.const)
                case "array":
                    # a parameter's own length has no meaning, and may name other parameters
                    ignored = parameter and position == 0
                    length = None if ignored else self._length(step.at, step.end, parameter)
                    made = replace(made, type=Array(made.type, length))
                case "function":
                    made = Qualified(
                        FunctionType(
                            made.type,
                            tuple(p.type.type for p in step.parameters),
                            step.variadic,
                            self._effective(step.convention, step.variadic),
                        )
                    )
        if not any(step.kind == "function" for step in steps):
            given = [step.convention for step in steps if step.convention]
            if found := given[0] if given else convention:
                made = replace(made, type=self._called(made.type, found))
        return replace(made, depth=depth) if steps else made

    def _effective(self, convention: Convention | None, variadic: bool) -> Convention:
        """Only i386 has several, and a function with varargs cannot pop them."""
        if variadic or self.abi.cpu != "i386" or convention is None:
            return "cdecl"
        return convention

    def _called(self, ctype: CType, convention: Convention) -> CType:
        """``WINAPI fn_t f;``: the convention is for a function that a typedef names."""
        match ctype:
            case FunctionType():
                return replace(ctype, convention=self._effective(convention, ctype.variadic))
            case Pointer(to=FunctionType()):
                return replace(ctype, to=self._called(ctype.to, convention))
        return ctype

    def _length(self, at: int, end: int, parameter: bool) -> int | None:
        """An array's length; None if it has none."""
        if at == end:
            return None
        reader = Parser(self.names, self.tokens, at)
        try:
            length = integer(reader)
        except NotConstant as reason:
            if parameter:
                return None  # of an inner dimension: only its address is passed
            reader.fail(
                f"an array's length is not a constant: {reason}",
                at,
                "give it as a number, or define its names",
            )
        if reader.at != end:
            reader.fail(f"']' is expected here{reader._instead()}")
        if length < 0:
            reader.fail("an array's length is negative", at)
        return length

    def parameter_list(self) -> tuple[list[Declared], bool]:
        """Read a function's parameters, from ``(`` to ``)``, 6.7.6.3."""
        self.expect("(")
        parameters: list[Declared] = []
        variadic = False
        if self._accept(")"):
            return parameters, variadic
        while True:
            if self._accept("..."):
                variadic = True
                break
            parameters.append(self._parameter())
            if not self._accept(","):
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
        while not self._accept("}"):
            if self._accept(";"):
                continue
            if self.words[self.at] in words.STATIC_ASSERT:
                self.at += 1
                self._past_brackets()
                continue
            specifiers = self.specifiers()
            if self.words[self.at] == ";":
                if specifiers.tag is not None and isinstance(specifiers.type.type, Opaque):
                    unnamed = Declared("", specifiers.type, self.at, specifiers.attributes)
                    found.append((unnamed, specifiers))
                continue
            while True:
                found.append((self._member(specifiers), specifiers))
                if not self._accept(","):
                    break
            if self.words[self.at] != "}":
                self.expect(";")
        return found

    def _member(self, specifiers: Specifiers) -> Declared:
        if self.words[self.at] == ":":
            member = Declared("", specifiers.type, self.at, _merged(specifiers.attributes, None))
        else:
            member = self.declarator(specifiers)
        if self._accept(":"):
            member.bits = self.number("a bit-field's width")
            self._trailing(member.attributes)
        return member


class _Declarator:
    """One declarator while it is read."""

    def __init__(self, parser: Parser, attributes: Attributes, *, abstract: bool) -> None:
        self.parser = parser
        self.attributes = attributes
        self.abstract = abstract
        self.name = ""
        self.at = 0

    def level(self) -> list[_Step]:
        """Read one level of parentheses: its steps, from the name outwards."""
        parser = self.parser
        before: list[_Step] = []
        while True:
            word = parser.words[parser.at]
            if word in ("*", "^"):
                before.append(_Step("pointer" if word == "*" else "block"))
                parser.at += 1
                continue
            if word in words.QUALIFIERS or word == words.ATOMIC:
                if before and word in words.CONST:
                    before[-1].const = True
                parser.at += 1
                continue
            noted = Attributes()
            if word == "[" or not parser.attribute(noted):
                break
            if noted.convention:
                before.append(_Step("convention", convention=noted.convention))
                noted.convention = None
            _merge(self.attributes, noted)
        stars = [i for i, step in enumerate(before) if step.kind != "convention"]
        last = stars[-1] + 1 if stars else 0
        inner = self._direct()
        suffixes = self._suffixes()
        return inner + before[last:] + suffixes + before[:last][::-1]

    def _direct(self) -> list[_Step]:
        parser = self.parser
        word = parser.words[parser.at]
        if word == "(" and not self.name and not self._is_parameters():
            parser.at += 1
            steps = self.level()
            parser.expect(")")
            return steps
        if is_identifier(word) and not self.name and not is_word(word):
            self.name = word
            self.at = parser.at
            parser.at += 1
        return []

    def _is_parameters(self) -> bool:
        """Whether ``(`` begins the parameters of a function without a name."""
        if not self.abstract:
            return False
        parser = self.parser
        word = parser.words[parser.at + 1]
        if word in words.ATTRIBUTE or word in words.CONVENTIONS:
            return False
        return word in (")", "...") or parser.starts_type(parser.at + 1) or word in words.STORAGE

    def _suffixes(self) -> list[_Step]:
        parser = self.parser
        steps: list[_Step] = []
        while True:
            word = parser.words[parser.at]
            if word == "[" and parser.words[parser.at + 1] == "[":
                parser.attribute(self.attributes)
            elif word == "[":
                at = parser.at
                closing = parser.tokens.closing[at]
                start = at + 1
                while parser.words[start] == "static" or parser.words[start] in words.QUALIFIERS:
                    start += 1
                steps.append(_Step("array", at=start, end=closing))
                parser.at = closing + 1
            elif word == "(":
                parameters, variadic = parser.parameter_list()
                steps.append(_Step("function", parameters=parameters, variadic=variadic))
            else:
                return steps


def _settle_conventions(steps: list[_Step], trailing: Convention | None) -> None:
    """Tell each function which convention was written for it.

    ``int (__stdcall *f)(int)``: the word is for the next function outwards. One behind
    the whole declarator, GNU's way, is for the first.
    """
    functions = [i for i, step in enumerate(steps) if step.kind == "function"]
    for position, step in enumerate(steps):
        if step.kind == "convention" and functions:
            outwards = [i for i in functions if i > position]
            target = steps[outwards[0] if outwards else functions[-1]]
            target.convention = target.convention or step.convention
    if trailing and functions:
        steps[functions[0]].convention = trailing


def _is_void(parameter: Declared) -> bool:
    from libferry.abi import Void

    return isinstance(parameter.type.type, Void)


def _merge(into: Attributes, other: Attributes) -> None:
    into.packed |= other.packed
    into.transparent |= other.transparent
    if other.aligned is not None:
        into.align(other.aligned)
    into.vector = other.vector if other.vector is not None else into.vector
    into.elements = other.elements if other.elements is not None else into.elements
    into.mode = other.mode or into.mode
    into.convention = other.convention or into.convention
    into.refused = other.refused or into.refused
    into.label = other.label or into.label
    into.meanings += other.meanings


def _merged(before: Attributes, behind: Attributes | None) -> Attributes:
    """The attributes of one declarator: those of all, and its own."""
    result = Attributes()
    _merge(result, before)
    if behind:
        _merge(result, behind)
    return result


def is_identifier(word: str) -> bool:
    """Whether a word is a name or a keyword."""
    first = word[:1]
    return first.isalpha() or first in ("_", "$")


def is_word(word: str) -> bool:
    """Whether a name is one of C's or its compilers' words."""
    return (
        word in words.TYPE_WORDS
        or word in words.STORAGE
        or word in words.TAGS
        or word in words.QUALIFIERS
        or word in words.ASM
        or word in words.ATTRIBUTE
    )
