/* Counts what a process takes from malloc: to be preloaded (LD_PRELOAD) into one.
 *
 * It is the library that is called as well, so that a worker can be asked for its own
 * count: the loader finds that it has the file already.
 */

#include <stdatomic.h>
#include <stddef.h>

#define EXPORT __attribute__((visibility("default")))

/* glibc's own, under the names that it exports for this */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static atomic_ulong taken;

EXPORT unsigned long allocations(void) { return atomic_load(&taken); }

EXPORT int add(int a, int b) { return a + b; }

EXPORT void *malloc(size_t size)
{
    atomic_fetch_add(&taken, 1);
    return __libc_malloc(size);
}

EXPORT void *calloc(size_t count, size_t size)
{
    atomic_fetch_add(&taken, 1);
    return __libc_calloc(count, size);
}

EXPORT void *realloc(void *old, size_t size)
{
    atomic_fetch_add(&taken, 1);
    return __libc_realloc(old, size);
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    atomic_fetch_add(&taken, 1);
    return __libc_memalign(alignment, size);
}

EXPORT int posix_memalign(void **made, size_t alignment, size_t size)
{
    atomic_fetch_add(&taken, 1);
    *made = __libc_memalign(alignment, size);
    return *made ? 0 : 12; /* ENOMEM */
}
