"""Declarations of every form; Clang confirms what was made of them, for each target."""

from __future__ import annotations

from pathlib import Path

import pytest

from libferry.abi import ABIS
from libferry.contract import declare
from tests.contract.oracle import disagreements

pytestmark = pytest.mark.needs("ziglang", install="pip install 'libferry[headers]'")

# one of each data model, byte order of bit-fields, and sign of char
VARIED = ("x86_64-sysv", "i386-windows", "arm-hardfloat")


def check(text: str, abi: str, folder: Path) -> None:
    assert disagreements(declare(text, abi), text, abi, folder) == []


PACKING = """
struct __attribute__((packed)) in_front { char c; int i; };
struct behind { char c; int i; } __attribute__((packed));
typedef struct { char c; long long i; } __attribute__((packed, aligned(2))) both;
struct one_member { char c; int i __attribute__((packed)); short s; };
struct members { char c; int i __attribute__((aligned(16))); _Alignas(8) char d;
                 _Alignas(double) char e; __attribute__((aligned(8))) int f, g; };
struct __attribute__((aligned)) most { char c; };
#pragma pack(push, 2)
struct by_two { char c; int i; double d; struct { char a; long long b; } in; };
#pragma pack(1)
struct by_one { char c; int i; };
#pragma pack(pop)
struct not_packed_again { char c; int i; };
#pragma pack(push, name, 4)
#pragma pack(push, 1)
#pragma pack(pop, name)
struct after_a_named_pop { char c; double d; };
_Pragma("pack(push, 1)") struct by_a_word { char c; int i; }; _Pragma("pack(pop)")
struct after_a_word { char c; int i; };
typedef int low __attribute__((aligned(2)));
typedef double high __attribute__((aligned(32)));
struct of_aligned_types { char c; low a; char d; high e; };
"""


@pytest.mark.parametrize("abi", sorted(ABIS))
def test_packing_and_alignment_count_where_they_stand(abi: str, tmp_path: Path) -> None:
    check(PACKING, abi, tmp_path)


RECORDS = """
struct empty {};
struct flexible { int n; char data[]; };
struct zero { int n; int data[0]; };
struct nested {
    struct { int a; union { char b; double c; }; } named;
    union { struct { short d, e; }; int f; };
    struct inner { int g; } h[2][3];
};
struct uses_inner { struct inner x; };
union longest { char c[9]; long l; void *p; };
struct bits { unsigned a : 3; int b : 5; unsigned : 0; unsigned c : 1; char after; };
typedef int (*compare)(const void *, const void *);
typedef int function(int, char);
struct callbacks { compare a; function *b; int (*c[3])(int); void (*(*d)(int))(double); };
typedef struct tagged { struct tagged *next; struct other *other; } tagged, *to_tagged;
struct other { tagged t; };
typedef char text[16];
struct of_text { text a; text *b; const text c; };
"""


@pytest.mark.parametrize("abi", sorted(ABIS))
def test_records_of_every_form(abi: str, tmp_path: Path) -> None:
    check(RECORDS, abi, tmp_path)


ENUMS = """
struct s { int a; double b; };
enum plain { A1, B1 = 5, C1 };
enum negative { A2 = -1, B2 = 0x7fffffff };
enum large { A3 = 1, B3 = 0xffffffff };
enum larger { A4 = 0x1ffffffffLL, B4 };
enum __attribute__((packed)) small { A5, B5 = 200 };
typedef enum {
    A6 = 'a', B6 = A6 << 2, C6 = sizeof(struct s), D6 = _Alignof(double), E6 = (B6 > C6) ? 3 : 4,
    F6 = ~0 & 0xff, G6 = -7 / 2, H6 = -7 % 3, I6 = (unsigned char)300, J6 = (int)2.9,
    K6 = !0 + 010 + 0x10 + 0b11, L6 = __builtin_offsetof(struct s, b), M6 = sizeof(int[3]),
    N6 = sizeof(char *(*)(void)), O6 = '\\n' + '\\x41' + L'\\u00e9', P6 = -1 > 0u, Q6 = 1 == 1.0,
    R6 = sizeof "text" + sizeof(L"w") / sizeof(L' '), S6 = 1 << 30 >> 2 ^ 5 | 3 & 2, T6 = 'ab',
} computed;
extern char a[sizeof(1 + 1L)], b[(int)(0x80000000 > 0)], c[sizeof(~0u)], d[-1 < (char)-1 ? 1 : 2];
computed f(enum plain, enum large *);
"""


@pytest.mark.parametrize("abi", [abi for abi in VARIED if "windows" not in abi])
def test_enums_and_what_their_values_are_computed_from(abi: str, tmp_path: Path) -> None:
    check(ENUMS, abi, tmp_path)


FUNCTIONS = """
typedef int (*compare)(const void *, const void *);
typedef int function(int, char);
struct s { int a[5]; };
int plain(void);
void pointers(char *a, const char *b, char *const c, const char *const *d, char **const *e);
void arrays(int a[], int b[3], const int c[static 2], int d[][4], int n, int e[n], compare g[2]);
void functions(function f, int g(double), int (*h)(void), compare (*i)(compare));
compare returns_pointer(int);
int (*returns_function(int, char))(double, float);
int (*(*deep(void))(int))[3];
function by_typedef;
void variadic(const char *, ...);
struct s by_value(struct s a, compare b);
unsigned long int long any_order(long unsigned a, char signed b, short int unsigned c, int long d);
_Bool booleans(_Bool);
float _Complex complexes(double _Complex, long double _Complex);
long double reals(float, double, long double);
int many(int), *of(char), (in_brackets)(short);
void restricted(char *restrict a, const char *__restrict b);
extern const char *const names[];
extern compare callback;
extern struct s *const table[4];
extern int (*matrix)[3][4];
"""


@pytest.mark.parametrize("abi", VARIED)
def test_declarators_of_every_form(abi: str, tmp_path: Path) -> None:
    check(FUNCTIONS, abi, tmp_path)


EXTENSIONS = """
typedef float four __attribute__((vector_size(16)));
typedef int two __attribute__((__vector_size__(8)));
four vectors(four, two);
typedef int wide __attribute__((mode(DI)));
typedef unsigned word __attribute__((mode(word)));
wide modes(word, unsigned __attribute__((__mode__(__QI__))));
extern int array[3];
__typeof__(int *) typeofs(__typeof__(array) a, __typeof__(1 + 1L) b);
extern __inline__ __attribute__((__gnu_inline__)) int inlined(int x) { return x + 1; }
static inline int skipped(int n) {
    struct local { int x; } l = { n };
    for (int i = 0; i < 3; i++) { l.x += i; }
    return ({ int y = l.x; y; });
}
__extension__ typedef long long extended;
extended __attribute__((const, noinline)) attributed(extended) __attribute__((nonnull));
_Noreturn void gone(int __attribute__((unused)) a);
__attribute__((visibility("default"))) extern int seen(int);
_Static_assert(sizeof(int) == 4, "int");
int va(const char *, __builtin_va_list);
__asm__(".text");
"""


@pytest.mark.parametrize("abi", VARIED)
def test_what_compilers_add_to_c(abi: str, tmp_path: Path) -> None:
    check(EXTENSIONS, abi, tmp_path)


CONVENTIONS = """
int __stdcall a(int);
int *__stdcall b(int);
void __fastcall c(int, int, int);
int __attribute__((stdcall)) d(int);
int e(int) __attribute__((fastcall));
__attribute__((thiscall)) int f(void *);
int __cdecl g(int);
int (__stdcall *h)(int);
typedef int (__stdcall *i)(int, void (*inner)(void));
typedef int __stdcall j(int);
typedef void (__attribute__((stdcall)) *k)(void);
int l(int (__stdcall *callback)(int), i other);
struct m { int (__fastcall *n)(int); i o; void (__stdcall *p[2])(j *); };
int (__stdcall *q(int))(double);
int __stdcall r(const char *, ...);
void (*s)(int) __attribute__((stdcall));
j t;
"""


@pytest.mark.parametrize("abi", ["i386-windows", "i386-sysv", "x86_64-windows"])
def test_calling_conventions_are_for_the_function_they_stand_at(abi: str, tmp_path: Path) -> None:
    check(CONVENTIONS, abi, tmp_path)
    header = declare(CONVENTIONS, abi)
    names = {name: header.functions[name].convention for name in header.functions}
    i386 = abi.startswith("i386")
    assert names["a"] == ("stdcall" if i386 else "cdecl")
    assert names["f"] == ("thiscall" if i386 else "cdecl")
    assert names["r"] == "cdecl"  # a function with varargs cannot pop them
    assert names["t"] == ("stdcall" if i386 else "cdecl")
