/* The loops over rows. What makes them fast is that nothing in them depends on data. Where
 * all columns have one type, a row is a load for each, the call and a store. Integers of
 * several sizes are first widened, a block of rows at a time, in loops that a compiler
 * vectorises. An element that has no such shape goes through a frame like any other call. */
#include "map.h"
#include "stream.h"

/* Rows widened at once. With more, the functions below would need a page of stack, and
 * on Windows a helper of the C library that touches it. */
#define BLOCK 64u

typedef uintptr_t word; /* what an integer register holds */

/* Of a map's rows, and where their results go: `by` bytes from one to the next. */
struct part {
    uint32_t from, count;
    char *to;
    intptr_t by;
};

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

static void keep_integers(char *to, intptr_t by, uint32_t size, uint32_t count,
                          const uint64_t *results)
{
    for (uint32_t i = 0; i < count; i++, to += by)
        store(to, results[i], size);
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
__attribute__((noinline)) static void map_blocks(const struct ferry_map *map, struct part part)
{
    word cells[MAP_FAST][BLOCK];
    uint64_t results[BLOCK];

    for (uint32_t done = 0; done < part.count; done += BLOCK) {
        uint32_t count = part.count - done < BLOCK ? part.count - done : BLOCK;

        for (uint32_t n = 0; n < map->arguments; n++)
            widen_integers(&map->columns[n], (uint64_t)part.from + done, count, cells[n]);
        call_block(map, cells, count, results);
        if (map->results)
            keep_integers(part.to + (intptr_t)done * part.by, part.by,
                          map->columns[map->arguments].size, count, results);
    }
}

/* ---- columns of one type: each row is called with where it lies ---- */

static bool all_dense(const struct ferry_map *map, struct part part, intptr_t size)
{
    for (uint32_t n = 0; n < map->arguments; n++)
        if (map->columns[n].stride != size)
            return false;
    return part.by == size;
}

#define COLUMN(n)                                                                                 \
    const char *const at##n = element(&map->columns[n], part.from);                               \
    const intptr_t by##n = (intptr_t)map->columns[n].stride;
#define COLUMNS_1 COLUMN(0)
#define COLUMNS_2 COLUMNS_1 COLUMN(1)
#define COLUMNS_3 COLUMNS_2 COLUMN(2)
#define COLUMNS_4 COLUMNS_3 COLUMN(3)
#define COLUMNS_5 COLUMNS_4 COLUMN(4)
#define COLUMNS_6 COLUMNS_5 COLUMN(5)

/* i386 has few registers: where the compiler knows a stride it needs none for it. */
#define PLACE(at, by, type) (dense ? (at) + row * sizeof(type) : (at) + (intptr_t)row * (by))
#define VALUE(n, type, cell) ((cell)*(const type *)(const void *)PLACE(at##n, by##n, type))
#define VALUES_1(type, cell) VALUE(0, type, cell)
#define VALUES_2(type, cell) VALUES_1(type, cell), VALUE(1, type, cell)
#define VALUES_3(type, cell) VALUES_2(type, cell), VALUE(2, type, cell)
#define VALUES_4(type, cell) VALUES_3(type, cell), VALUE(3, type, cell)
#define VALUES_5(type, cell) VALUES_4(type, cell), VALUE(4, type, cell)
#define VALUES_6(type, cell) VALUES_5(type, cell), VALUE(5, type, cell)

#define CELLS_1(cell) cell
#define CELLS_2(cell) CELLS_1(cell), cell
#define CELLS_3(cell) CELLS_2(cell), cell
#define CELLS_4(cell) CELLS_3(cell), cell
#define CELLS_5(cell) CELLS_4(cell), cell
#define CELLS_6(cell) CELLS_5(cell), cell

#define EACH(n, type, cell)                                                                   \
    {                                                                                             \
        COLUMNS_##n                                                                               \
        for (uintptr_t row = 0; row < rows; row++)                                                \
            *(type *)(void *)PLACE(part.to, part.by, type) =                              \
                (type)((cell(*)(CELLS_##n(cell)))function)(VALUES_##n(type, cell));       \
        break;                                                                                    \
    }

/* Elements are passed, and given back, as `cell`. */
#define MAP_OF(name, type, cell)                                                                  \
    static inline __attribute__((always_inline)) void name##_rows(                                \
        const struct ferry_map *map, const struct part part, bool dense)                          \
    {                                                                                             \
        void *const function = (void *)(uintptr_t)map->function;                                  \
        const uintptr_t rows = part.count;                                                        \
                                                                                                  \
        switch (map->arguments) {                                                                 \
        case 1:                                                                                   \
            EACH(1, type, cell)                                                                   \
        case 2:                                                                                   \
            EACH(2, type, cell)                                                                   \
        case 3:                                                                                   \
            EACH(3, type, cell)                                                                   \
        case 4:                                                                                   \
            EACH(4, type, cell)                                                                   \
        case 5:                                                                                   \
            EACH(5, type, cell)                                                                   \
        default:                                                                                  \
            EACH(6, type, cell)                                                                   \
        }                                                                                         \
    }                                                                                             \
                                                                                                  \
    __attribute__((noinline)) static void name(const struct ferry_map *map, struct part part)     \
    {                                                                                             \
        if (all_dense(map, part, sizeof(type)))                                                   \
            name##_rows(map, part, true);                                                         \
        else                                                                                      \
            name##_rows(map, part, false);                                                        \
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

static void map_integers(const struct ferry_map *map, struct part part)
{
    if (all_alike(map, sizeof(word)))
        map_words(map, part);
    else if (!all_alike(map, 4))
        map_blocks(map, part);
    else if (map->columns[0].fill != MAP_ZEROS)
        map_signed(map, part);
    else
        map_unsigned(map, part);
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

/* ---- all, or a part at a time ---- */

static void map_part(const struct ferry_map *map, struct part part)
{
    switch ((enum map_form)map->form) {
    case MAP_INTEGERS:
        map_integers(map, part);
        return;
    case MAP_DOUBLES:
        map_doubles(map, part);
        return;
    case MAP_FLOATS:
        map_floats(map, part);
        return;
    case MAP_FRAME:
        map_frames(map);
        return;
    case MAP_BATCH:
        for (uint32_t row = 0; row < map->rows; row++)
            ferry_call((void *)(uintptr_t)(map->frame + (uint64_t)row * map->stride));
    }
}

void ferry_map(const struct ferry_map *map)
{
    const struct ferry_column *result = &map->columns[map->arguments];
    char unused[8];
    struct part all = {.count = map->rows, .to = unused};

    if (map->results) {
        all.to = (char *)(uintptr_t)result->data;
        all.by = (intptr_t)result->stride;
    }
    map_part(map, all);
}

#define RESULTS_BYTES 2048u

/* The same with the results past the caches, for the host to read. */
static void map_past_caches(const struct ferry_map *map)
{
    const struct ferry_column *result = &map->columns[map->arguments];
    char *to = (char *)(uintptr_t)result->data;
    _Alignas(16) char results[RESULTS_BYTES];
    struct part part = {.count = RESULTS_BYTES / result->size, .to = results, .by = result->size};

    for (; part.from < map->rows; part.from += part.count) {
        if (part.count > map->rows - part.from)
            part.count = map->rows - part.from;
        map_part(map, part);
        copy_past_caches(to + (size_t)part.from * result->size, results,
                         (size_t)part.count * result->size);
    }
    stream_end();
}

static bool is_fast(const struct ferry_map *map)
{
    return map->form != MAP_FRAME && map->form != MAP_BATCH && map->results &&
           map->columns[map->arguments].stride == map->columns[map->arguments].size;
}

void ferry_map_queue(struct ferry_queue *queue)
{
    uint32_t done = atomic_load_explicit(&queue->done, memory_order_relaxed), looks = 0;

    do {
        if (atomic_load_explicit(&queue->posted, memory_order_acquire) != done) {
            const struct ferry_map *map = (void *)(uintptr_t)queue->maps[done % MAP_QUEUE];

            (is_fast(map) ? map_past_caches : ferry_map)(map);
            atomic_store_explicit(&queue->done, ++done, memory_order_release);
            looks = 0;
        } else if (atomic_load_explicit(&queue->end, memory_order_relaxed) == done) {
            return;
        } else {
            channel_relax();
        }
    } while (looks++ < queue->looks);
}
