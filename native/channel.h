/* The channel: memory shared by the host and one worker.
 *
 *     header | lanes, each a stack of frames | arena
 *
 * A lane is one call in flight. Two words of its first frame carry it across, each
 * written by both sides with atomic exchanges:
 *
 *     request   call number << 1 | worker is parked
 *     reply     call number << 1 | host is parked
 *
 * The side that hands something over exchanges the whole word, so it learns in
 * the same instruction whether the other side sleeps and has to be woken. The
 * side that goes to sleep sets the low bit by compare-and-exchange, which fails
 * if the word has moved on; then it does not sleep. No wake-up can be lost.
 *
 * Waiting and placement. Two processors hand a word over in less than a tenth of a
 * microsecond as long as both sides look at it; waking an idle processor costs
 * fifty; two processes taking turns on one processor cost five. So there are
 * two ways to wait and nothing in between. A lane is *hot* while calls are
 * short and follow each other closely: the worker spins on another processor
 * than the host's. Otherwise it is *cold*: before it parks, the worker moves to
 * the processor the host called from, and the host parks at once after each
 * request, so the two take turns on it (placement.h). Only the worker decides
 * which it is; the host reads it off the parked bit.
 *
 * Trust. The worker may be hostile. The host reads from here only: the reply
 * word (compared with the two values it can lawfully have), result cells and
 * arena bytes (copied; never used as a length, an offset or a pointer of its
 * own), and the fault record (copied; only ever shown). What the host needs to
 * believe, such as arena extents and call numbers, it keeps in its own memory.
 */
#ifndef FERRY_CHANNEL_H
#define FERRY_CHANNEL_H

#include <stdatomic.h>
#include <stdint.h>

#include "frame.h"

#define CHANNEL_MAGIC 0x59525246u /* "FRRY" */
#define CHANNEL_VERSION 1u
#define CHANNEL_LANES 64u /* calls at once; more wait for one of them to end */
#define CHANNEL_DEPTH 32u /* frames a lane: calls and callbacks nested */
#define CHANNEL_PARKED 1u

/* Functions of the worker that the host calls like any other, by a frame.
 * libferry.runtime.services has their declarations in the same order. */
enum ferry_service {
    SERVICE_OPEN,
    SERVICE_SYMBOL,
    SERVICE_LENGTH,
    SERVICE_COPY,
    SERVICE_ERRNO_OF,
    SERVICE_COUNT,
};

/* What the worker leaves behind when a signal or an exception ends it. */
struct ferry_fault {
    _Atomic uint32_t happened;
    uint32_t code; /* signal number, or Windows exception code */
    uint64_t address;
    uint64_t program_counter;
};

struct ferry_header {
    /* written by the host before the worker starts */
    uint32_t magic;
    uint32_t version;
    uint32_t spin_ns; /* how long either side spins before it parks; 0: never */
    uint32_t reserved;
    uint64_t size; /* bytes of the whole mapping */
    /* written by the worker before its first reply */
    uint64_t base; /* where the worker has mapped the channel */
    uint64_t services[SERVICE_COUNT];
    struct ferry_fault fault;
};

struct ferry_lane {
    struct ferry_frame frames[CHANNEL_DEPTH];
};

#define CHANNEL_LANES_OFFSET 4096u
#define CHANNEL_ARENA_OFFSET \
    (CHANNEL_LANES_OFFSET + CHANNEL_LANES * (uint32_t)sizeof(struct ferry_lane))

/* i386 aligns 64-bit members to 4: nothing here may depend on that. */
_Static_assert(offsetof(struct ferry_header, base) == 24, "");
_Static_assert(offsetof(struct ferry_header, fault) == 32 + 8 * SERVICE_COUNT, "");
_Static_assert(offsetof(struct ferry_fault, address) == 8, "");
_Static_assert(sizeof(struct ferry_header) <= CHANNEL_LANES_OFFSET, "");
_Static_assert(CHANNEL_ARENA_OFFSET % 4096 == 0, "");

/* The first frame of a lane, which has its two words. */
static inline struct ferry_frame *channel_lane(void *channel, uint32_t index)
{
    return ((struct ferry_lane *)((char *)channel + CHANNEL_LANES_OFFSET))[index].frames;
}

/* Between two looks at a word that another processor will write. */
static inline void channel_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

#endif
