"""C declarations to signatures, by way of pycparser's syntax tree.

The parser must know which identifiers are types before it meets them. Those of
``known_types`` that a header mentions are announced to it as typedefs of int, and
get their true meaning here, where the target is known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from pycparser import c_ast, c_parser

from libferry.abi import (
    ABIS,
    Abi,
    Boolean,
    CallPlan,
    CType,
    Integer,
    Opaque,
    Pointer,
    Real,
    Void,
    lower,
)
from libferry.abi.lower import NoPlan
from libferry.abi.types import spell
from libferry.contract.clean import clean
from libferry.contract.known_types import known_types
from libferry.errors import DeclarationError, FerryError, UnsupportedDeclaration


@dataclass(frozen=True)
class Parameter:
    """One parameter; ``name`` is empty where the declaration gives none."""

    name: str
    type: CType


@dataclass(frozen=True)
class Signature:
    """One function as declared, and how to call it on one ABI."""

    name: str
    result: CType
    parameters: tuple[Parameter, ...]
    stdcall: bool
    plan: CallPlan
    variadic: bool = False

    def __str__(self) -> str:
        parts = [
            spell(p.type) + ("" if spell(p.type).endswith("*") else " ") + p.name
            if p.name
            else spell(p.type)
            for p in self.parameters
        ]
        result = spell(self.result)
        space = "" if result.endswith("*") else " "
        return f"{result}{space}{self.name}({', '.join(parts) or 'void'})"


@dataclass(frozen=True)
class Header:
    """The functions and the named types of one header, for one ABI."""

    functions: dict[str, Signature]
    types: dict[str, CType]


FUNCTION = Opaque("function")
_WORD = re.compile(r"[A-Za-z_]\w*")
_CONVERSIONS = {
    "$intptr": lambda abi: Integer(_word_name(abi, signed=True), abi.pointer_size, True),
    "$uintptr": lambda abi: Integer(_word_name(abi, signed=False), abi.pointer_size, False),
    "$wchar": lambda abi: Integer("wchar_t", abi.sizes["wchar_t"], abi.wchar_signed, True),
}


def _word_name(abi: Abi, *, signed: bool) -> str:
    """The C type that is as wide as a pointer: size_t is that, without its sign."""
    name = next(n for n in ("int", "long", "long long") if abi.sizes[n] == abi.pointer_size)
    return name if signed else f"unsigned {name}"


@lru_cache(maxsize=256)
def declare(text: str, abi_name: str, known: tuple[tuple[str, CType], ...] = ()) -> Header:
    """Read C declarations for one ABI.

    Args:
        text: declarations and typedefs, as in a header.
        abi_name: a key of ``libferry.abi.ABIS``.
        known: named types from headers read before.

    Raises:
        DeclarationError: the text is not C that can be read without a preprocessor.
        UnsupportedDeclaration: a function cannot be called yet; the reason is named.
    """
    cleaned = clean(text)
    names = known_types(ABIS[abi_name].os).keys() | {name for name, _ in known}
    tree = _parse(cleaned.text, names)
    reader = _Reader(ABIS[abi_name], dict(known), cleaned.stdcall)
    return reader.read(tree)


def parse_type(text: str, abi_name: str, known: tuple[tuple[str, CType], ...] = ()) -> CType:
    """Read one C type, such as ``sqlite3 *``.

    Raises:
        DeclarationError: it is not a type, or names one that nobody has declared.
    """
    if not re.fullmatch(r"[\w\s*]+", text):
        raise DeclarationError(
            f"read the C type {text!r}", "it is not a type name", hint="for example: 'sqlite3 *'"
        )
    header = declare(f"typedef {text} ferry_type;", abi_name, known)
    return header.types["ferry_type"]


def _parse(text: str, names: set[str]) -> c_ast.FileAST:
    typedefs = sorted(set(_WORD.findall(text)) & names)
    prelude = "".join(f"typedef int {name};" for name in typedefs)
    try:
        tree = c_parser.CParser().parse(f'{prelude}\n#line 1 "header"\n{text}', "header")
    except (c_parser.ParseError, RecursionError, AssertionError) as error:
        raise _not_c(text, names, str(error) or "nested too deeply") from None
    tree.ext = tree.ext[len(typedefs) :]
    return tree


_TYPE_PLACE = re.compile(r"(?:^|[;(,{}]|\bconst\b)\s*([A-Za-z_]\w*)\s*(?=[A-Za-z_*])")
_KEYWORDS = frozenset(
    {"auto", "char", "const", "double", "enum", "extern", "float", "inline", "int", "long"}
    | {"register", "restrict", "return", "short", "signed", "sizeof", "static", "struct"}
    | {"typedef", "union", "unsigned", "void", "volatile", "_Bool", "_Complex", "_Noreturn"}
)


def _not_c(text: str, names: set[str], complaint: str) -> DeclarationError:
    """A parser stops where it is lost; the usual reason is a type that nobody defined."""
    defined = set(re.findall(r"(\w+)\s*;", text)) if "typedef" in text else set()
    for match in _TYPE_PLACE.finditer(text):
        word = match[1]
        if word not in names and word not in _KEYWORDS and word not in defined:
            return DeclarationError(
                "read the declarations",
                f"line {text.count(chr(10), 0, match.start(1)) + 1}: {word!r} is not a known "
                f"type ({complaint})",
                hint=f"add its typedef in front, such as: typedef unsigned int {word}; or, if only "
                f"pointers to it are passed: typedef struct {word} {word};",
            )
    if complaint.endswith("At end of input"):
        complaint = "the last declaration is not finished: a ; or ) is missing"
    return DeclarationError(
        "read the declarations",
        complaint,
        hint="give plain C declarations, each ended by a semicolon",
    )


class _Reader:
    """Walks the syntax tree with one ABI's sizes at hand."""

    def __init__(self, abi: Abi, types: dict[str, CType], stdcall: frozenset[str]) -> None:
        self.abi = abi
        self.types = types
        self.standard = known_types(abi.os)
        self.stdcall = stdcall
        self.functions: dict[str, Signature] = {}

    def read(self, tree: c_ast.FileAST) -> Header:
        for node in tree.ext:
            if isinstance(node, c_ast.Typedef):
                self.types[node.name] = self.type_of(node.type)
            elif isinstance(node, c_ast.FuncDef):
                raise self.refuse(node.decl.name, "it has a body", "give declarations only")
            elif isinstance(node, c_ast.Decl) and isinstance(node.type, c_ast.FuncDecl):
                self.functions[node.name] = self.signature(node)
        return Header(self.functions, self.types)

    def refuse(self, name: str, reason: str, hint: str) -> FerryError:
        return UnsupportedDeclaration(f"declare {name}", reason, hint=hint)

    def signature(self, node: c_ast.Decl) -> Signature:
        name: str = node.name
        parameters = []
        for position, node_parameter in enumerate(node.type.args.params if node.type.args else ()):
            if isinstance(node_parameter, c_ast.EllipsisParam):
                raise self.refuse(
                    name, "varargs cannot be passed yet", "declare a function with fixed arguments"
                )
            if isinstance(node_parameter, c_ast.ID):
                raise DeclarationError(
                    f"declare {name}",
                    f"parameter {position + 1}: {node_parameter.name!r} is not a known type",
                    hint=f"add its typedef in front: typedef unsigned int {node_parameter.name};",
                )
            parameter = self.type_of(node_parameter.type)
            if isinstance(parameter, Void):
                continue  # f(void)
            if isinstance(parameter, Pointer) and parameter.to == FUNCTION:
                raise self.refuse(
                    name,
                    f"parameter {position + 1} is a callback, which cannot be passed yet",
                    "declare that parameter as void * and pass None, if it may be NULL",
                )
            parameters.append(Parameter(getattr(node_parameter, "name", None) or "", parameter))
        result = self.type_of(node.type.type)
        try:
            plan = lower(self.abi, result, tuple(p.type for p in parameters))
        except NoPlan as reason:
            raise self.refuse(
                name, str(reason), "pass it by pointer, or leave this function out of the header"
            ) from None
        return Signature(name, result, tuple(parameters), name in self.stdcall, plan)

    def type_of(self, node: c_ast.Node) -> CType:
        match node:
            case c_ast.TypeDecl():
                return self.type_of(node.type)
            case c_ast.PtrDecl() | c_ast.ArrayDecl():
                return Pointer(self.type_of(node.type), self.abi.pointer_size, is_const(node.type))
            case c_ast.FuncDecl():
                return FUNCTION
            case c_ast.Struct() | c_ast.Union():
                kind = "struct" if isinstance(node, c_ast.Struct) else "union"
                return Opaque(f"{kind} {node.name or 'without a name'}")
            case c_ast.Enum():
                return Integer(f"enum {node.name}" if node.name else "int", 4, True)
            case c_ast.IdentifierType():
                return self.named(node.names)
        raise DeclarationError(
            "read the declarations",
            f"{type(node).__name__} is not a type that can be passed",
            hint="use plain C types",
        )

    def named(self, words: list[str]) -> CType:
        if len(words) == 1 and (known := self.known(words[0])) is not None:
            return known
        return self.arithmetic(words)

    def known(self, name: str) -> CType | None:
        if name in self.types:
            return self.types[name]
        meaning = self.standard.get(name)
        if meaning is None:
            return None
        base = meaning.replace("const ", "").rstrip("* ")
        found = (
            _CONVERSIONS[base](self.abi) if base.startswith("$") else self.arithmetic(base.split())
        )
        for star in range(meaning.count("*")):
            readonly = star == 0 and meaning.startswith("const ")
            found = Pointer(found, self.abi.pointer_size, readonly)
        return found

    def arithmetic(self, words: list[str]) -> CType:
        """C17 6.7.2p2: the specifiers of one type, in any order."""
        rest = sorted(word for word in words if word not in ("signed", "unsigned"))
        signed = "unsigned" not in words
        match rest:
            case ["void"]:
                return Void()
            case ["_Bool"]:
                return Boolean()
            case ["float"]:
                return Real("float", 4, "binary32")
            case ["double"]:
                return Real("double", 8, "binary64")
            case ["char"]:
                plain = "signed" not in words and signed
                name = "char" if plain else "signed char" if signed else "unsigned char"
                return Integer(name, 1, self.abi.char_signed if plain else signed, plain)
            case ["short"] | ["int", "short"]:
                name = "short"
            case [] | ["int"]:
                name = "int"
            case ["long"] | ["int", "long"]:
                name = "long"
            case ["long", "long"] | ["int", "long", "long"]:
                name = "long long"
            case _:
                raise UnsupportedDeclaration(
                    "read the declarations",
                    f"{' '.join(words)!r} cannot be passed yet",
                    hint="integers, floating point and pointers can",
                )
        return Integer(name if signed else f"unsigned {name}", self.abi.sizes[name], signed)


def is_const(node: c_ast.Node) -> bool:
    """Whether what a pointer leads to is const: the qualifier sits on the pointee."""
    if isinstance(node, c_ast.ArrayDecl):
        return is_const(node.type)
    return "const" in (getattr(node, "quals", None) or ())
