"""C declarations to signatures and types, for one ABI.

``declare`` reads declarations as people write them, all at once. ``Reader`` is behind
it, and behind headers that went through a preprocessor: it gives the meaning of one
name at a time, by reading the declaration that the outline found for it.
"""

from __future__ import annotations

from functools import lru_cache

from libferry.abi import ABIS, CType
from libferry.contract.header import Header
from libferry.contract.plain_words import without_macros
from libferry.contract.reader import Known, Reader
from libferry.contract.syntax import Parser
from libferry.contract.tokens import TRIED, plain, tokenize
from libferry.errors import DeclarationError


def declare(text: str, abi_name: str, known: Known = ()) -> Header:
    """Read C declarations for one ABI.

    Args:
        text: declarations and typedefs, as in a header that needs no preprocessor.
        abi_name: a key of ``libferry.abi.ABIS``.
        known: a header read before, or named types.

    Raises:
        DeclarationError: the text is not C that can be read without a preprocessor.
        UnsupportedDeclaration: a function cannot be called; the reason is named.
    """
    if isinstance(known, Header):  # which may be large, and must not live as long as we do
        return _declare(text, abi_name, known)
    return _declare_once(text, abi_name, known)


def _declare(text: str, abi_name: str, known: Known) -> Header:
    try:
        return _reader(text, abi_name, known).everything()
    except RecursionError:
        raise _too_deep() from None


_declare_once = lru_cache(maxsize=256)(_declare)


def parse_type(text: str, abi_name: str, known: Known = ()) -> CType:
    """Read one C type, such as ``sqlite3 *`` or ``struct point[3]``.

    Raises:
        DeclarationError: it is not a type, or names one that nobody has declared.
    """
    tried = f"read the C type {text!r}"
    try:
        reader = _reader("", abi_name, known)
        tokens = without_macros(tokenize(plain(text), "type"))
        tokens.words.extend(("", ""))
        parser = Parser(reader, tokens, 0)
        ctype = parser.read_type()
    except DeclarationError as error:
        raise DeclarationError(tried, error.happened, hint=error.hint) from None
    except RecursionError:
        raise _too_deep() from None
    if parser.words[parser.at]:
        raise DeclarationError(tried, "it is not a type name", hint="for example: 'sqlite3 *'")
    return ctype


def _reader(text: str, abi_name: str, known: Known) -> Reader:
    tokens = without_macros(tokenize(plain(text)))
    return Reader(ABIS[abi_name], tokens, known, strict=True)


def _too_deep() -> DeclarationError:
    return DeclarationError(TRIED, "nested too deeply", hint="give plain C declarations")
