/* Arm hard-float, the other way round: C calls us. Registers as in arm_hardfloat.S, and
 *
 *   r12        that even a linker may use between a call and its target: carries the
 *              thunk's number
 */
#include "frame.h"
#include "thunk.h"

    .syntax unified
    .arch   armv7-a
    .fpu    vfpv3-d16
    .arm
    .text
    .type   enter, %function
    .p2align 2
enter:
    .fnstart
    push    {r4, r5, r11, lr}
    .save   {r4, r5, r11, lr}
    add     r11, sp, #8
    .setfp  r11, sp, #8
    sub     lr, sp, #HEAD_SIZE
    bic     sp, lr, #(HEAD_ALIGNMENT - 1)

    add     lr, sp, #FRAME_INTEGER
    stm     lr, {r0-r3}
    add     lr, sp, #FRAME_VECTOR
    vstmia  lr, {d0-d7}
    add     r2, r11, #8             /* above what was pushed */
    mov     r3, #0
    strd    r2, r3, [sp, #FRAME_INCOMING]
    mov     r0, r12
    mov     r1, sp
    bl      ferry_enter

    add     lr, sp, #FRAME_RESULT_VECTOR
    vldmia  lr, {d0-d7}
    add     lr, sp, #FRAME_RESULT_INTEGER
    ldm     lr, {r0-r3}
    sub     sp, r11, #8
    pop     {r4, r5, r11, pc}
    .fnend
    .size   enter, . - enter

    .globl  ferry_thunks
    .hidden ferry_thunks
    .type   ferry_thunks, %function
ferry_thunks:
    .fnstart
    .set    number, 0
    .rept   THUNK_COUNT
    movw    r12, #number
    b       enter
    .set    number, number + 1
    .endr
    .fnend
    .size   ferry_thunks, . - ferry_thunks
    .section .note.GNU-stack, "", %progbits
