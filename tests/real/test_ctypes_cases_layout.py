"""ctypes' test cases of layout: bit-fields above all, packed and anonymous members, unions.

After CPython's test_bitfields.py, test_generated_structs.py, test_structures.py,
test_anon.py and test_unions.py; see sides.py. What a bit-field's bits are is for each
compiler to say, so the expected bytes are those that the compiled C stores: here sizes,
each member's bytes, and whole structures that go to C by value and come back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

import libferry
from libferry.errors import ArgumentTypeError, ArgumentValueError

from .sides import SIDES, opened

WIDTHS = dict(zip("ABCDEFGHIMNOPQRS", [*range(1, 10), *range(1, 8)], strict=True))
INTS = " ".join(f"int {name}:{width};" for name, width in WIDTHS.items() if name < "M")
SHORTS = " ".join(f"short {name}:{width};" for name, width in WIDTHS.items() if name >= "M")

# A name and the body of a struct; "union" or a pragma in front where it is one.
BODIES = {
    "one": "int a;",
    "simple": "int32_t x; int8_t y; uint16_t z;",
    "either": "union int32_t x; int8_t y; uint16_t z;",
    "many": "int8_t i8; uint8_t u8; int16_t i16; uint16_t u16; int32_t i32; uint32_t u32;"
    " int64_t i64; uint64_t u64;",
    "any": "union int8_t i8; uint8_t u8; int16_t i16; uint16_t u16; int32_t i32; uint32_t u32;"
    " int64_t i64; uint64_t u64;",
    "packed1": "1 int8_t a; int64_t b;",
    "packed2": "2 int8_t a; int64_t b;",
    "packed4": "4 int8_t a; int64_t b;",
    "packed8": "8 int8_t a; int64_t b;",
    "int_bits": INTS,
    "bits": INTS + SHORTS,
    "i64_bits": "int64_t a:1; int64_t b:62; int64_t c:1;",
    "u64_bits": "uint64_t a:1; uint64_t b:62; uint64_t c:1;",
    "mixed1": "signed char a:4; int b:4;",
    "mixed2": "signed char a:4; int32_t b:32;",
    "mixed3": "signed char a:4; unsigned char b:4;",
    "mixed4": "short a:4; short b:4; int c:24; short d:4; short e:4; int f:24;",
    "mixed5": "unsigned A:1; unsigned short B:16;",
    "mixed6": "unsigned long long A:1; unsigned B:32;",
    "mixed7": "uint32_t A; uint32_t B:20; uint64_t C:24;",
    "mixed8a": "uint32_t A; uint32_t B:32; unsigned long long C:1;",
    "mixed8b": "uint32_t A; uint32_t B; unsigned long long C:1;",
    "mixed9": "uint8_t A; uint32_t B:1;",
    "mixed10": "uint32_t A:1; uint64_t B:1;",
    "gh_84039": "1 uint8_t a0:1; uint8_t a1:1; uint8_t a2:1; uint8_t a3:1; uint8_t a4:1;"
    " uint8_t a5:1; uint8_t a6:1; uint8_t a7:1; uint16_t b0:4; uint16_t b1:12;",
    "gh_73939": "1 uint16_t P; uint16_t L:9; uint16_t Pro:1; uint16_t G:1; uint16_t IB:1;"
    " uint16_t IR:1; uint16_t R:3; uint32_t T:10; uint32_t C:20; uint32_t R2:2;",
    "gh_86098": "uint8_t a:8; uint8_t b:8; uint32_t c:16;",
    "gh_86098_packed": "1 uint8_t a:8; uint8_t b:8; uint32_t c:16;",
    "three_shorts": "short a:1; short b:14; short c:1;",
    "short_between": "short a:1; short a1; short b:14; short c:1;",
    "short_overflows": "short a:3; short b:14; short c:14;",
    "zero_width": "int a:3; int :0; int b:5; signed char c;",
    "padded": "unsigned a:3; unsigned :7; unsigned b:5; bool c:1;",
    **{
        f"{name}_{sign}{n}": body.format(t=f"{sign}int{n}_t", w=n - 2)
        for name, body in {
            "s331": "{t} a:3; {t} b:3; {t} c:1;",
            "s1x1": "{t} a:1; {t} b:{w}; {t} c:1;",
            "s1nx1": "{t} a:1; {t} full; {t} b:{w}; {t} c:1;",
            "s3xx": "{t} a:3; {t} b:{w}; {t} c:{w};",
        }.items()
        for n in (8, 16, 32, 64)
        for sign in ("", "u")
    },
}


class Member(NamedTuple):
    """One member of a body above: its type, its name, its bits (None for all)."""

    ctype: str
    name: str
    bits: int | None

    @property
    def is_signed(self) -> bool:
        return not self.ctype.startswith("u") and self.ctype != "bool"

    def values(self, lib: libferry.Library) -> list[int]:
        """Give the least and the greatest value, and what lies between."""
        bits = self.bits or 8 * len(bytes(lib.new(self.ctype)))
        if self.ctype == "bool":
            return [0, 1]
        if self.is_signed:
            return [-(1 << bits - 1), -1, 0, (1 << bits - 1) - 1]
        return [0, 1, (1 << bits) - 1]


class Case(NamedTuple):
    """One body above, taken apart."""

    kind: str
    pack: str
    members: tuple[Member, ...]
    text: str


def take_apart(body: str) -> Case:
    match = re.fullmatch(r"(union |\d )?(.*)", body)
    assert match
    first, text = (match[1] or "").strip(), match[2]
    members = [
        Member(ctype.strip(), name, int(bits) if bits else None)
        for ctype, name, bits in re.findall(r"([\w ]+?) (\w+)(?::(\d+))?;", text)
    ]
    union = first == "union"
    return Case("union" if union else "struct", "" if union else first, tuple(members), text)


CASES = {name: take_apart(body) for name, body in BODIES.items()}


def declare(name: str, case: Case) -> str:
    text = f"{case.kind} {name} {{ {case.text} }};\n"
    if case.pack:
        text = f"#pragma pack(push, {case.pack})\n{text}#pragma pack(pop)\n"
    return text + (
        f"struct after_{name} {{ char c; {case.kind} {name} s; }};"
        f"size_t size_{name}(void); size_t size_after_{name}(void);"
        f"void set_{name}({case.kind} {name} *s, int member, long long value);"
        f"long long get_{name}(const {case.kind} {name} *s, int member);"
        f"{case.kind} {name} same_{name}(int a, {case.kind} {name} s, double b);\n"
    )


def define(name: str, case: Case) -> str:
    setters = "".join(
        f"case {i}: s->{m.name} = ({m.ctype})value; break;" for i, m in enumerate(case.members)
    )
    getters = "".join(
        f"case {i}: return (long long)s->{m.name};" for i, m in enumerate(case.members)
    )
    tag = f"{case.kind} {name}"
    return f"""
    API size_t size_{name}(void) {{ return sizeof({tag}); }}
    API size_t size_after_{name}(void) {{ return sizeof(struct after_{name}); }}
    API void set_{name}({tag} *s, int member, long long value) {{ switch (member) {{ {setters} }} }}
    API long long get_{name}(const {tag} *s, int member)
    {{ switch (member) {{ {getters} }} return 0; }}
    API {tag} same_{name}(int a, {tag} s, double b) {{ (void)a, (void)b; return s; }}
    """


HEADER = (
    "".join(declare(name, case) for name, case in CASES.items())
    + """
    struct nested {
        struct simple a;
        union either b;
        struct { int32_t p; int8_t q; uint16_t r; };
        union { int64_t l; struct { uint8_t low; uint8_t next; }; };
        int last;
    };
    void fill(struct nested *s, int32_t from);
    union views { uint8_t f1[16]; uint16_t f2[8]; uint32_t f3[4]; };
    struct wide { wchar_t name[12]; int age; };
    struct phone { char areacode[6]; char number[12]; };
    struct person { char name[12]; struct phone phone; int age; };
    struct four { int a[4]; };
    int age_of(struct person p);
    int sum(struct four f);
    wchar_t last_letter(struct wide w);
"""
)
SOURCE = (
    "".join(define(name, case) for name, case in CASES.items())
    + """
    API void fill(struct nested *s, int32_t from)
    {
        s->a.x = from, s->b.y = (int8_t)(from + 1), s->p = from + 2, s->r = (uint16_t)(from + 3);
        s->l = 0x0807060504030201, s->last = from + 4;
    }
    API int age_of(struct person p) { return p.age + p.phone.number[0]; }
    API int sum(struct four f) { return f.a[0] + f.a[1] + f.a[2] + f.a[3]; }
    API wchar_t last_letter(struct wide w)
    { wchar_t v = 0; for (int i = 0; i < 12 && w.name[i]; i++) v = w.name[i]; return v; }
"""
)


@pytest.fixture(scope="module", params=SIDES)
def lib(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[libferry.Library]:
    with opened(request.param, HEADER, SOURCE, tmp_path_factory) as library:
        yield library


@pytest.mark.parametrize("name", CASES)
def test_size_and_alignment_are_the_compilers(lib: libferry.Library, name: str) -> None:
    assert len(bytes(lib.new(f"{CASES[name].kind} {name}"))) == lib[f"size_{name}"]()
    assert len(bytes(lib.new(f"struct after_{name}"))) == lib[f"size_after_{name}"]()


@pytest.mark.parametrize("name", CASES)
def test_members_are_where_c_finds_them(lib: libferry.Library, name: str) -> None:
    case = CASES[name]
    get, set_ = lib[f"get_{name}"], lib[f"set_{name}"]
    for index, member in enumerate(case.members):
        mine, theirs = (lib.new(f"{case.kind} {name}") for _ in range(2))
        for value in member.values(lib):
            setattr(mine, member.name, value)
            assert get(mine, index) % 2**64 == value % 2**64
            set_(theirs, index, value if value < 2**63 else value - 2**64)
            assert getattr(theirs, member.name) == value
            assert bytes(mine) == bytes(theirs)


@pytest.mark.parametrize("name", CASES)
def test_by_value_all_members_arrive(lib: libferry.Library, name: str) -> None:
    case = CASES[name]
    same = lib[f"same_{name}"]
    for member in case.members:
        for value in member.values(lib):
            result = same(1, {member.name: value}, 2.0)
            assert getattr(result, member.name) == value
            if case.kind == "struct":
                others = (m.name for m in case.members if m.name != member.name)
                assert not any(getattr(result, other) for other in others)


@pytest.mark.parametrize("letter", WIDTHS)
def test_every_value_of_a_bit_field(lib: libferry.Library, letter: str) -> None:
    width, index = WIDTHS[letter], list(WIDTHS).index(letter)
    bits, get, set_ = lib.new("struct bits"), lib.get_bits, lib.set_bits
    for value in range(-(1 << width - 1), 1 << width - 1):
        setattr(bits, letter, value)
        assert get(bits, index) == value
        set_(bits, index, ~value)
        assert getattr(bits, letter) == ~value


@pytest.mark.parametrize("value", [4, -5, 2**40, True + 3])
def test_what_does_not_fit_in_a_bit_field_is_refused(lib: libferry.Library, value: int) -> None:
    bits = lib.new("struct bits", C=-1)
    with pytest.raises(ArgumentValueError, match="C"):
        bits.C = value
    with pytest.raises(ArgumentValueError, match="C"):
        lib.same_bits(1, {"C": value}, 2.0)
    assert bits.C == -1


def test_a_bit_field_is_an_integer(lib: libferry.Library) -> None:
    bits = lib.new("struct bits")
    for value in (None, "1", 1.0):
        with pytest.raises(ArgumentTypeError):
            bits.C = value


def test_members_of_members_without_a_name(lib: libferry.Library) -> None:
    nested = lib.new("struct nested")
    lib.fill(nested, 40)
    assert (nested.a.x, nested.b.y, nested.p, nested.r, nested.last) == (40, 41, 42, 43, 44)
    assert (nested.l, nested.low, nested.next) == (0x0807060504030201, 1, 2)
    nested.next = 0xFF
    assert nested.l == 0x080706050403FF01
    made = lib.new("struct nested", {"a": {"x": 1}, "q": -5, "low": 9})
    assert (made.a.x, made.q, made.l) == (1, -5, 9)


def test_a_union_shows_the_same_bytes_in_three_ways(lib: libferry.Library) -> None:
    views = lib.new("union views")
    views.f3 = [0x01234567, 0x89ABCDEF, 0x76543210, 0xFEDCBA98]
    assert bytes(views.f1).hex() == "67452301efcdab891032547698badcfe"
    assert views.f2 == [0x4567, 0x0123, 0xCDEF, 0x89AB, 0x3210, 0x7654, 0xBA98, 0xFEDC]


def test_initialisers_may_be_nested(lib: libferry.Library) -> None:
    person = lib.new("struct person", b"Someone", (b"1234", b"5678"), 5)
    assert (person.name, person.phone.areacode, person.phone.number) == (
        "Someone",
        "1234",
        "5678",
    )
    assert person.age == 5
    assert lib.age_of(person) == 5 + ord("5")
    assert lib.age_of({"phone": {"number": "9"}, "age": 1}) == 1 + ord("9")


def test_text_fits_exactly_or_not_at_all(lib: libferry.Library) -> None:
    assert bytes(lib.new("struct person", name=b"123456789012").name) == b"123456789012"
    with pytest.raises(ArgumentValueError, match="name"):
        lib.new("struct person", name=b"1234567890123")
    with pytest.raises(ArgumentTypeError, match="age"):
        lib.new("struct person", name="Name", age="HI")
    with pytest.raises(ArgumentTypeError, match=r"phone\.areacode"):
        lib.new("struct person", b"Someone", (1.5, 2))


@pytest.mark.parametrize(
    ("positional", "named"),
    [((1, 2, 3, 4, 5, 6), {}), ((1, 2), {"x": 4}), ((), {"nothing": 1})],
)
def test_members_too_many_twice_or_unknown(
    lib: libferry.Library, positional: tuple[int, ...], named: dict[str, int]
) -> None:
    with pytest.raises(ArgumentTypeError):
        lib.new("struct simple", *positional, **named)


def test_wide_text_in_a_struct(lib: libferry.Library) -> None:
    wide = lib.new("struct wide", "Someone é", 3)
    assert (wide.name, wide.age) == ("Someone é", 3)
    assert lib.last_letter(wide) == ord("é")
    assert lib.last_letter({"name": "123456789012"}) == ord("2")
    with pytest.raises(ArgumentValueError, match="name"):
        lib.new("struct wide", name="1234567890123")


def test_an_array_in_a_struct_may_be_given_in_part(lib: libferry.Library) -> None:
    assert list(lib.new("struct four", a=[1, 2]).a) == [1, 2, 0, 0]
    assert lib.sum(((1, 2, 3, 4),)) == 10
    with pytest.raises(ArgumentValueError, match="a"):
        lib.sum({"a": (1, 2, 3, 4, 5)})


def test_arrays_can_be_sliced(lib: libferry.Library) -> None:
    numbers = lib.new("struct four", a=[1, 2, 3, 4]).a
    assert numbers[1:3] == [2, 3]
    assert numbers[-1] == 4
    numbers[1:3] = [20, 30]
    assert numbers[:] == [1, 20, 30, 4]
    with pytest.raises(IndexError):
        numbers[4]
    with pytest.raises(ArgumentTypeError):
        numbers[0:2] = [1, 2, 3]
