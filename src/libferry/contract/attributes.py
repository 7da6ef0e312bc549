"""What stands beside a declaration: attributes, conventions, and libferry's own words.

C puts them almost anywhere. ``struct __attribute__((packed)) s``, ``} __attribute__
((packed));``, ``int (__stdcall *f)(int)`` and ``int f(int) __attribute__((stdcall))``
mean something by their place; what is only for an optimiser or a linter is passed over.
An attribute that changes a call or a layout and is not known here must not be passed
over: it is noted, and refused when what it belongs to is used.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from libferry.abi import Abi
from libferry.abi.types import Convention
from libferry.contract.words import (
    CONVENTION_ATTRIBUTES,
    OTHER_CALL_ATTRIBUTES,
    OTHER_LAYOUT_ATTRIBUTES,
)

# What `__attribute__((aligned))` without a number means, by CPU: Clang's
# DefaultAlignForAttributeAligned (clang/lib/Basic/Targets), 16 unless here.
MOST_ALIGNED = {"arm": 8}


@dataclass(frozen=True, slots=True)
class Meaning:
    """One of libferry's words: its kind, as in ``words.MEANINGS``, and its argument."""

    kind: str
    argument: tuple[str, ...]
    place: str


@dataclass
class Attributes:
    """All attributes of one thing.

    Attributes:
        packed: members have no padding before them.
        aligned: bytes; None if not given.
        vector: bytes of a vector of the declared type.
        elements: the same in elements.
        mode: a machine mode, such as ``DI``, in place of the declared type's size.
        convention: how a function is called.
        transparent: a union that is passed as its first member.
        refused: a word that changes calls or layouts in a way that is not followed.
        label: the symbol's name, from ``__asm__("name")``.
        meanings: libferry's own words.
    """

    packed: bool = False
    aligned: int | None = None
    vector: int | None = None
    elements: int | None = None
    mode: str | None = None
    convention: Convention | None = None
    transparent: bool = False
    refused: str | None = None
    label: str | None = None
    meanings: list[Meaning] = field(default_factory=list)

    def align(self, value: int) -> None:
        """The strictest of several counts, 6.7.5p6; 0 has no effect there."""
        self.aligned = max(value, self.aligned or 0)

    def note(self, word: str, number: int | None, words: list[str], abi: Abi) -> None:
        """Note one attribute by its name without underscores.

        ``words`` are its arguments, and ``number`` is their value if they have one.
        """
        match word:
            case "packed":
                self.packed = True
            case "aligned" | "align" if not words:
                self.align(MOST_ALIGNED.get(abi.cpu, 16))
            case "aligned" | "align" if number is not None:
                self.align(number)
            case "aligned" | "align":
                self.refused = f"aligned({' '.join(words)})"
            case "vector_size" if number is not None:
                self.vector = number
            case "ext_vector_type" | "neon_vector_type" if number is not None:
                self.elements = number
            case "mode" if words:
                self.mode = words[0].strip("_")
            case "transparent_union":
                self.transparent = True
            case _ if word in CONVENTION_ATTRIBUTES:
                self.convention = CONVENTION_ATTRIBUTES[word]
            case "ms_abi" | "sysv_abi" if (word == "ms_abi") != ("windows" in abi.os):
                self.refused = word
            case "pcs" if words and words[0].strip('"') != "aapcs-vfp":
                self.refused = f"pcs({words[0]})"
            case _ if word in OTHER_CALL_ATTRIBUTES or word in OTHER_LAYOUT_ATTRIBUTES:
                self.refused = word

    def merge(self, other: Attributes) -> None:
        """Take over what another set has."""
        self.packed |= other.packed
        self.transparent |= other.transparent
        if other.aligned is not None:
            self.align(other.aligned)
        self.vector = other.vector if other.vector is not None else self.vector
        self.elements = other.elements if other.elements is not None else self.elements
        self.mode = other.mode or self.mode
        self.convention = other.convention or self.convention
        self.refused = other.refused or self.refused
        self.label = other.label or self.label
        self.meanings += other.meanings


def merged(*given: Attributes) -> Attributes:
    """The attributes of one declarator: those of all in its declaration, and its own."""
    result = Attributes()
    for attributes in given:
        result.merge(attributes)
    return result
