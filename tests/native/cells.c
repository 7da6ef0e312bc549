/* Each register and stack slot has the place in the frame that native/frame.h and the
 * ABI's facts say; the host writes and reads them there. */
#include "program.h"

/* The ABI as documented: argument registers, and the first stack argument's place. */
#if defined(__x86_64__) && defined(_WIN32)
enum { INTEGERS = 4, REALS = 4, CELL = 8, REAL_CELL = 16, SLOT = 8, STACK = FRAME_STACK + 32 };
#elif defined(__x86_64__)
enum { INTEGERS = 6, REALS = 8, CELL = 8, REAL_CELL = 16, SLOT = 8, STACK = FRAME_STACK };
#elif defined(__i386__)
enum { INTEGERS = 0, REALS = 0, CELL = 8, REAL_CELL = 16, SLOT = 4, STACK = FRAME_STACK_I386 };
#elif defined(__arm__)
enum { INTEGERS = 4, REALS = 8, CELL = 4, REAL_CELL = 8, SLOT = 4, STACK = FRAME_STACK };
#else
enum { INTEGERS = 8, REALS = 8, CELL = 8, REAL_CELL = 16, SLOT = 8, STACK = FRAME_STACK };
#endif

#define LENGTH 12

static struct ferry_frame frame;
static struct ferry_callback plan = {.stack_bytes = 128, .frame_bytes = FRAME_SIZE,
                                     .vector_count = 8};
static const struct ferry_callback *plan_in_use = &plan;

void ferry_enter(uint32_t number, struct ferry_frame *head)
{
    struct entry_way_back way;

    (void)number;
    way = entry_gather(plan_in_use, head, &frame);
    entry_scatter(&way, &frame, head);
}

static char *integer_place(int n)
{
    return (char *)&frame +
           (n < INTEGERS ? FRAME_INTEGER + n * CELL : STACK + (n - INTEGERS) * SLOT);
}

static void put(char *to, intptr_t value)
{
    __builtin_memcpy(to, &value, sizeof value);
}

static intptr_t got(const char *from)
{
    intptr_t value;

    __builtin_memcpy(&value, from, sizeof value);
    return value;
}

/* ---- calls: what the callee finds ---- */

static intptr_t seen[LENGTH];
static double seen_reals[8];

static intptr_t takes_integers(intptr_t a, intptr_t b, intptr_t c, intptr_t d, intptr_t e,
                               intptr_t f, intptr_t g, intptr_t h, intptr_t i, intptr_t j,
                               intptr_t k, intptr_t l)
{
    intptr_t all[LENGTH] = {a, b, c, d, e, f, g, h, i, j, k, l};

    for (int n = 0; n < LENGTH; n++)
        seen[n] = all[n];
    return 77;
}

static double takes_reals(double a, double b, double c, double d, double e, double f, double g,
                          double h)
{
    double all[8] = {a, b, c, d, e, f, g, h};

    for (int n = 0; n < 8; n++)
        seen_reals[n] = all[n];
    return 2.5;
}

static void check_calls(void)
{
    for (int n = 0; n < LENGTH; n++)
        put(integer_place(n), 1000 + n);
    frame.function = (uintptr_t)takes_integers;
    frame.stack_bytes = 128;
    frame.vector_count = 0;
    ferry_call(&frame);
    for (int n = 0; n < LENGTH; n++)
        CHECK(seen[n] == 1000 + n);
    CHECK(got((char *)&frame + FRAME_RESULT_INTEGER) == 77);

    for (int n = 0; n < REALS; n++) {
        double value = n + 0.5;

        __builtin_memcpy((char *)&frame + FRAME_VECTOR + n * REAL_CELL, &value, 8);
    }
    frame.function = (uintptr_t)takes_reals;
    frame.vector_count = 8;
    ferry_call(&frame);
    for (int n = 0; n < REALS; n++)
        CHECK(seen_reals[n] == n + 0.5);
#ifdef __i386__
    {
        long double result;

        __builtin_memcpy(&result, (char *)&frame + FRAME_RESULT_X87, 10);
        CHECK(result == 2.5L);
    }
#else
    {
        double result;

        __builtin_memcpy(&result, (char *)&frame + FRAME_RESULT_VECTOR, 8);
        CHECK(result == 2.5);
    }
#endif
}

/* ---- callbacks: what the host finds ---- */

static void check_callbacks(void)
{
    __typeof__(&takes_integers) integers = (__typeof__(&takes_integers))ferry_thunk(0);
    __typeof__(&takes_reals) reals = (__typeof__(&takes_reals))ferry_thunk(0);

    put((char *)&frame + FRAME_RESULT_INTEGER, 78);
    CHECK(integers(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11) == 78);
    for (int n = 0; n < LENGTH; n++)
        CHECK(got(integer_place(n)) == n);

    {
#ifdef __i386__
        long double result = 3.5;

        plan.x87_results = 1;
        __builtin_memcpy((char *)&frame + FRAME_RESULT_X87, &result, 10);
#else
        double result = 3.5;

        __builtin_memcpy((char *)&frame + FRAME_RESULT_VECTOR, &result, 8);
#endif
        CHECK(reals(0.25, 1.25, 2.25, 3.25, 4.25, 5.25, 6.25, 7.25) == 3.5);
        plan.x87_results = 0;
    }
    for (int n = 0; n < REALS; n++) {
        double value;

        __builtin_memcpy(&value, (char *)&frame + FRAME_VECTOR + n * REAL_CELL, 8);
        CHECK(value == n + 0.25);
    }
}

/* A short plan leaves alone what it has no use for, as those are cache lines. */
static void check_short_plan(void)
{
    static const struct ferry_callback brief = {.frame_bytes = FRAME_HOST_LINE_END};
    void (*callback)(intptr_t, intptr_t) = (void (*)(intptr_t, intptr_t))ferry_thunk(0);

    put((char *)&frame + FRAME_INDIRECT, 123);
    put((char *)&frame + FRAME_VECTOR, 124);
    put((char *)&frame + FRAME_STACK, 125);
    plan_in_use = &brief;
    callback(5, 6);
    plan_in_use = &plan;
#ifndef __i386__
    CHECK(got(integer_place(0)) == 5 && got(integer_place(1)) == 6);
    CHECK(got((char *)&frame + FRAME_INDIRECT) == 123);
#endif
    CHECK(got((char *)&frame + FRAME_VECTOR) == 124);
    CHECK(got((char *)&frame + FRAME_STACK) == 125);
}

/* What goes by reference is copied in, and a result out to where the caller wants it. */
static void check_references(void)
{
    static _Alignas(8) char bytes[sizeof plan + 2 * sizeof(struct ferry_reference)];
    struct ferry_callback *by_reference = (struct ferry_callback *)bytes;
    struct ferry_reference *references = by_reference->references;
    char *(*callback)(const char *, char *) = (char *(*)(const char *, char *))ferry_thunk(0);
    char room[17] = "................";

    *by_reference = plan;
    by_reference->reference_count = 2;
    references[0] = (struct ferry_reference){.size = 24, .at = 2048};
    references[1] = (struct ferry_reference){.size = 16, .at = 2072, .result = 1};
    for (int n = 0; n < 2; n++) {
        references[n].width = sizeof(void *);
        references[n].cell = (uint16_t)(integer_place(n) - (char *)&frame);
    }
    __builtin_memcpy((char *)&frame + 2072, "sixteen byte out", 16);
    plan_in_use = by_reference;
    CHECK(callback("twenty-four bytes go in.", room) == room);
    plan_in_use = &plan;
    for (int i = 0; i < 24; i++)
        CHECK(((char *)&frame)[2048 + i] == "twenty-four bytes go in."[i]);
    for (int i = 0; i < 16; i++)
        CHECK(room[i] == "sixteen byte out"[i]);
}

static void check_table(void)
{
    static struct ferry_callback any;

    CHECK(ferry_callback(CHANNEL_CALLBACKS, &any) == NULL);
    CHECK(ferry_callback(7, &any) == ferry_thunk(7));
    CHECK(atomic_load(&ferry_callbacks[7]) == &any);
    CHECK(ferry_callback(7, NULL) == ferry_thunk(7));
    CHECK(atomic_load(&ferry_callbacks[7]) == NULL);
}

static void run(void)
{
    check_calls();
    check_callbacks();
    check_short_plan();
    check_references();
    check_table();
}
