/* The frame: the registers and the stack of one call, as bytes.
 *
 * One layout serves every ABI. The host writes a call's arguments to the cell their
 * register is loaded from, or to their place in the stack image; the trampoline of
 * the library's ABI (arch/) loads the registers, copies the stack image, calls, and
 * stores what came back. Nobody in between knows a type.
 *
 * Between two processors a call costs what the cache lines it touches cost. So the
 * first line carries everything a short call brings back, the word that says so
 * included, and the second everything it takes: the word, the function, six
 * registers, or, on i386, twelve slots of the stack. A call of a few integers is one
 * line each way.
 *
 * The offsets are plain numbers because three readers share them: C, the assembler,
 * and Python (libferry.abi.frame; a test holds the two together).
 */
#ifndef FERRY_FRAME_H
#define FERRY_FRAME_H

/* the worker's line */
#define FRAME_REPLY 0           /* 4 bytes; channel.h */
#define FRAME_ERRNO 4           /* 4 bytes: errno after the call */
#define FRAME_LAST_ERROR 8      /* 4 bytes: GetLastError() after the call */
#define FRAME_HOST_CPU 12       /* 4 bytes, and the host's, but it writes them rarely */
#define FRAME_RESULT_INTEGER 16 /* 4 cells of 8 bytes */
#define FRAME_RESULT_X87 48     /* 16 bytes: the x87 top of stack, 10 of them used */
/* the host's line */
#define FRAME_REQUEST 64       /* 4 bytes; channel.h */
#define FRAME_STACK_BYTES 68   /* 2 bytes: length of the stack image, multiple of 16 */
#define FRAME_VECTOR_COUNT 70  /* 1 byte: vector registers used (x86-64 %al) */
#define FRAME_X87_RESULTS 71   /* 1 byte: x87 results to take, where the x87 cannot tell */
#define FRAME_FUNCTION 72      /* 8 bytes: address of the function */
#define FRAME_INTEGER 80       /* 8 cells of 8 bytes: integer argument registers */
#define FRAME_HOST_LINE_END 128
/* the rest */
#define FRAME_INDIRECT 144     /* 8 bytes: indirect-result register (AArch64 x8) */
#define FRAME_INCOMING 152     /* 8 bytes, in a thunk's: address of the stack arguments */
#define FRAME_RESULT_VECTOR 160 /* 4 cells of 16 bytes */
#define FRAME_RESULT_X87_SECOND 208 /* the fourth of them: st(1) of a _Complex long double */
#define FRAME_VECTOR 224       /* 8 cells of 16 bytes: vector argument registers */
#define FRAME_STACK 352        /* the stack image, lowest address first */
#define FRAME_STACK_I386 96    /* i386's: it needs no cell that comes after */
#define FRAME_SIZE 16384
#define FRAME_VECTOR_I386 16320        /* i386: xmm0-2, in the last 64 bytes, ... */
#define FRAME_RESULT_VECTOR_I386 16368 /* ... and the xmm0 that comes back */

#ifndef __ASSEMBLER__
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct ferry_frame {
    _Alignas(64) _Atomic uint32_t reply;
    int32_t error_number;
    uint32_t last_error;
    _Atomic uint32_t host_cpu;
    uint64_t result_integer[4];
    uint8_t result_x87[16];
    _Alignas(64) _Atomic uint32_t request;
    uint16_t stack_bytes;
    uint8_t vector_count;
    uint8_t x87_results;
    uint64_t function;
    uint64_t integer[8];
    uint64_t indirect;
    uint64_t incoming;
    uint8_t result_vector[4][16];
    uint8_t vector[8][16];
    uint8_t stack[FRAME_SIZE - FRAME_STACK];
};

_Static_assert(offsetof(struct ferry_frame, reply) == FRAME_REPLY, "");
_Static_assert(offsetof(struct ferry_frame, error_number) == FRAME_ERRNO, "");
_Static_assert(offsetof(struct ferry_frame, last_error) == FRAME_LAST_ERROR, "");
_Static_assert(offsetof(struct ferry_frame, result_integer) == FRAME_RESULT_INTEGER, "");
_Static_assert(offsetof(struct ferry_frame, result_x87) == FRAME_RESULT_X87, "");
_Static_assert(offsetof(struct ferry_frame, request) == FRAME_REQUEST, "");
_Static_assert(offsetof(struct ferry_frame, stack_bytes) == FRAME_STACK_BYTES, "");
_Static_assert(offsetof(struct ferry_frame, vector_count) == FRAME_VECTOR_COUNT, "");
_Static_assert(offsetof(struct ferry_frame, x87_results) == FRAME_X87_RESULTS, "");
_Static_assert(offsetof(struct ferry_frame, incoming) == FRAME_INCOMING, "");
_Static_assert(offsetof(struct ferry_frame, function) == FRAME_FUNCTION, "");
_Static_assert(offsetof(struct ferry_frame, integer) == FRAME_INTEGER, "");
_Static_assert(offsetof(struct ferry_frame, indirect) == FRAME_INDIRECT, "");
_Static_assert(offsetof(struct ferry_frame, host_cpu) == FRAME_HOST_CPU, "");
_Static_assert(offsetof(struct ferry_frame, result_vector) == FRAME_RESULT_VECTOR, "");
_Static_assert(offsetof(struct ferry_frame, vector) == FRAME_VECTOR, "");
_Static_assert(offsetof(struct ferry_frame, stack) == FRAME_STACK, "");
_Static_assert(sizeof(struct ferry_frame) == FRAME_SIZE, "");

/* Call frame->function with the registers and the stack of the frame, and store what
 * came back in it. One implementation per ABI, in arch/. */
void ferry_call(struct ferry_frame *frame);
#endif

#endif
