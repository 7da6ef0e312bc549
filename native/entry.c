/* Moving bytes between a thunk's block and a frame. Both sides of the channel trust the
 * plan, which the host has made; the worker's C library, if it has one, is not needed.
 * A callback between two processors costs what the cache lines it touches cost: those
 * that a plan has no use for are not touched. */
#include "entry.h"

#include "arch/thunk.h"

_Static_assert(THUNK_COUNT == CHANNEL_CALLBACKS, "");
_Static_assert(HEAD_SIZE == FRAME_STACK, "");
_Static_assert(_Alignof(struct ferry_frame) == HEAD_ALIGNMENT, "");

#if defined(__i386__)
#define STACK_IMAGE FRAME_STACK_I386
#define REGISTERS_END FRAME_STACK_I386
#else
#define STACK_IMAGE FRAME_STACK
#define REGISTERS_END FRAME_INCOMING
#endif

_Atomic(const struct ferry_callback *) ferry_callbacks[CHANNEL_CALLBACKS];

extern const char ferry_thunks[] __attribute__((visibility("hidden")));

void *ferry_thunk(uint32_t number)
{
    return (void *)(uintptr_t)(ferry_thunks + number * THUNK_STRIDE);
}

void *ferry_callback(uint32_t number, const struct ferry_callback *plan)
{
    if (number >= CHANNEL_CALLBACKS)
        return NULL;
    atomic_store(&ferry_callbacks[number], plan);
    return ferry_thunk(number);
}

static void *pointer_at(const struct ferry_frame *frame, uint32_t cell)
{
    void *pointer;

    __builtin_memcpy(&pointer, (const char *)frame + cell, sizeof pointer);
    return pointer;
}

struct entry_way_back entry_gather(const struct ferry_callback *plan,
                                   const struct ferry_frame *head, struct ferry_frame *frame)
{
    struct entry_way_back way = {.frame_bytes = plan->frame_bytes,
                                 .pop_bytes = plan->pop_bytes,
                                 .x87_results = plan->x87_results,
                                 .vector_count = plan->vector_count};
    const char *saved = (const char *)head;
    char *bytes = (char *)frame;

    if (plan->frame_bytes <= FRAME_HOST_LINE_END && REGISTERS_END > FRAME_HOST_LINE_END)
        __builtin_memcpy(bytes + FRAME_INTEGER, saved + FRAME_INTEGER,
                         FRAME_HOST_LINE_END - FRAME_INTEGER);
    else
        __builtin_memcpy(bytes + FRAME_INTEGER, saved + FRAME_INTEGER,
                         REGISTERS_END - FRAME_INTEGER);
    if (plan->vector_count) {
#if defined(__i386__)
        __builtin_memcpy(bytes + FRAME_VECTOR_I386, head->vector, 3 * sizeof *head->vector);
#else
        __builtin_memcpy(frame->vector, head->vector, sizeof head->vector);
#endif
    }
    if (plan->stack_bytes)
        __builtin_memcpy(bytes + STACK_IMAGE, (const void *)(uintptr_t)head->incoming,
                         plan->stack_bytes);
    for (uint32_t i = 0; i < plan->reference_count; i++) {
        const struct ferry_reference *reference = &plan->references[i];

        if (reference->result)
            way.result = *reference;
        else
            __builtin_memcpy(bytes + reference->at, pointer_at(frame, reference->cell),
                             reference->size);
    }
    return way;
}

void entry_scatter(const struct entry_way_back *way, const struct ferry_frame *frame,
                   struct ferry_frame *head)
{
    const char *bytes = (const char *)frame;

    /* the rest of the worker's line: integer cells, and the x87's */
    __builtin_memcpy((char *)head + FRAME_RESULT_INTEGER, bytes + FRAME_RESULT_INTEGER,
                     FRAME_REQUEST - FRAME_RESULT_INTEGER);
#if defined(__i386__)
    if (way->vector_count)
        __builtin_memcpy(head->result_vector, bytes + FRAME_RESULT_VECTOR_I386,
                         sizeof *head->result_vector);
#else
    if (way->frame_bytes > FRAME_RESULT_VECTOR)
        __builtin_memcpy(head->result_vector, frame->result_vector, sizeof head->result_vector);
#endif
    if (way->result.result) {
        void *room = pointer_at(frame, way->result.cell);

        __builtin_memcpy(room, bytes + way->result.at, way->result.size);
        /* Where the pointer was an argument, it is also the result. Where it has a
         * register of its own (AArch64), nobody looks at the first one then. */
        head->result_integer[0] = (uintptr_t)room;
    }
    head->x87_results = way->x87_results;
    head->stack_bytes = way->pop_bytes;
}
