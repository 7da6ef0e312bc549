/* What protects the state that threads share.
 *
 * With the GIL, the GIL does: C code is alone until it lets go of it. A free-threaded
 * Python (PEP 703, 3.13 on) has none. What several threads may change is there taken by
 * an atomic exchange, counted atomically, or guarded by a mutex: one of Python's own,
 * which lets go of the interpreter while it waits, since the garbage collector stops all
 * threads and would wait for this one.
 *
 * With the GIL every operation here is the plain one: the hot path pays nothing for the
 * builds that have none. */
#ifndef FERRY_SHARING_H
#define FERRY_SHARING_H

#include <Python.h>
#include <stdatomic.h>
#include <stdbool.h>

#define peek(place) atomic_load_explicit(place, memory_order_relaxed)
#define poke(place, value) atomic_store_explicit(place, value, memory_order_relaxed)

#ifdef Py_GIL_DISABLED
#define CACHE_LINE 64 /* apart by as much, two threads' data do not slow each other down */

typedef PyMutex Guard; /* zero: open */

static inline void guard_begin(Guard *guard)
{
    PyMutex_Lock(guard);
}

static inline void guard_end(Guard *guard)
{
    PyMutex_Unlock(guard);
}

/* Set a flag. False: it was set. */
static inline bool flag_take(_Atomic bool *flag)
{
    return !peek(flag) && !atomic_exchange(flag, true);
}

static inline void flag_give(_Atomic bool *flag)
{
    atomic_store(flag, false);
}

static inline void count_up(_Atomic uint32_t *count)
{
    atomic_fetch_add(count, 1);
}

static inline void count_down(_Atomic uint32_t *count)
{
    atomic_fetch_sub(count, 1);
}

/* Change a number from what it was read as; if it is another meanwhile, read it again. */
static inline bool number_swap(_Atomic Py_ssize_t *number, Py_ssize_t *from, Py_ssize_t to)
{
    return atomic_compare_exchange_weak(number, from, to);
}

#else

typedef struct {
    char unused;
} Guard;

static inline void guard_begin(Guard *guard)
{
    (void)guard;
}

static inline void guard_end(Guard *guard)
{
    (void)guard;
}

static inline bool flag_take(_Atomic bool *flag)
{
    if (peek(flag))
        return false;
    poke(flag, true);
    return true;
}

static inline void flag_give(_Atomic bool *flag)
{
    poke(flag, false);
}

static inline void count_up(_Atomic uint32_t *count)
{
    poke(count, peek(count) + 1);
}

static inline void count_down(_Atomic uint32_t *count)
{
    poke(count, peek(count) - 1);
}

static inline bool number_swap(_Atomic Py_ssize_t *number, Py_ssize_t *from, Py_ssize_t to)
{
    (void)from;
    poke(number, to);
    return true;
}

#endif
#endif
