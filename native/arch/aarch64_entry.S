/* AArch64, the other way round: C calls us. Registers as in aarch64.S, and
 *
 *   x16        the first of two that even a linker may use between a call and its
 *              target: carries the thunk's number
 *   unwinding  a thunk itself needs no rules: it changes neither sp nor x30
 */
#include "aarch64.h"
#include "frame.h"
#include "thunk.h"

    .text
    .p2align 2
    BEGIN   enter
    PROLOGUE
    sub     x9, sp, #HEAD_SIZE
    and     sp, x9, #-HEAD_ALIGNMENT

    stp     x0, x1, [sp, #FRAME_INTEGER]
    stp     x2, x3, [sp, #FRAME_INTEGER + 16]
    stp     x4, x5, [sp, #FRAME_INTEGER + 32]
    stp     x6, x7, [sp, #FRAME_INTEGER + 48]
    stp     q0, q1, [sp, #FRAME_VECTOR]
    stp     q2, q3, [sp, #FRAME_VECTOR + 32]
    stp     q4, q5, [sp, #FRAME_VECTOR + 64]
    stp     q6, q7, [sp, #FRAME_VECTOR + 96]
    add     x9, x29, #32            /* above what PROLOGUE saved */
    stp     x8, x9, [sp, #FRAME_INDIRECT] /* and FRAME_INCOMING */
    mov     w0, w16
    mov     x1, sp
    bl      NAME(ferry_enter)

    ldp     x0, x1, [sp, #FRAME_RESULT_INTEGER]
    ldp     q0, q1, [sp, #FRAME_RESULT_VECTOR]
    ldp     q2, q3, [sp, #FRAME_RESULT_VECTOR + 32]
    EPILOGUE
    END     enter

    .globl  NAME(ferry_thunks)
#if defined(__ELF__)
    .hidden ferry_thunks
    .type   ferry_thunks, %function
#elif defined(__APPLE__)
    .private_extern NAME(ferry_thunks)
#endif
NAME(ferry_thunks):
    CFI(.cfi_startproc)
    .set    number, 0
    .rept   THUNK_COUNT
    LANDING
    mov     w16, #number
    b       enter
#ifdef _WIN32
    nop                             /* the place of LANDING */
#endif
    .set    number, number + 1
    .endr
    CFI(.cfi_endproc)
#ifdef __ELF__
    .size   ferry_thunks, . - ferry_thunks
    .section .note.GNU-stack, "", %progbits
#endif
