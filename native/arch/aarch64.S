/* AArch64: AAPCS64, Apple, Windows.  Arm IHI 0055, "Procedure Call Standard for the Arm
 * 64-bit Architecture", 6.8 "Parameter passing" and 6.9 "Result return"; Apple, "Writing
 * ARM64 code for Apple platforms"; Microsoft Learn, "Overview of ARM64 ABI conventions".
 *
 *   arguments  x0-x7, v0-v7, then the stack. What goes where differs between the three
 *              (Apple packs the stack and puts variadic arguments there, Windows those
 *              of floating-point in x registers), and is the planner's affair
 *   x8         where to write a result that is returned in memory
 *   x18        belongs to the system on Apple and Windows: not touched
 *   results    x0 x1, v0-v3 (a homogeneous aggregate of up to four)
 *   stack      16-byte aligned whenever it is used. The copy goes downwards from its
 *              upper end, as Windows grows a stack by one page below the last touched
 */
#include "aarch64.h"
#include "frame.h"

    .text
    .globl  NAME(ferry_call)
    .p2align 2
    BEGIN   NAME(ferry_call)
    LANDING
    PROLOGUE
    mov     x19, x0                 /* the frame */

    ldrh    w9, [x19, #FRAME_STACK_BYTES]
    sub     x10, sp, x9
    and     sp, x10, #-64           /* a structure may be aligned to more than 16 */
    mov     x11, sp
    add     x10, x19, #FRAME_STACK
1:
    subs    w9, w9, #8
    b.mi    2f
    ldr     x12, [x10, x9]
    str     x12, [x11, x9]
    b       1b

2:
    ldrb    w9, [x19, #FRAME_VECTOR_COUNT]
    cbz     w9, 3f
    ldp     q0, q1, [x19, #FRAME_VECTOR]
    ldp     q2, q3, [x19, #FRAME_VECTOR + 32]
    ldp     q4, q5, [x19, #FRAME_VECTOR + 64]
    ldp     q6, q7, [x19, #FRAME_VECTOR + 96]
3:
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
    EPILOGUE
    END     NAME(ferry_call)
#ifdef __ELF__
    .section .note.GNU-stack, "", %progbits
#endif
