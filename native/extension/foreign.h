/* Memory that somebody else may write while we look at it: the channel, which a hostile
 * worker has too, and whatever records and Buffers lie in.
 *
 * What is read there twice may be two different things: a length that was checked is not
 * the length that is used. So nobody looks there. A `struct foreign` is no pointer: C
 * neither follows it nor casts it, and only this file knows the name of what is in it
 * (tests/fuzz/test_foreign.py). All that can be done with it is
 *
 *     foreign_read        copy it, once, to memory of our own; that may be looked at
 *     foreign_word        the same for one word; foreign_swap and foreign_change for both ways
 *     foreign_write       the other way
 *     foreign_address     hand it to the kernel, or to Python's buffer protocol: the few places
 *                         are listed in the test
 *
 * and none of them gives anything back that was not copied. */
#ifndef FERRY_FOREIGN_H
#define FERRY_FOREIGN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "stream.h"

struct foreign {
    char *hidden;
};

static inline struct foreign foreign_from(void *memory)
{
    return (struct foreign){memory};
}

static inline void *foreign_address(struct foreign memory)
{
    return memory.hidden;
}

/* To compare and to subtract. */
static inline uintptr_t foreign_number(struct foreign memory)
{
    return (uintptr_t)memory.hidden;
}

static inline bool foreign_there(struct foreign memory)
{
    return memory.hidden != NULL;
}

static inline struct foreign foreign_at(struct foreign memory, uint64_t offset)
{
    return (struct foreign){memory.hidden + offset};
}

/* ---- bytes ---- */

/* After the fence no compiler may go back there: what is used is the copy. */
static inline void foreign_read(void *to, struct foreign from, size_t size)
{
    memcpy(to, from.hidden, size);
    atomic_signal_fence(memory_order_seq_cst);
}

/* The same for what is a register's worth mostly: calling memcpy would take longer. */
static inline void foreign_read_piece(void *to, struct foreign from, size_t size)
{
    if (size == 8)
        foreign_read(to, from, 8);
    else if (size == 4)
        foreign_read(to, from, 4);
    else
        foreign_read(to, from, size);
}

static inline void foreign_write(struct foreign to, const void *from, size_t size)
{
    memcpy(to.hidden, from, size);
}

static inline void foreign_clear(struct foreign to, size_t size)
{
    memset(to.hidden, 0, size);
}

/* Past the caches, for a worker that reads it soon. */
static inline void foreign_stream(struct foreign to, const void *from, size_t size)
{
    copy_past_caches(to.hidden, from, size);
    stream_end();
}

/* ---- words, `at` so many bytes further ---- */

static inline _Atomic uint32_t *foreign_word_at(struct foreign memory, size_t at)
{
    return (_Atomic uint32_t *)(void *)(memory.hidden + at);
}

static inline uint32_t foreign_word(struct foreign memory, size_t at)
{
    return atomic_load_explicit(foreign_word_at(memory, at), memory_order_acquire);
}

static inline void foreign_put(struct foreign memory, size_t at, uint32_t value)
{
    atomic_store_explicit(foreign_word_at(memory, at), value, memory_order_release);
}

static inline uint32_t foreign_swap(struct foreign memory, size_t at, uint32_t value)
{
    return atomic_exchange(foreign_word_at(memory, at), value);
}

/* From `*seen` to `value`. False: it was another, which is now in `*seen`. */
static inline bool foreign_change(struct foreign memory, size_t at, uint32_t *seen, uint32_t value)
{
    return atomic_compare_exchange_strong(foreign_word_at(memory, at), seen, value);
}

/* wait.c: sleep while it is `value`, until woken or the limit is over; wake who sleeps there */
void foreign_sleep(struct foreign memory, size_t at, uint32_t value, const struct timespec *limit);
void foreign_wake(struct foreign memory, size_t at, int count);

#endif
