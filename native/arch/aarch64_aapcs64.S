/* AArch64 AAPCS64.  Arm IHI 0055, "Procedure Call Standard for the Arm 64-bit
 * Architecture", 6.8 "Parameter passing" and 6.9 "Result return".
 *
 *   arguments  x0-x7, v0-v7, then the stack in 8-byte slots
 *   x8         where to write a result that is returned in memory
 *   results    x0 x1, v0-v3 (a homogeneous aggregate of up to four)
 *   stack      16-byte aligned whenever it is used
 *   Bits above an argument's size are unspecified: nobody may rely on them.
 */
#include "frame.h"

    .text
    .globl ferry_call
    .type ferry_call, %function
ferry_call:
    .cfi_startproc
    hint    #34                     /* bti c */
    stp     x29, x30, [sp, #-32]!
    .cfi_def_cfa_offset 32
    .cfi_offset x29, -32
    .cfi_offset x30, -24
    mov     x29, sp
    .cfi_def_cfa_register x29
    str     x19, [sp, #16]
    .cfi_offset x19, -16
    mov     x19, x0                 /* the frame */

    ldrh    w9, [x19, #FRAME_STACK_BYTES]
    sub     sp, sp, x9
    mov     x11, sp
    add     x10, x19, #FRAME_STACK
.Lstack:
    subs    w9, w9, #8
    b.mi    .Lregisters
    ldr     x12, [x10, x9]
    str     x12, [x11, x9]
    b       .Lstack

.Lregisters:
    ldrb    w9, [x19, #FRAME_VECTOR_COUNT]
    cbz     w9, .Lintegers
    ldp     q0, q1, [x19, #FRAME_VECTOR]
    ldp     q2, q3, [x19, #FRAME_VECTOR + 32]
    ldp     q4, q5, [x19, #FRAME_VECTOR + 64]
    ldp     q6, q7, [x19, #FRAME_VECTOR + 96]
.Lintegers:
    ldr     x8, [x19, #FRAME_INDIRECT]
    ldp     x0, x1, [x19, #FRAME_INTEGER]
    ldp     x2, x3, [x19, #FRAME_INTEGER + 16]
    ldp     x4, x5, [x19, #FRAME_INTEGER + 32]
    ldp     x6, x7, [x19, #FRAME_INTEGER + 48]
    ldr     x16, [x19, #FRAME_FUNCTION]
    blr     x16

    stp     x0, x1, [x19, #FRAME_RESULT_INTEGER]
    stp     q0, q1, [x19, #FRAME_RESULT_VECTOR]
    stp     q2, q3, [x19, #FRAME_RESULT_VECTOR + 32]
    mov     sp, x29
    ldr     x19, [sp, #16]
    ldp     x29, x30, [sp], #32
    .cfi_def_cfa sp, 0
    ret
    .cfi_endproc
    .size ferry_call, . - ferry_call
    .section .note.GNU-stack, "", %progbits
