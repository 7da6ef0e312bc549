/* Copying past the caches, for what another processor reads next.
 *
 * Memory that goes back and forth between two processors lies in the other one's cache
 * when it is written again. An ordinary store first fetches the line from there, only to
 * overwrite it; where the two share no cache that takes longer than what is done with the
 * data. A store past the caches fetches nothing, and does not wait.
 */
#ifndef FERRY_STREAM_H
#define FERRY_STREAM_H

#include <stddef.h>
#include <stdint.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* For some hundred bytes or more. What is so copied is not ordered before a release, but
 * for stream_end. */
static inline void copy_past_caches(char *to, const char *from, size_t size)
{
    size_t done = 0;

#if defined(__SSE2__)
    if ((uintptr_t)to % sizeof(__m128i) == 0) {
        for (; done + sizeof(__m128i) <= size; done += sizeof(__m128i))
            _mm_stream_si128((__m128i *)(void *)(to + done),
                             _mm_loadu_si128((const __m128i *)(const void *)(from + done)));
    }
#endif
    __builtin_memcpy(to + done, from + done, size - done);
}

/* Wait until it is there; that takes as long as the way to the memory. */
static inline void stream_end(void)
{
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

#endif
