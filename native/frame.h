/* The frame: the registers and the stack of one call, as bytes.
 *
 * One layout serves every ABI. The host writes a call's arguments straight to
 * the cell their register is loaded from, or to their place in the stack image;
 * the trampoline of the library's ABI (arch/) loads the registers, copies the
 * stack image, calls, and stores what came back. Nobody in between knows a type.
 *
 * The offsets are plain numbers because three readers share them: C, the
 * assembler, and Python (libferry.abi.frame; a test holds the two together).
 * The first 64 bytes hold the integer arguments and nothing else, and the results
 * begin a cache line of their own, so that a call of a few integers across two
 * processors moves one line each way.
 */
#ifndef FERRY_FRAME_H
#define FERRY_FRAME_H

#define FRAME_INTEGER 0          /* 8 cells of 8 bytes: integer argument registers */
#define FRAME_VECTOR 64          /* 8 cells of 16 bytes: vector argument registers */
#define FRAME_INDIRECT 192       /* 8 bytes: indirect-result register (AArch64 x8) */
#define FRAME_VECTOR_COUNT 200   /* 4 bytes: vector registers used (x86-64 %al) */
#define FRAME_STACK_BYTES 204    /* 4 bytes: length of the stack image, multiple of 16 */
#define FRAME_RESULT_INTEGER 256 /* 4 cells of 8 bytes */
#define FRAME_ERRNO 288          /* 4 bytes: errno after the call */
#define FRAME_LAST_ERROR 292     /* 4 bytes: GetLastError() after the call */
#define FRAME_RESULT_X87 304     /* 16 bytes: the x87 top of stack, 10 of them used */
#define FRAME_RESULT_VECTOR 320  /* 4 cells of 16 bytes */
#define FRAME_STACK 384          /* the stack image, lowest address first */
#define FRAME_SIZE 4096

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

struct ferry_frame {
    _Alignas(64) uint64_t integer[8];
    uint8_t vector[8][16];
    uint64_t indirect;
    uint32_t vector_count;
    uint32_t stack_bytes;
    _Alignas(64) uint64_t result_integer[4];
    int32_t error_number;
    uint32_t last_error;
    uint8_t padding[8];
    uint8_t result_x87[16];
    uint8_t result_vector[4][16];
    uint8_t stack[FRAME_SIZE - FRAME_STACK];
};

_Static_assert(offsetof(struct ferry_frame, integer) == FRAME_INTEGER, "");
_Static_assert(offsetof(struct ferry_frame, vector) == FRAME_VECTOR, "");
_Static_assert(offsetof(struct ferry_frame, indirect) == FRAME_INDIRECT, "");
_Static_assert(offsetof(struct ferry_frame, vector_count) == FRAME_VECTOR_COUNT, "");
_Static_assert(offsetof(struct ferry_frame, stack_bytes) == FRAME_STACK_BYTES, "");
_Static_assert(offsetof(struct ferry_frame, result_integer) == FRAME_RESULT_INTEGER, "");
_Static_assert(offsetof(struct ferry_frame, error_number) == FRAME_ERRNO, "");
_Static_assert(offsetof(struct ferry_frame, last_error) == FRAME_LAST_ERROR, "");
_Static_assert(offsetof(struct ferry_frame, result_x87) == FRAME_RESULT_X87, "");
_Static_assert(offsetof(struct ferry_frame, result_vector) == FRAME_RESULT_VECTOR, "");
_Static_assert(offsetof(struct ferry_frame, stack) == FRAME_STACK, "");
_Static_assert(sizeof(struct ferry_frame) == FRAME_SIZE, "");

/* Call `function` with the registers and the stack of `frame`, and store what
 * came back in it. One implementation per ABI, in arch/. Stack image: at most
 * FRAME_SIZE - FRAME_STACK bytes, a multiple of 16. */
void ferry_call(uintptr_t function, struct ferry_frame *frame);
#endif

#endif
