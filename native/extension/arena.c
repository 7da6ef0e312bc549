/* Who owns which bytes of the arena: first fit over an ascending list of free
 * extents. Temporary copies of arguments come and go in stack order, so the list
 * is short and the same, already touched pages are found again. */
#include "extension.h"

static uint64_t rounded(uint64_t size)
{
    return size == 0 ? ARENA_ALIGN : (size + ARENA_ALIGN - 1) & ~(uint64_t)(ARENA_ALIGN - 1);
}

bool arena_init(struct arena *arena, uint64_t start, uint64_t size)
{
    arena->capacity = 16;
    arena->free = malloc(arena->capacity * sizeof *arena->free);
    if (!arena->free)
        return false;
    arena->free[0] = (struct extent){start, size & ~(uint64_t)(ARENA_ALIGN - 1)};
    arena->count = 1;
    return true;
}

void arena_clear(struct arena *arena)
{
    free(arena->free);
    *arena = (struct arena){0};
}

static uint64_t take(struct arena *arena, uint64_t size)
{
    for (size_t i = 0; i < arena->count; i++) {
        struct extent *extent = &arena->free[i];
        uint64_t start = extent->start;

        if (extent->size < size)
            continue;
        extent->start += size;
        extent->size -= size;
        if (extent->size == 0) {
            arena->count--;
            memmove(extent, extent + 1, (arena->count - i) * sizeof *extent);
        }
        return start;
    }
    return ARENA_NONE;
}

uint64_t arena_take(struct arena *arena, uint64_t size)
{
    uint64_t start;

    if (size > UINT64_MAX / 2)
        return ARENA_NONE;
    guard_begin(&arena->guard);
    start = take(arena, rounded(size));
    guard_end(&arena->guard);
    return start;
}

static void give(struct arena *arena, uint64_t start, uint64_t size)
{
    struct extent *extents = arena->free;
    size_t at = 0;
    bool joins_left, joins_right;

    while (at < arena->count && extents[at].start < start)
        at++;
    joins_left = at > 0 && extents[at - 1].start + extents[at - 1].size == start;
    joins_right = at < arena->count && start + size == extents[at].start;
    if (joins_left && joins_right) {
        extents[at - 1].size += size + extents[at].size;
        arena->count--;
        memmove(&extents[at], &extents[at + 1], (arena->count - at) * sizeof *extents);
    } else if (joins_left) {
        extents[at - 1].size += size;
    } else if (joins_right) {
        extents[at].start = start;
        extents[at].size += size;
    } else {
        if (arena->count == arena->capacity) {
            extents = realloc(extents, arena->capacity * 2 * sizeof *extents);
            if (!extents)
                return; /* these bytes stay taken, which is safe */
            arena->free = extents;
            arena->capacity *= 2;
        }
        memmove(&extents[at + 1], &extents[at], (arena->count - at) * sizeof *extents);
        extents[at] = (struct extent){start, size};
        arena->count++;
    }
}

void arena_give(struct arena *arena, uint64_t start, uint64_t size)
{
    guard_begin(&arena->guard);
    give(arena, start, rounded(size));
    guard_end(&arena->guard);
}

uint64_t arena_left(struct arena *arena)
{
    uint64_t total = 0;

    guard_begin(&arena->guard);
    for (size_t i = 0; i < arena->count; i++)
        total += arena->free[i].size;
    guard_end(&arena->guard);
    return total;
}
