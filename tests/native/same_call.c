/* A call through a thunk and a trampoline is the same call.
 *
 * ferry_enter here gathers what the thunk saved into a frame, calls the real function
 * with that frame, and scatters its result. So whatever the compiler passes, to a
 * function of whatever type, has to arrive, and its result to come back. */
#include "program.h"

#include <stdarg.h>

static struct {
    void (*function)(void);
    struct ferry_callback plan;
} to;

void ferry_enter(uint32_t number, struct ferry_frame *head)
{
    static struct ferry_frame frame;
    struct entry_way_back way;

    CHECK(number == 4095);
    CHECK((uintptr_t)head % 64 == 0);
    way = entry_gather(&to.plan, head, &frame);
    frame.function = (uintptr_t)to.function;
    frame.stack_bytes = to.plan.stack_bytes;
    frame.vector_count = to.plan.vector_count;
    frame.x87_results = to.plan.x87_results;
    ferry_call(&frame);
    entry_scatter(&way, &frame, head);
}

static void *through(void (*function)(void), uint8_t x87_results, uint16_t pop_bytes)
{
    to.function = function;
    to.plan = (struct ferry_callback){.stack_bytes = 240,
                                      .frame_bytes = FRAME_SIZE,
                                      .vector_count = 8,
                                      .x87_results = x87_results,
                                      .pop_bytes = pop_bytes};
    return ferry_thunk(4095);
}

/* f, but called through a thunk; its result's place on the x87 and what it pops */
#define THROUGH_AS(f, x87, pop) ((__typeof__(&f))through((void (*)(void))f, x87, pop))
#define THROUGH(f) THROUGH_AS(f, 0, 0)
#ifdef __i386__
#define THROUGH_X87(f) THROUGH_AS(f, 1, 0)
#else
#define THROUGH_X87(f) THROUGH(f)
#endif

/* Numbers that have no two digits alike show which of them is in the wrong place. */
static int64_t integers(int8_t a, int16_t b, int32_t c, int64_t d, uint8_t e, int f, int64_t g,
                        int8_t h, int16_t i, int64_t j, int k, int64_t l)
{
    return a + b * 2 + c * 3 + d * 5 + e * 7 + f * 11 + g * 13 + h * 17 + i * 19 + j * 23 + k * 29 +
           l * 31;
}

static double doubles(double a, float b, double c, float d, double e, double f, double g, double h,
                      double i, float j, float k, double l)
{
    return a + b * 2 + c * 3 + d * 5 + e * 7 + f * 11 + g * 13 + h * 17 + i * 19 + j * 23 + k * 29 +
           l * 31;
}

static float mixed(int a, float b, int64_t c, double d, float e, int64_t f, int g, double h, int i,
                   int j, float k, double l)
{
    return (float)(a + b * 2 + c * 3 + d * 5 + e * 7 + f * 11 + g * 13 + h * 17 + i * 19 + j * 23 +
                   k * 29 + l * 31);
}

static double listed(int count, ...)
{
    double sum = 0;
    va_list rest;

    va_start(rest, count);
    for (int i = 0; i < count; i++)
        sum = sum * 3 + (i % 3 == 2 ? va_arg(rest, double) : va_arg(rest, int));
    va_end(rest);
    return sum;
}

/* The stack's alignment at the call is an assumption of every compiler. */
static int aligned(int a, int b, int c, int d, int e, int f, int g, int h, int i)
{
    (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
#if defined(_WIN32) && defined(__i386__)
    return i - 9;
#elif defined(__arm__) /* what clang gives there is the saved frame pointer's address */
    return (int)(((uintptr_t)__builtin_dwarf_cfa() + 8) % 16) + i - 9;
#else
    return (int)((uintptr_t)__builtin_dwarf_cfa() % 16) + i - 9;
#endif
}

struct two { int a, b; };
struct pair { int64_t a; double b; };
struct floats { float a, b, c, d; };
struct hfa { double a, b, c, d; };
struct large { int64_t a[5]; };

static struct two swap_two(struct two x) { return (struct two){x.b, x.a}; }
static struct pair swap_pair(int n, struct pair x) { return (struct pair){(int64_t)x.b, (double)x.a + n}; }
static struct floats turn(struct floats x) { return (struct floats){x.b, x.c, x.d, x.a}; }
static struct hfa turn_hfa(double n, struct hfa x) { return (struct hfa){x.b, x.c, x.d, x.a + n}; }
static struct large shift(struct large x, int by)
{
    return (struct large){{x.a[4] + by, x.a[0], x.a[1], x.a[2], x.a[3]}};
}

/* Multiplied by i, without the runtime library's help. */
#define TURN(a) __builtin_complex(-__imag__(a), __real__(a))
static _Complex double turned(_Complex double a, _Complex float b) { return TURN(a) + b; }
static _Complex float turned_short(_Complex float a, int n) { return TURN(a) + (float)n; }
#ifndef _WIN32 /* where it is a double (Microsoft), or another type than ours (mingw) */
static long double third(long double a, int b, long double c) { return a / 3 + b * c; }
static _Complex long double turned_long(_Complex long double a, int n) { return TURN(a) + n; }
#endif

#ifdef __i386__
#ifdef _WIN32
#define HIDDEN_POPS 0
#else
#define HIDDEN_POPS 4 /* the callee takes the hidden pointer off */
#endif
static int __attribute__((stdcall)) popping(int a, double b, int c) { return a + (int)b * 2 + c * 3; }
static int __attribute__((fastcall)) in_registers(int a, int b, int c, int d)
{
    return a + b * 2 + c * 3 + d * 5;
}
typedef float v4 __attribute__((vector_size(16)));
static v4 __attribute__((target("sse"))) vectors(v4 a, int n, v4 b, v4 c)
{
    return (a - b) * c + (float)n;
}
#else
#define HIDDEN_POPS 0
#endif

#ifdef __SIZEOF_INT128__
static __int128 wide(int n, __int128 a, __int128 b) { return a * b + n; }
#endif

static bool equal(const void *a, const void *b, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (((const char *)a)[i] != ((const char *)b)[i])
            return false;
    return true;
}

/* Structures are compared by their bytes. `pops`: what of their call the callee pops */
#define CHECK_SAME(f, pops, ...)                                     \
    do {                                                             \
        __auto_type direct = f(__VA_ARGS__);                         \
        __auto_type roundabout = THROUGH_AS(f, 0, pops)(__VA_ARGS__); \
        CHECK(equal(&direct, &roundabout, sizeof direct));           \
    } while (0)

static void run(void)
{
    CHECK(THROUGH(integers)(-1, 2, -3, 4000000000, 5, 6, -7, 8, 9, 10000000000, -11, 12) ==
          integers(-1, 2, -3, 4000000000, 5, 6, -7, 8, 9, 10000000000, -11, 12));
    CHECK(THROUGH_X87(doubles)(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12.5) ==
          doubles(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12.5));
    CHECK(THROUGH_X87(mixed)(1, 2.5f, -3, 4, 5, 6, 7, 8, 9, 10, 11, 12.25) ==
          mixed(1, 2.5f, -3, 4, 5, 6, 7, 8, 9, 10, 11, 12.25));
    CHECK(THROUGH_X87(listed)(12, 1, 2, 3.5, 4, 5, 6.5, 7, 8, 9.5, 10, 11, 12.5) ==
          listed(12, 1, 2, 3.5, 4, 5, 6.5, 7, 8, 9.5, 10, 11, 12.5));
    CHECK(THROUGH(aligned)(1, 2, 3, 4, 5, 6, 7, 8, 9) == 0);

    CHECK_SAME(swap_two, HIDDEN_POPS, (struct two){1, 2});
    CHECK_SAME(swap_pair, HIDDEN_POPS, 3, (struct pair){4, 5});
    CHECK_SAME(turn, HIDDEN_POPS, (struct floats){1, 2, 3, 4});
    CHECK_SAME(turn_hfa, HIDDEN_POPS, 0.5, (struct hfa){1, 2, 3, 4});
    CHECK_SAME(shift, HIDDEN_POPS, (struct large){{1, 2, 3, 4, 5}}, 7);
    CHECK_SAME(turned, HIDDEN_POPS, __builtin_complex(1.0, 2.0), __builtin_complex(3.0f, 4.0f));
    CHECK_SAME(turned_short, 0, __builtin_complex(1.0f, 2.0f), 3);

#if defined(__x86_64__) && !defined(_WIN32)
    for (int i = 0; i < 20; i++) { /* eight that stay on the x87 stack would fill it */
        CHECK(THROUGH_AS(third, 1, 0)(10, 2, 0.25L) == third(10, 2, 0.25L));
        CHECK(THROUGH_AS(turned_long, 2, 0)(__builtin_complex(1.0L, 2.0L), 3) == turned_long(__builtin_complex(1.0L, 2.0L), 3));
    }
#elif !defined(_WIN32)
    CHECK(THROUGH_X87(third)(10, 2, 0.25L) == third(10, 2, 0.25L));
    CHECK(THROUGH_AS(turned_long, 0, HIDDEN_POPS)(__builtin_complex(1.0L, 2.0L), 3) == turned_long(__builtin_complex(1.0L, 2.0L), 3));
#endif
#ifdef __i386__
    CHECK(THROUGH_AS(popping, 0, 16)(1, 2, 3) == popping(1, 2, 3));
    CHECK(THROUGH_AS(in_registers, 0, 8)(1, 2, 3, 4) == in_registers(1, 2, 3, 4));
    CHECK_SAME(vectors, 0, (v4){1, 2, 3, 4}, 5, (v4){6, 7, 8, 9}, (v4){2, 3, 4, 5});
#endif
#ifdef __SIZEOF_INT128__
    CHECK_SAME(wide, 0, 3, (__int128)1 << 70, -5);
#endif
}
