"""From a header as people write it to text that a C99 parser accepts.

pycparser reads standard C without comments and without a preprocessor's work.
Headers for humans have both, and words of their compilers besides. What has no
meaning for a call is taken out here; what has (a calling convention) is noted;
what would need a real preprocessor is refused.

Everything keeps its line, so that a parser's complaint points to the right one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from libferry.errors import DeclarationError

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)
_DIRECTIVE = re.compile(r"^[ \t]*#[ \t]*(\w*)[ \t]*((?:[^\n]*\\\n)*[^\n]*)$", re.MULTILINE)
_CPLUSPLUS = re.compile(
    r"^[ \t]*#[ \t]*(?:ifdef[ \t]+__cplusplus|if[ \t]+defined[ \t(]+__cplusplus[ \t)]*)[ \t]*\n"
    r".*?^[ \t]*#[ \t]*endif[^\n]*$",
    re.MULTILINE | re.DOTALL,
)
# words of compilers that take an argument, up to two parentheses deep
_WITH_ARGUMENT = re.compile(
    r"\b(?:__attribute__|__attribute|__declspec|__asm__|__asm|asm|_Alignas|__nonnull)\s*"
    r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
)
_WITHOUT = re.compile(
    r"\b(?:__extension__|__inline__|__inline|__restrict__|__restrict|__const|__volatile__|"
    r"__noreturn|__cdecl|_cdecl|WINAPIV|WINBASEAPI|DECLSPEC_IMPORT|NTSYSAPI|CONST|IN|OUT|far|FAR|"
    r"_In_|_Out_|_Inout_|_In_opt_|_Out_opt_|_Inout_opt_|_In_z_)\b"
)
_REPLACED = {"CONST": "const", "__const": "const"}
_STDCALL = r"__stdcall|_stdcall|WINAPI|APIENTRY|CALLBACK|NTAPI|STDMETHODCALLTYPE|PASCAL"
_STDCALL_FUNCTION = re.compile(rf"\b(?:{_STDCALL})\s+(\w+)\s*\(")
_STDCALL_WORD = re.compile(rf"\b(?:{_STDCALL})\b")
_OTHER_CONVENTION = re.compile(
    r"\b(__fastcall|_fastcall|__thiscall|__vectorcall|__regcall|__pascal)\b"
)


@dataclass(frozen=True)
class CleanText:
    """C that a parser accepts, and the names of the functions marked stdcall."""

    text: str
    stdcall: frozenset[str]


def clean(header: str) -> CleanText:
    """Prepare ``header`` for the parser.

    Raises:
        DeclarationError: a preprocessor would be needed, or a calling convention is
            named that cannot be called yet.
    """
    if "/*" in _COMMENT.sub("", header):
        raise DeclarationError(
            "read the declarations", "a comment is not closed", hint="/* needs its */"
        )
    text = _COMMENT.sub(lambda match: _blank(match[0]) if match[0][0] == "/" else match[0], header)
    text = _CPLUSPLUS.sub(lambda match: _blank(match[0]), text)
    text = _DIRECTIVE.sub(_drop_directive, text)
    text = _WITH_ARGUMENT.sub(lambda match: _blank(match[0]), text)
    text = _WITHOUT.sub(lambda match: _REPLACED.get(match[0], " "), text)
    if convention := _OTHER_CONVENTION.search(text):
        raise DeclarationError(
            "read the declarations",
            f"{convention[1]} functions cannot be called yet",
            hint="cdecl and stdcall can; leave the others out of the header",
        )
    stdcall = frozenset(_STDCALL_FUNCTION.findall(text))
    return CleanText(_STDCALL_WORD.sub(" ", text), stdcall)


def _blank(text: str) -> str:
    """As many lines of nothing; at least a space, as C has it for comments."""
    return " " + "\n" * text.count("\n")


def _drop_directive(match: re.Match[str]) -> str:
    """Include guards and includes carry nothing for us; the rest would."""
    word, rest = match[1], match[2].strip()
    guard = word in ("ifndef", "define") and re.fullmatch(r"\w+", rest)
    if not guard and word not in ("include", "pragma", "endif", "undef", "line", "error", ""):
        raise DeclarationError(
            "read the declarations",
            f"#{word} needs a preprocessor: {match[0].strip().splitlines()[0]!r}",
            hint="run the header through one first (cc -E -P header.h), or give just the "
            "declarations that you call",
        )
    return _blank(match[0])
