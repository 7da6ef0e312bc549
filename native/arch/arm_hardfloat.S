/* Arm, hard-float.  Arm IHI 0042, "Procedure Call Standard for the Arm Architecture",
 * 6 "The base procedure call standard" and 7.1 "VFP register usage".
 *
 *   arguments  r0-r3, d0-d7 (s0-s15 are their halves, v0-v3 pairs of them), then the
 *              stack in 4-byte slots. A 64-bit integer is a pair of registers that
 *              begins with an even one. So cells are not 8 or 16 bytes wide here: r0-r3
 *              are 16 contiguous bytes of the frame, and d0-d7 are 64
 *   results    r0-r3 (two of them, save for vectors of the base standard), d0-d7
 *   stack      8-byte aligned at the call; 16 here, as everywhere
 *   state      a function pointer's lowest bit says that its code is Thumb; blx and a
 *              pop into pc heed it. This is Arm code
 *   unwinding  by tables of Arm's own, made by .fnstart, .save, .setfp (IHI 0038)
 */
#include "frame.h"

    .syntax unified
    .arch   armv7-a
    .fpu    vfpv3-d16
    .arm
    .text
    .globl  ferry_call
    .hidden ferry_call
    .type   ferry_call, %function
    .p2align 2
ferry_call:
    .fnstart
    push    {r4, r5, r11, lr}
    .save   {r4, r5, r11, lr}
    add     r11, sp, #8             /* the frame pointer, at the saved r11 and lr */
    .setfp  r11, sp, #8
    mov     r4, r0                  /* the frame */

    ldrh    r12, [r4, #FRAME_STACK_BYTES]
    sub     r5, sp, r12
    bic     sp, r5, #63             /* a structure may be aligned to more than 8 */
    add     r5, r4, #FRAME_STACK
1:
    subs    r12, r12, #8
    bmi     2f
    ldrd    r2, r3, [r5, r12]
    strd    r2, r3, [sp, r12]
    b       1b

2:
    ldrb    r12, [r4, #FRAME_VECTOR_COUNT]
    cmp     r12, #0
    beq     3f
    add     r12, r4, #FRAME_VECTOR
    vldmia  r12, {d0-d7}
3:
    ldr     r12, [r4, #FRAME_FUNCTION]
    add     r5, r4, #FRAME_INTEGER
    ldm     r5, {r0-r3}
    blx     r12

    add     r12, r4, #FRAME_RESULT_INTEGER
    stm     r12, {r0-r3}
    add     r12, r4, #FRAME_RESULT_VECTOR
    vstmia  r12, {d0-d7}
    sub     sp, r11, #8
    pop     {r4, r5, r11, pc}
    .fnend
    .size   ferry_call, . - ferry_call
    .section .note.GNU-stack, "", %progbits
