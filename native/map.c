/* The loops over rows. What makes them fast is that nothing in them depends on data. Where
 * all columns have one type, a row is a load for each, the call and a store. Integers of
 * several sizes are first widened, a block of rows at a time, in loops that a compiler
 * vectorises. An element that has no such shape goes through a frame like any other call. */
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
typedef uintptr_t unaligned_word __attribute__((aligned(1)));
typedef float f32 __attribute__((aligned(1)));
typedef double f64 __attribute__((aligned(1)));

/* 1, 2, 4 or 8 bytes; a call of memcpy would take as long as all the rest */
static uint64_t load(const char *from, uint32_t size)
{
    switch (size) {
    case 8:
        return *(const u64 *)(const void *)from;
    case 4:
        return *(const u32 *)(const void *)from;
    case 2:
        return *(const u16 *)(const void *)from;
    default:
        return *(const uint8_t *)from;
    }
}

static void store(char *to, uint64_t bits, uint32_t size)
{
    switch (size) {
    case 8:
        *(u64 *)(void *)to = bits;
        break;
    case 4:
        *(u32 *)(void *)to = (uint32_t)bits;
        break;
    case 2:
        *(u16 *)(void *)to = (uint16_t)bits;
        break;
    default:
        *(uint8_t *)to = (uint8_t)bits;
    }
}

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

    for (uint32_t i = 0; i < count; i++, to += column->stride)
        store(to, results[i], column->size);
}

static void call_block(const struct ferry_map *map, word (*cells)[BLOCK], uint32_t count,
                       uint64_t *results)
{
    void *function = (void *)(uintptr_t)map->function;

/* One loop per number of arguments: CALL is the call of row i. */
#define ROWS(CALL)                                                                                \
    for (uint32_t i = 0; i < count; i++)                                                          \
        results[i] = (CALL);                                                                      \
    break

    switch (map->arguments) {
    case 0:
        ROWS(((uint64_t(*)(void))function)());
    case 1:
        ROWS(((uint64_t(*)(word))function)(cells[0][i]));
    case 2:
        ROWS(((uint64_t(*)(word, word))function)(cells[0][i], cells[1][i]));
    case 3:
        ROWS(((uint64_t(*)(word, word, word))function)(cells[0][i], cells[1][i], cells[2][i]));
    case 4:
        ROWS(((uint64_t(*)(word, word, word, word))function)(cells[0][i], cells[1][i],
                                                             cells[2][i], cells[3][i]));
    case 5:
        ROWS(((uint64_t(*)(word, word, word, word, word))function)(
            cells[0][i], cells[1][i], cells[2][i], cells[3][i], cells[4][i]));
    default:
        ROWS(((uint64_t(*)(word, word, word, word, word, word))function)(
            cells[0][i], cells[1][i], cells[2][i], cells[3][i], cells[4][i], cells[5][i]));
    }
}

/* Integers of several sizes: a block of each column is widened before it is called with. */
__attribute__((noinline)) static void map_blocks(const struct ferry_map *map)
{
    word cells[MAP_FAST][BLOCK];
    uint64_t results[BLOCK];

    for (uint32_t row = 0; row < map->rows; row += BLOCK) {
        uint32_t count = map->rows - row < BLOCK ? map->rows - row : BLOCK;

        for (uint32_t n = 0; n < map->arguments; n++)
            widen_integers(&map->columns[n], row, count, cells[n]);
        call_block(map, cells, count, results);
        if (map->results)
            keep_integers(&map->columns[map->arguments], row, count, results);
    }
}

/* ---- columns of one type: each row is called with where it lies ---- */

static bool all_dense(const struct ferry_map *map, int64_t size)
{
    for (uint32_t n = 0; n < map->arguments + map->results; n++)
        if (map->columns[n].stride != size)
            return false;
    return map->results > 0;
}

#define COLUMN(n)                                                                                 \
    const char *const at##n = (const char *)(uintptr_t)map->columns[n].data;                      \
    const intptr_t by##n = (intptr_t)map->columns[n].stride;
#define COLUMNS_1 COLUMN(0)
#define COLUMNS_2 COLUMNS_1 COLUMN(1)
#define COLUMNS_3 COLUMNS_2 COLUMN(2)
#define COLUMNS_4 COLUMNS_3 COLUMN(3)
#define COLUMNS_5 COLUMNS_4 COLUMN(4)
#define COLUMNS_6 COLUMNS_5 COLUMN(5)

/* i386 has few registers: where the compiler knows a stride it needs none for it. */
#define PLACE(at, by, element) (dense ? (at) + row * sizeof(element) : (at) + (intptr_t)row * (by))
#define VALUE(n, element, cell) ((cell)*(const element *)(const void *)PLACE(at##n, by##n, element))
#define VALUES_1(element, cell) VALUE(0, element, cell)
#define VALUES_2(element, cell) VALUES_1(element, cell), VALUE(1, element, cell)
#define VALUES_3(element, cell) VALUES_2(element, cell), VALUE(2, element, cell)
#define VALUES_4(element, cell) VALUES_3(element, cell), VALUE(3, element, cell)
#define VALUES_5(element, cell) VALUES_4(element, cell), VALUE(4, element, cell)
#define VALUES_6(element, cell) VALUES_5(element, cell), VALUE(5, element, cell)

#define CELLS_1(cell) cell
#define CELLS_2(cell) CELLS_1(cell), cell
#define CELLS_3(cell) CELLS_2(cell), cell
#define CELLS_4(cell) CELLS_3(cell), cell
#define CELLS_5(cell) CELLS_4(cell), cell
#define CELLS_6(cell) CELLS_5(cell), cell

#define EACH(n, element, cell)                                                                    \
    {                                                                                             \
        COLUMNS_##n                                                                               \
        for (uintptr_t row = 0; row < rows; row++)                                                \
            *(element *)(void *)PLACE(to, to_by, element) =                                       \
                (element)((cell(*)(CELLS_##n(cell)))function)(VALUES_##n(element, cell));         \
        break;                                                                                    \
    }

/* Elements are passed, and given back, as `cell`. */
#define MAP_OF(name, element, cell)                                                               \
    static inline __attribute__((always_inline)) void name##_rows(const struct ferry_map *map,    \
                                                                  bool dense)                     \
    {                                                                                             \
        const struct ferry_column *result = &map->columns[map->arguments];                        \
        void *const function = (void *)(uintptr_t)map->function;                                  \
        const uintptr_t rows = map->rows;                                                         \
        char unused[8], *const to = map->results ? (char *)(uintptr_t)result->data : unused;      \
        const intptr_t to_by = map->results ? (intptr_t)result->stride : 0;                       \
                                                                                                  \
        switch (map->arguments) {                                                                 \
        case 1:                                                                                   \
            EACH(1, element, cell)                                                                \
        case 2:                                                                                   \
            EACH(2, element, cell)                                                                \
        case 3:                                                                                   \
            EACH(3, element, cell)                                                                \
        case 4:                                                                                   \
            EACH(4, element, cell)                                                                \
        case 5:                                                                                   \
            EACH(5, element, cell)                                                                \
        default:                                                                                  \
            EACH(6, element, cell)                                                                \
        }                                                                                         \
    }                                                                                             \
                                                                                                  \
    __attribute__((noinline)) static void name(const struct ferry_map *map)                       \
    {                                                                                             \
        if (all_dense(map, sizeof(element)))                                                      \
            name##_rows(map, true);                                                               \
        else                                                                                      \
            name##_rows(map, false);                                                              \
    }

MAP_OF(map_signed, i32, word)
MAP_OF(map_unsigned, u32, word)
MAP_OF(map_words, unaligned_word, word)
MAP_OF(map_doubles, f64, double)
MAP_OF(map_floats, f32, float)

/* Whether all elements have that size and, unless they fill a register, are extended alike. */
static bool all_alike(const struct ferry_map *map, uint8_t size)
{
    bool sign = map->columns[0].fill != MAP_ZEROS;

    for (uint32_t n = 0; n < map->arguments + map->results; n++)
        if (map->columns[n].size != size)
            return false;
    for (uint32_t n = 0; n < map->arguments && size < sizeof(word); n++)
        if ((map->columns[n].fill != MAP_ZEROS) != sign)
            return false;
    return map->arguments > 0;
}

static void map_integers(const struct ferry_map *map)
{
    if (all_alike(map, sizeof(word)))
        map_words(map);
    else if (!all_alike(map, 4))
        map_blocks(map);
    else if (map->columns[0].fill != MAP_ZEROS)
        map_signed(map);
    else
        map_unsigned(map);
}

/* ---- anything else: by a frame ---- */

static void write_cell(const struct ferry_column *column, uint64_t row, char *frame)
{
    uint64_t bits = load(element(column, row), column->size);

    if (column->fill == MAP_ONES && column->size < 8)
        bits |= ~(uint64_t)0 << 8 * column->size;
    else if (column->fill == MAP_SIGN || (column->fill == MAP_SIGN_OF_32 && column->size == 4))
        bits = (uint64_t)((int64_t)(bits << (64 - 8 * column->size)) >> (64 - 8 * column->size));
    store(frame + column->cell, bits, column->width);
}

static void read_cell(const struct ferry_column *column, uint64_t row, const char *frame)
{
    char *to = (char *)(uintptr_t)column->data + (int64_t)row * column->stride;

#if defined(__i386__)
    if (column->fill == MAP_X87) {
        const char *number = frame + column->cell;

        if (column->size == 4)
            __asm__("fldt %1\n\tfstps %0"
                    : "=m"(*(f32 *)(void *)to)
                    : "m"(*(const char(*)[10])number));
        else
            __asm__("fldt %1\n\tfstpl %0"
                    : "=m"(*(f64 *)(void *)to)
                    : "m"(*(const char(*)[10])number));
        return;
    }
#endif
    store(to, load(frame + column->cell, column->size), column->size);
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
