/* Callbacks: C calls a function pointer that we made.
 *
 * The pointer is the address of an entry thunk (arch/<abi>_entry.S), one of a table
 * made by the assembler. It saves the argument registers in a block on the stack laid
 * out like the head of a frame, calls ferry_enter, and loads the results from there.
 * What ferry_enter does is up to who is linked: the worker (worker/callback.c) hands a
 * frame to the host, the extension runs Python. Both fill that frame with
 * entry_gather, and empty it with entry_scatter.
 */
#ifndef FERRY_ENTRY_H
#define FERRY_ENTRY_H

#include "channel.h"

/* What each thunk leads to; NULL: nothing, it was never set or has been released. */
extern _Atomic(const struct ferry_callback *) ferry_callbacks[CHANNEL_CALLBACKS];

/* The address of a thunk, for number < CHANNEL_CALLBACKS. */
void *ferry_thunk(uint32_t number);

/* A service of the worker's and, in-process, of the extension's: set or (NULL) clear
 * what a thunk leads to. Returns the thunk's address, or NULL if there is none of that
 * number. The plan stays where it is as long as the thunk may be called. */
void *ferry_callback(uint32_t number, const struct ferry_callback *plan);

/* The thunks call this; head is their block. Of a frame, only what comes before the
 * stack image is there; `incoming` is the address of the first stack argument. */
void ferry_enter(uint32_t number, struct ferry_frame *head);

/* What of a plan is needed when the callback returns. A callback may release itself, and
 * then its plan is no more. */
struct entry_way_back {
    uint16_t frame_bytes, pop_bytes;
    uint8_t x87_results, vector_count;
    struct ferry_reference result; /* its `result` is 0: not by reference */
};

/* Arguments: move them from the thunk's block and its caller's stack to a whole frame,
 * and what goes by reference from where it lies. */
struct entry_way_back entry_gather(const struct ferry_callback *plan,
                                   const struct ferry_frame *head, struct ferry_frame *frame);

/* The result: move it from the frame to the block, or to where the caller wants it, and
 * tell the thunk how to return. */
void entry_scatter(const struct entry_way_back *way, const struct ferry_frame *frame,
                   struct ferry_frame *head);

#endif
