"""C's arithmetic types, from the words that name them; and vectors of them.

Sources: ISO C17 6.7.2p2 (which words make one type), Annex H of C23 for ``_Float64``
and its like, GCC's manual, "Extended Asm ... Machine Modes" and "Vector Extensions".
"""

from __future__ import annotations

from libferry.abi import Abi, Boolean, Complex, CType, Integer, Pointer, Real, Vector, Void

FLOAT = Real("float", 4, "binary32")
DOUBLE = Real("double", 8, "binary64")
FLOAT128 = Real("_Float128", 16, "binary128")

WIDEST_VECTOR = 64  # bytes: AVX-512's

_UNUSABLE = {
    "_Float16": "16-bit floating point",
    "__bf16": "16-bit floating point",
    "__ibm128": "IBM's long double",
    "_Decimal32": "decimal floating point",
    "_Decimal64": "decimal floating point",
    "_Decimal128": "decimal floating point",
    "_Imaginary": "an imaginary number",
}

# https://gcc.gnu.org/onlinedocs/gccint/Machine-Modes.html; bytes of an integer
_INTEGER_MODES = {"QI": 1, "HI": 2, "SI": 4, "DI": 8, "TI": 16, "byte": 1}
_REAL_MODES = {"SF": FLOAT, "DF": DOUBLE, "TF": FLOAT128}


class NoType(Exception):
    """The words make no type, or one that cannot be used. Internal to the package.

    ``known`` says that it is C, and only cannot be passed.
    """

    def __init__(self, message: str, *, known: bool = False) -> None:
        super().__init__(message)
        self.known = known


def named(abi: Abi, words: list[str]) -> CType:
    """The type of these words, in any order, such as ``long unsigned int long``.

    Raises:
        NoType: they make none, or none of this ABI.
    """
    rest = sorted(word for word in words if word not in ("signed", "unsigned"))
    unusable = next((word for word in rest if word in _UNUSABLE), None)
    if unusable:
        raise NoType(f"{unusable} ({_UNUSABLE[unusable]}) cannot be passed", known=True)
    marks = [word for word in words if word in ("signed", "unsigned")]
    if "_Complex" in rest and not marks:
        rest.remove("_Complex")
        part = _plain(abi, rest or ["double"], [], words)
        if isinstance(part, Real):
            return Complex(f"{part.name} _Complex", part)
        raise NoType(f"{' '.join(words)!r} is not a type that can be passed", known=True)
    return _plain(abi, rest, marks, words)


def _plain(abi: Abi, rest: list[str], marks: list[str], words: list[str]) -> CType:
    signed = "unsigned" not in marks
    if len(set(marks)) <= 1:
        match rest:
            case ["void"] if not marks:
                return Void()
            case ["_Bool"] if not marks:
                return Boolean()
            case ["float"] if not marks:
                return FLOAT
            case ["double"] if not marks:
                return DOUBLE
            case ["double", "long"] if not marks:
                return abi.long_double
            case ["_Float64x"] if not marks:
                return abi.long_double if abi.long_double.size > 8 else FLOAT128
            case ["_Float128"] if not marks:
                return FLOAT128
            case ["char"]:
                name = "char" if not marks else "signed char" if signed else "unsigned char"
                return Integer(name, 1, signed if marks else abi.char_signed, not marks)
            case ["__int128"]:
                if not abi.int128:
                    raise NoType(f"{abi.name} has no __int128", known=True)
                return Integer("__int128" if signed else "unsigned __int128", 16, signed)
            case ["short"] | ["int", "short"]:
                return integer(abi, "short", signed)
            case [] | ["int"]:
                return integer(abi, "int", signed)
            case ["long"] | ["int", "long"]:
                return integer(abi, "long", signed)
            case ["long", "long"] | ["int", "long", "long"]:
                return integer(abi, "long long", signed)
    raise NoType(f"{' '.join(words)!r} is not a type")


def integer(abi: Abi, name: str, signed: bool) -> Integer:
    """``short``, ``int``, ``long`` or ``long long``."""
    return Integer(name if signed else f"unsigned {name}", abi.sizes[name], signed)


def word(abi: Abi, *, signed: bool) -> Integer:
    """The C type that is as wide as a pointer: size_t is that, without its sign."""
    name = next(n for n in ("int", "long", "long long") if abi.sizes[n] == abi.pointer_size)
    return integer(abi, name, signed)


def of_size(abi: Abi, size: int, signed: bool) -> Integer:
    """The integer type of that many bytes."""
    match size:
        case 1:
            return Integer("signed char" if signed else "unsigned char", 1, signed)
        case 16:
            return Integer("__int128" if signed else "unsigned __int128", 16, signed)
    name = next(n for n in ("short", "int", "long", "long long") if abi.sizes[n] == size)
    return integer(abi, name, signed)


def mode(abi: Abi, ctype: CType, name: str) -> CType:
    """``__attribute__((mode(name)))``: another size for a type.

    Raises:
        NoType: there is no such mode, or no such type.
    """
    if isinstance(ctype, Integer):
        size = abi.pointer_size if name in ("word", "pointer") else _INTEGER_MODES.get(name)
        if size is not None:
            return of_size(abi, size, ctype.signed)
    if isinstance(ctype, Real) and name == "XF" and abi.long_double.form == "x87":
        return abi.long_double
    if isinstance(ctype, Real) and name in _REAL_MODES:
        return _REAL_MODES[name]
    if isinstance(ctype, Complex) and name in ("SC", "DC", "XC", "TC"):
        part = mode(abi, ctype.part, f"{name[0]}F")
        assert isinstance(part, Real)
        return Complex(f"{part.name} _Complex", part)
    raise NoType(f"{ctype.name} has no mode {name}", known=True)


def vector(of: CType, size: int) -> Vector:
    """``__attribute__((vector_size(size)))``.

    Raises:
        NoType: there is no such vector.
    """
    if isinstance(of, Pointer) or not isinstance(of, Integer | Real):
        raise NoType(f"there is no vector of {of.name}", known=True)
    if size & (size - 1) or not of.size <= size <= WIDEST_VECTOR:
        raise NoType(f"a vector of {size} bytes cannot be passed", known=True)
    return Vector(f"{of.name} __attribute__((vector_size({size})))", of, size)


def vector_of(of: CType, elements: int) -> Vector:
    """``__attribute__((ext_vector_type(elements)))``.

    Raises:
        NoType: there is no such vector.
    """
    if not isinstance(of, Integer | Real) or not 0 < elements <= WIDEST_VECTOR:
        raise NoType(f"there is no vector of {elements} {of.name}", known=True)
    return vector(of, elements * of.size)
