"""Macros, expanded as ISO C17 6.10.3 says, for the values that they stand for.

The declarations of a preprocessed header have none left. But its constants are macros
of macros (``#define SQLITE_IOERR_READ (SQLITE_IOERR | (1<<8))``), and a preprocessor
expands what a text uses, not what it defines.
"""

from __future__ import annotations

from collections.abc import Mapping

from libferry.contract.tokens import Macro, words_of

MOST_WORDS = 20_000  # of one expansion: a few short macros can double each other for ever
DEEPEST = 100  # macros that expand to one another


class TooMuch(Exception):
    """An expansion does not end within reason. Internal to the package."""


def expand(words: list[str], macros: Mapping[str, Macro]) -> list[str]:
    """Expand all macros among some words.

    Raises:
        TooMuch: it gets longer than anybody means it to.
    """
    return _Expansion(macros).expand(words, frozenset())


class _Expansion:
    def __init__(self, macros: Mapping[str, Macro]) -> None:
        self.macros = macros
        self.budget = MOST_WORDS

    def expand(self, words: list[str], active: frozenset[str]) -> list[str]:
        """``active`` are the macros that these words came from: they are left alone."""
        result: list[str] = []
        at = 0
        while at < len(words):
            word = words[at]
            at += 1
            macro = self.macros.get(word)
            if len(active) > DEEPEST:
                raise TooMuch
            if macro is None or word in active:
                self._spend(1)
                result.append(word)
                continue
            arguments: list[list[str]] = []
            if macro.parameters is not None:
                if at >= len(words) or words[at] != "(":
                    result.append(word)
                    continue
                at, arguments = _arguments(words, at)
            body = self._substitute(macro, arguments, active)
            self._spend(1 + len(body))
            made = self.expand(body, active | {word})
            if made and at < len(words) and words[at] == "(" and self._takes_arguments(made[-1]):
                words = [made.pop(), *words[at:]]
                at = 0
            result += made
        return result

    def _takes_arguments(self, word: str) -> bool:
        macro = self.macros.get(word)
        return macro is not None and macro.parameters is not None

    def _spend(self, words: int) -> None:
        self.budget -= words
        if self.budget < 0:
            raise TooMuch

    def _substitute(
        self, macro: Macro, arguments: list[list[str]], active: frozenset[str]
    ) -> list[str]:
        body = words_of(macro.body)
        if macro.parameters is None:
            return _pasted([[word] for word in body])
        given = _by_name(macro.parameters, arguments)
        parts: list[list[str]] = []
        position = 0
        while position < len(body):
            word = body[position]
            following = body[position + 1] if position + 1 < len(body) else ""
            if word == "#" and following in given:
                text = " ".join(given[following]).replace("\\", "\\\\").replace('"', '\\"')
                parts.append([f'"{text}"'])
                position += 2
                continue
            if word in given:
                beside_paste = following == "##" or (position and body[position - 1] == "##")
                argument = given[word]
                self._spend(len(argument))
                parts.append(argument if beside_paste else self.expand(argument, active))
            else:
                parts.append([word])
            position += 1
        return _pasted(parts)


def _arguments(words: list[str], at: int) -> tuple[int, list[list[str]]]:
    """The arguments from ``(`` at ``at``, and the word behind them."""
    arguments: list[list[str]] = [[]]
    depth = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "(":
            depth += 1
            if depth == 1:
                continue
        elif word == ")":
            depth -= 1
            if depth == 0:
                break
        elif word == "," and depth == 1:
            arguments.append([])
            continue
        arguments[-1].append(word)
    return at, arguments


def _by_name(parameters: tuple[str, ...], arguments: list[list[str]]) -> dict[str, list[str]]:
    given: dict[str, list[str]] = {}
    for position, name in enumerate(parameters):
        if name.endswith("..."):
            rest: list[str] = []
            for number, argument in enumerate(arguments[position:]):
                rest += [","] * bool(number) + argument
            given[name[:-3].strip() or "__VA_ARGS__"] = rest
        else:
            given[name] = arguments[position] if position < len(arguments) else []
    return given


def _pasted(parts: list[list[str]]) -> list[str]:
    """Carry out ``##``: the last word before and the first behind become one."""
    result: list[str] = []
    paste = False
    for part in parts:
        if part == ["##"]:
            paste = True
            continue
        if paste and result and part:
            result[-1] += part[0]
            result += part[1:]
        else:
            result += part
        paste = False
    return result
