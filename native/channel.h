/* The channel: memory shared by the host and one worker.
 *
 *     header | fault area | lanes, each a stack of frames | arena
 *
 * A lane is one call in flight, with the callbacks and calls nested in it. Two words
 * of its first frame carry it across, each written by both sides with atomic
 * exchanges:
 *
 *     request   what the host hands over
 *     reply     what the worker hands over
 *
 *     31 ............ 8   7 ...... 2   1      0
 *     number of handover  depth        back   the other side's sleeper is parked
 *
 * The host's handovers are numbered; the worker's carries the number it answers.
 * `depth` is the frame it is about: a call at depth d is in frames[d], a callback
 * from it in frames[d + 1], a call from that one in frames[d + 2].
 *
 *                    request                        reply
 *     back clear     call frames[depth].function    the call of frames[depth] returned
 *     back set       the callback of frames[depth]  call back: frames[depth] has its
 *                    returned                       arguments
 *
 * So in any state there are two lawful replies to a call at depth d: (d, returned) and
 * (d + 1, call back). Anything else, such as the return of an outer call whose inner
 * ones were skipped by longjmp, is a violation and ends the worker.
 *
 * The side that hands something over exchanges the whole word, so it learns in
 * the same instruction whether the other side sleeps and has to be woken. The
 * side that goes to sleep sets the low bit by compare-and-exchange, which fails
 * if the word has moved on; then it does not sleep. No wake-up can be lost.
 *
 * Callbacks. A C function pointer that leads to Python is the address of an entry
 * thunk (arch/), one of a fixed table: no executable memory is made. The thunk saves
 * the argument registers in a block laid out like the head of a frame and enters
 * ferry_enter(number, head), which moves them to the lane's next frame, with as much
 * of the stack as the callback's `struct ferry_callback` says, writes its number to that
 * frame's `function`, and hands it over.
 * A thread of the library's own has no lane. It takes one of the guest lanes: the
 * host has posted a request there without a function (`frames[0].function` is 0, depth
 * 0), which no worker thread serves and nobody answers, save by calling back.
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
#define CHANNEL_VERSION 3u
#define CHANNEL_LANES 64u  /* calls at once; more wait for one of them to end */
#define CHANNEL_GUESTS 16u /* more lanes, after those: callbacks from the library's own threads */
#define CHANNEL_DEPTH 64u  /* frames a lane: 32 calls and 32 callbacks, nested */
#define CHANNEL_CALLBACKS 4096u /* entry thunks */

#define CHANNEL_PARKED 1u
#define CHANNEL_BACK 2u
#define CHANNEL_DEPTH_SHIFT 2
#define CHANNEL_NUMBER_SHIFT 8
#define CHANNEL_NUMBERS (1u << 24) /* then they begin again at 0 */

static inline uint32_t channel_word(uint32_t number, uint32_t depth, uint32_t back)
{
    return number << CHANNEL_NUMBER_SHIFT | depth << CHANNEL_DEPTH_SHIFT | back;
}

static inline uint32_t channel_depth(uint32_t word)
{
    return word >> CHANNEL_DEPTH_SHIFT & (CHANNEL_DEPTH - 1);
}

/* Functions of the worker that the host calls like any other, by a frame.
 * libferry.runtime.services has their declarations in the same order. */
enum ferry_service {
    SERVICE_OPEN,
    SERVICE_SYMBOL,
    SERVICE_LENGTH,
    SERVICE_COPY,
    SERVICE_ERRNO_OF,
    SERVICE_CALLBACK,
    SERVICE_MAP,
    SERVICE_MAP_QUEUE,
    SERVICE_COUNT,
};

/* What a thunk has to know of its callback's call plan; written by the host, in the
 * arena or (in-process) anywhere, and left alone while the thunk is in use. */
struct ferry_reference {
    uint32_t size;  /* bytes behind the pointer */
    uint16_t at;    /* where in the frame they are copied to, or from */
    uint16_t cell;  /* where in the frame the pointer is */
    uint8_t width;  /* bytes of the pointer */
    uint8_t result; /* 0: an argument, copied in; 1: room for the result, copied out */
    uint16_t unused;
};

struct ferry_callback {
    uint16_t stack_bytes;    /* of stack arguments to copy into the stack image */
    uint16_t frame_bytes;    /* where in the frame arguments and result end */
    uint16_t pop_bytes;      /* i386: what the callee pops beside its return address */
    uint8_t x87_results;     /* to load before returning */
    uint8_t vector_count;    /* vector registers that arguments arrive in */
    uint32_t unused;
    uint32_t reference_count;
    struct ferry_reference references[];
};

/* A worker that ends itself leaves with this exit code: for one of the reasons below, or
 * because the signal that ended it could not: what is first in a pid namespace ignores
 * those it sends itself. */
#define CHANNEL_FAULT_EXIT 250
#define CHANNEL_FAULT_RELEASED 0x1001u /* a callback was called after its release */
#define CHANNEL_FAULT_ORDER 0x1002u    /* the host asked for what it may not ask then */
#define CHANNEL_FAULT_THREAD 0x1003u   /* the system gives no thread for one more lane */

/* What `code` of the record below is. */
enum ferry_fault_kind {
    FAULT_SIGNAL = 1, /* a signal's number */
    FAULT_EXCEPTION,  /* a Windows exception code */
    FAULT_REASON,     /* one of the reasons above */
};

#define CHANNEL_NO_LANE UINT32_MAX
#define CHANNEL_FAULT_PARAMETERS 8u

/* What the worker leaves behind when one of those ends it. `happened` is written last. */
struct ferry_fault {
    _Atomic uint32_t happened;
    uint32_t code;
    uint64_t address; /* whose access faulted; the callback's number, the request word */
    uint64_t program_counter;
    uint32_t kind;
    uint32_t detail; /* of a signal: its si_code */
    uint32_t lane;   /* whose call was on that thread; CHANNEL_NO_LANE: none */
    uint32_t thread; /* the system's number of it */
    /* of SIGSYS: system call and architecture; of a signal that was sent: by which process
     * and user; of an exception: its own */
    uint64_t parameters[CHANNEL_FAULT_PARAMETERS];
};

#define FAULT_REGISTERS 64u
#define FAULT_FRAMES 64u
#define FAULT_STACK (64u * 1024)
#define FAULT_MAPS (128u * 1024)

/* And what its backtrace is made of, by the host. */
struct ferry_fault_area {
    uint32_t register_count;
    uint32_t stack_size;
    uint64_t stack_base; /* address of stack[0], which is the stack pointer or just above */
    uint32_t maps_size;
    uint32_t frame_count;
    uint64_t registers[FAULT_REGISTERS]; /* in DWARF's order for the CPU, then the pc */
    uint64_t frames[FAULT_FRAMES]; /* Windows: return addresses, innermost first; elsewhere none */
    uint8_t stack[FAULT_STACK]; /* at a multiple of 8 */
    char maps[FAULT_MAPS]; /* /proc/self/maps; Windows: a line a module, "start-end path" */
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

#define CHANNEL_FAULT_OFFSET 4096u
#define CHANNEL_LANES_OFFSET \
    (CHANNEL_FAULT_OFFSET + (((uint32_t)sizeof(struct ferry_fault_area) + 4095u) & ~4095u))
#define CHANNEL_ARENA_OFFSET \
    (CHANNEL_LANES_OFFSET + (CHANNEL_LANES + CHANNEL_GUESTS) * (uint32_t)sizeof(struct ferry_lane))

/* i386 aligns 64-bit members to 4: nothing here may depend on that. */
_Static_assert(offsetof(struct ferry_header, base) == 24, "");
_Static_assert(offsetof(struct ferry_header, fault) == 32 + 8 * SERVICE_COUNT, "");
_Static_assert(offsetof(struct ferry_fault, address) == 8, "");
_Static_assert(offsetof(struct ferry_fault, parameters) == 40, "");
_Static_assert(sizeof(struct ferry_fault) == 104, "");
_Static_assert(offsetof(struct ferry_fault_area, registers) == 24, "");
_Static_assert(offsetof(struct ferry_fault_area, stack) % 8 == 0, "");
_Static_assert(sizeof(struct ferry_fault_area) == 24 + 16 * 64 + FAULT_STACK + FAULT_MAPS, "");
_Static_assert(sizeof(struct ferry_header) <= CHANNEL_FAULT_OFFSET, "");
_Static_assert(CHANNEL_ARENA_OFFSET % 4096 == 0, "");

static inline struct ferry_fault_area *channel_fault_area(void *channel)
{
    return (struct ferry_fault_area *)((char *)channel + CHANNEL_FAULT_OFFSET);
}

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
#elif defined(__arm__)
    __asm__ volatile("yield");
#elif defined(__riscv)
    __asm__ volatile(".insn i 0x0F, 0, x0, x0, 0x010"); /* pause, a hint where unknown */
#endif
}

#endif
