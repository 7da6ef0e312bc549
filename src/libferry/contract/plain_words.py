"""What a header for humans may use without an include: its own macros, and Windows'.

A preprocessed header has no macros left. One that is read as it is may say ``#define
API __declspec(dllimport)``, and one written for Windows says ``WINAPI`` and ``_In_``
without ever including what defines them. Both become words of compilers here.
"""

from __future__ import annotations

from libferry.contract import words as w
from libferry.contract.macros import TooMuch, expand
from libferry.contract.tokens import TRIED, Macro, Tokens, link
from libferry.contract.words import is_identifier
from libferry.errors import DeclarationError

_CONVENTION = {"stdcall": "__stdcall", "cdecl": "__cdecl", "fastcall": "__fastcall"}
_KNOWN = w.SAL | w.WINDOWS_IGNORED | w.WINDOWS_CONVENTIONS.keys() | {"CONST"}


def without_macros(tokens: Tokens) -> Tokens:
    """Give the tokens with macros expanded; ``tokens`` itself, if there are none.

    Raises:
        DeclarationError: a macro expands to more than anybody means it to.
    """
    macros = {
        name: macro
        for name, macro in tokens.macros.items()
        if name not in w.MEANINGS and macro.body != name
    }
    used = set(tokens.words)
    if macros.keys() & used:
        tokens = _expanded(tokens, macros)
    _replace_windows(tokens, used)
    return tokens


def _expanded(tokens: Tokens, macros: dict[str, Macro]) -> Tokens:
    words, lines = tokens.words, tokens.lines
    made = Tokens(macros=tokens.macros, marks=tokens.marks, name=tokens.name)
    packs = iter([*tokens.packs, (len(words) + 1, None)])
    pack = next(packs)
    at = 0
    while at < len(words):
        while pack[0] <= at:
            made.packs.append((len(made.words), pack[1]))
            pack = next(packs)
        end = at + 1
        if words[at] in macros:
            if macros[words[at]].parameters is not None and words[end : end + 1] == ["("]:
                end = tokens.closing[end] + 1
            try:
                new = expand(words[at:end], macros)
            except TooMuch:
                raise DeclarationError(
                    TRIED,
                    f"{tokens.place(at)}: the macro {words[at]} expands to too many words",
                    hint="give plain C declarations",
                ) from None
        else:
            new = [words[at]]
        made.words += new
        made.lines += [lines[at]] * len(new)
        at = end
    link(made)
    return made


def _replace_windows(tokens: Tokens, used: set[str]) -> None:
    """Replace words in place by words of as many brackets."""
    if not (_KNOWN & used or any(word.startswith(w.SAL_PREFIXES) for word in used)):
        return
    words = tokens.words
    for at, word in enumerate(words):
        following = words[at + 1] if at + 1 < len(words) else ""
        if word in w.WINDOWS_CONVENTIONS:
            words[at] = _CONVENTION[w.WINDOWS_CONVENTIONS[word]]
        elif word == "CONST":
            words[at] = "const"
        elif word in w.SAL or (word.startswith(w.SAL_PREFIXES) and word.endswith("_")):
            words[at] = "__nonnull" if following == "(" else "__extension__"
        elif word in w.WINDOWS_IGNORED and (is_identifier(following) or _ends(words, at)):
            # IN is no annotation in `enum { IN, OUT }`
            words[at] = "__extension__"


def _ends(words: list[str], at: int) -> bool:
    """Whether the word stands behind a parameter's name, as OPTIONAL does."""
    return at > 0 and is_identifier(words[at - 1]) and words[at + 1 : at + 2] != ["="]
