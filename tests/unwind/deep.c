/* A library whose functions keep their frames in every way that compilers know. Each calls the
 * next; the last one crashes, or calls back to do it. All work on after the call, so that
 * no call is a jump. */
#include <alloca.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FRAME __attribute__((noinline))

typedef void action(void);
volatile int kept;
void (*before_crash)(void);

FRAME static int leaf(int *where) { return *(volatile int *)where; }

FRAME static void write_nowhere(void)
{
    if (before_crash) before_crash();
    kept += leaf((int *)(uintptr_t)(kept & 0)) + 1;
}

FRAME void call_nothing(void)
{
    action *volatile nothing = NULL;
    nothing();
    kept++;
}

FRAME void stop_for_good(void) { abort(); }

/* Without tables for it, a compiler does not even save where such a function would return to. */
#ifdef RETURNS
FRAME static void never_returns(action *then)
{
    then();
    kept++;
}
#else
FRAME static _Noreturn void never_returns(action *then)
{
    then();
    for (;;) kept++;
}
#endif

/* the call is its last instruction, so the return address is behind its end */
FRAME void ends_with_a_call(action *then)
{
    kept++;
    never_returns(then);
#ifdef RETURNS
    kept++;
#endif
}

/* so that compilers do not find out that none of its callers returns either */
static void (*volatile hidden)(action *) = ends_with_a_call;

FRAME int many_registers(action *then, int a, int b, int c, int d, int e, int f)
{
    int g = a * b + 1, h = b * c + 2, i = c * d + 3, j = d * e + 4, k = e * f + 5, l = f * a + 6;
    kept = g ^ h ^ i ^ j ^ k ^ l;
    hidden(then);
    return g + 2 * h + 3 * i + 4 * j + 5 * k + 6 * l + a + b + c + d + e + f;
}

FRAME int with_alloca(action *then, size_t size)
{
    char *room = alloca(size + 100);
    memset(room, kept, size);
    int sum = many_registers(then, kept, kept, 3, 4, kept, 6);
    return sum + room[size / 2];
}

FRAME int variadic(action *then, int count, ...)
{
    va_list list;
    int sum = 0;
    va_start(list, count);
    while (count--) sum += va_arg(list, int);
    va_end(list);
    return sum + with_alloca(then, (size_t)sum);
}

FRAME int large_frame(action *then)
{
    volatile char room[9000];
    room[4500] = (char)kept;
    return variadic(then, 4, 10, 20, 30, 40) + room[4500];
}

FRAME int floating(action *then, double x, double y)
{
    double z = x * kept, w = y / (kept + 2);
    return large_frame(then) + (int)(z * w + x / y);
}

static action *in_handler;
static void handler(int number)
{
    sigset_t none;
    sigemptyset(&none); /* qemu 7.2 takes a handler's mask from the wrong place on RISC-V */
    sigprocmask(SIG_SETMASK, &none, NULL);
    kept += number;
    in_handler();
    kept++;
}

FRAME void from_a_signal(action *then)
{
    in_handler = then;
    signal(SIGUSR1, handler);
    kill(getpid(), SIGUSR1);
    kept++;
}

static void *in_other_library;
static int compare(const void *a, const void *b)
{
    ((action *)in_other_library)();
    return *(const int *)a - *(const int *)b + kept;
}

FRAME void from_qsort(action *then)
{
    int numbers[] = {3, 1, 2};
    in_other_library = (void *)then;
    qsort(numbers, 3, sizeof *numbers, compare);
    kept += numbers[0];
}

FRAME void in_strlen(void)
{
    const char *volatile text = (const char *)(uintptr_t)(8 + (kept & 0));
    kept += (int)strlen(text);
}

FRAME static void handle_it(void) { from_a_signal(write_nowhere); kept++; }
FRAME static void sort_it(void) { from_qsort(write_nowhere); kept++; }

static const struct { const char *name; action *does; } WAYS[] = {
    {"nowhere", write_nowhere}, {"null", call_nothing}, {"abort", stop_for_good},
    {"signal", handle_it},      {"qsort", sort_it},     {"strlen", in_strlen},
};

FRAME int deep(const char *how)
{
    for (size_t i = 0; i < sizeof WAYS / sizeof *WAYS; i++)
        if (!strcmp(WAYS[i].name, how)) return floating(WAYS[i].does, 1.5, 2.5) + kept;
    return 1;
}
