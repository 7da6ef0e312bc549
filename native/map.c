/* The loop over rows. What makes it fast is that nothing in it depends on data: columns
 * are widened a block at a time, in loops that a compiler vectorises, and the calls then
 * take their arguments from the block. An element that has no such shape goes through
 * a frame like any other call. */
#include "map.h"

/* Rows widened at once. With more, the functions below would need a page of stack, and
 * on Windows a helper of the C library that touches it. */
#define BLOCK 64u

typedef uintptr_t word; /* what an integer register holds */

static const char *element(const struct ferry_column *column, uint64_t row)
{
    return (const char *)(uintptr_t)column->data + (int64_t)row * column->stride;
}

/* `count` elements from `row` on, each converted from `type` to `to`. */
#define WIDEN(type, to, into)                                                                     \
    do {                                                                                          \
        const char *from = element(column, row);                                                  \
                                                                                                  \
        if (column->stride == sizeof(type))                                                       \
            for (uint32_t i = 0; i < count; i++)                                                  \
                (into)[i] = (to)((const type *)(const void *)from)[i];                            \
        else                                                                                      \
            for (uint32_t i = 0; i < count; i++, from += column->stride)                          \
                (into)[i] = (to)*(const type *)(const void *)from;                                \
    } while (0)

/* Numbers lie in numpy arrays aligned or not; the compiler must not assume it. */
typedef int16_t i16 __attribute__((aligned(1)));
typedef uint16_t u16 __attribute__((aligned(1)));
typedef int32_t i32 __attribute__((aligned(1)));
typedef uint32_t u32 __attribute__((aligned(1)));
typedef uint64_t u64 __attribute__((aligned(1)));
typedef float f32 __attribute__((aligned(1)));
typedef double f64 __attribute__((aligned(1)));

static void widen_integers(const struct ferry_column *column, uint64_t row, uint32_t count,
                           word *into)
{
    bool sign = column->fill != MAP_ZEROS;

    if (column->size == 8)
        WIDEN(u64, word, into);
    else if (column->size == 4 && sign)
        WIDEN(i32, word, into);
    else if (column->size == 4)
        WIDEN(u32, word, into);
    else if (column->size == 2 && sign)
        WIDEN(i16, word, into);
    else if (column->size == 2)
        WIDEN(u16, word, into);
    else if (sign)
        WIDEN(int8_t, word, into);
    else
        WIDEN(uint8_t, word, into);
}

static void keep_integers(const struct ferry_column *column, uint64_t row, uint32_t count,
                          const uint64_t *results)
{
    char *to = (char *)(uintptr_t)column->data + (int64_t)row * column->stride;

    for (uint32_t i = 0; i < count; i++, to += column->stride) {
        if (column->size == 8)
            *(u64 *)(void *)to = results[i];
        else if (column->size == 4)
            *(u32 *)(void *)to = (uint32_t)results[i];
        else if (column->size == 2)
            *(u16 *)(void *)to = (uint16_t)results[i];
        else if (column->size == 1)
            *to = (char)results[i];
    }
}

/* One loop per number of arguments: CALL is the call of row i. */
#define ROWS(CALL)                                                                                \
    for (uint32_t i = 0; i < count; i++)                                                          \
        results[i] = (CALL);                                                                      \
    break

#define CALLS(result, argument)                                                                   \
    switch (map->arguments) {                                                                       \
    case 0:                                                                                       \
        ROWS(((result(*)(void))function)());                                                      \
    case 1:                                                                                       \
        ROWS(((result(*)(argument))function)(cells[0][i]));                                       \
    case 2:                                                                                       \
        ROWS(((result(*)(argument, argument))function)(cells[0][i], cells[1][i]));                \
    case 3:                                                                                       \
        ROWS(((result(*)(argument, argument, argument))function)(cells[0][i], cells[1][i],        \
                                                                 cells[2][i]));                   \
    case 4:                                                                                       \
        ROWS(((result(*)(argument, argument, argument, argument))function)(                       \
            cells[0][i], cells[1][i], cells[2][i], cells[3][i]));                                 \
    case 5:                                                                                       \
        ROWS(((result(*)(argument, argument, argument, argument, argument))function)(             \
            cells[0][i], cells[1][i], cells[2][i], cells[3][i], cells[4][i]));                    \
    default:                                                                                      \
        ROWS(((result(*)(argument, argument, argument, argument, argument, argument))function)(   \
            cells[0][i], cells[1][i], cells[2][i], cells[3][i], cells[4][i], cells[5][i]));       \
    }

__attribute__((noinline)) static void map_integers(const struct ferry_map *map)
{
    void *function = (void *)(uintptr_t)map->function;
    word cells[MAP_FAST][BLOCK];
    uint64_t results[BLOCK];

    for (uint32_t row = 0; row < map->rows; row += BLOCK) {
        uint32_t count = map->rows - row < BLOCK ? map->rows - row : BLOCK;

        for (uint32_t n = 0; n < map->arguments; n++)
            widen_integers(&map->columns[n], row, count, cells[n]);
        CALLS(uint64_t, word)
        if (map->results)
            keep_integers(&map->columns[map->arguments], row, count, results);
    }
}

#define MAP_REALS(name, real, unaligned)                                                          \
    __attribute__((noinline)) static void name(const struct ferry_map *map)                       \
    {                                                                                             \
        void *function = (void *)(uintptr_t)map->function;                                        \
        real cells[MAP_FAST][BLOCK], results[BLOCK];                                              \
                                                                                                  \
        for (uint32_t row = 0; row < map->rows; row += BLOCK) {                                   \
            uint32_t count = map->rows - row < BLOCK ? map->rows - row : BLOCK;                   \
            const struct ferry_column *result = &map->columns[map->arguments];                    \
            char *to = (char *)(uintptr_t)result->data + (int64_t)row * result->stride;           \
                                                                                                  \
            for (uint32_t n = 0; n < map->arguments; n++) {                                         \
                const struct ferry_column *column = &map->columns[n];                           \
                                                                                                  \
                WIDEN(unaligned, real, cells[n]);                                                 \
            }                                                                                     \
            CALLS(real, real)                                                                     \
            for (uint32_t i = 0; i < count; i++, to += result->stride)                            \
                *(unaligned *)(void *)to = results[i];                                            \
        }                                                                                         \
    }

MAP_REALS(map_doubles, double, f64)
MAP_REALS(map_floats, float, f32)

static void write_cell(const struct ferry_column *column, uint64_t row, char *frame)
{
    const char *from = element(column, row);
    char *cell = frame + column->cell;
    uint64_t bits = 0;

    __builtin_memcpy(&bits, from, column->size);
    if (column->fill == MAP_ONES && column->size < 8)
        bits |= ~(uint64_t)0 << 8 * column->size;
    else if (column->fill == MAP_SIGN || (column->fill == MAP_SIGN_OF_32 && column->size == 4))
        bits = (uint64_t)((int64_t)(bits << (64 - 8 * column->size)) >> (64 - 8 * column->size));
    __builtin_memcpy(cell, &bits, column->width);
}

static void read_cell(const struct ferry_column *column, uint64_t row, const char *frame)
{
    char *to = (char *)(uintptr_t)column->data + (int64_t)row * column->stride;

#if defined(__i386__)
    if (column->fill == MAP_X87) {
        const char *number = frame + column->cell;

        if (column->size == 4)
            __asm__("fldt %1\n\tfstps %0" : "=m"(*(f32 *)(void *)to) : "m"(*(const char(*)[10])number));
        else
            __asm__("fldt %1\n\tfstpl %0" : "=m"(*(f64 *)(void *)to) : "m"(*(const char(*)[10])number));
        return;
    }
#endif
    __builtin_memcpy(to, frame + column->cell, column->size);
}

static void map_frames(const struct ferry_map *map)
{
    char *frame = (char *)(uintptr_t)map->frame;

    for (uint32_t row = 0; row < map->rows; row++) {
        for (uint32_t n = 0; n < map->arguments; n++)
            write_cell(&map->columns[n], row, frame);
        ferry_call((struct ferry_frame *)(void *)frame);
        for (uint32_t n = 0; n < map->results; n++)
            read_cell(&map->columns[map->arguments + n], row, frame);
    }
}

void ferry_map(const struct ferry_map *map)
{
    switch ((enum map_form)map->form) {
    case MAP_INTEGERS:
        map_integers(map);
        return;
    case MAP_DOUBLES:
        map_doubles(map);
        return;
    case MAP_FLOATS:
        map_floats(map);
        return;
    case MAP_FRAME:
        map_frames(map);
        return;
    case MAP_BATCH:
        for (uint32_t row = 0; row < map->rows; row++)
            ferry_call((void *)(uintptr_t)(map->frame + (uint64_t)row * map->stride));
    }
}
