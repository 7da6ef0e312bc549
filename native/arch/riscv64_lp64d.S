/* RISC-V LP64D.  RISC-V ABIs Specification, 2.1 "Integer calling convention" and 2.2
 * "Hardware floating-point calling convention".
 *
 *   arguments  a0-a7, fa0-fa7, then the stack in 8-byte slots. What finds no fa
 *              register left goes where integers go; so do variadic arguments
 *   cells      an fa register is 8 bytes of its 16-byte cell. A float in it has all
 *              ones above ("NaN-boxed"), which the planner puts there
 *   results    a0 a1, fa0 fa1
 *   stack      16-byte aligned at the call
 *   x5 (t0)    is a second link register to the return predictor: never jump by it
 */
#include "frame.h"

    .text
    .globl  ferry_call
    .hidden ferry_call
    .type   ferry_call, @function
    .p2align 2
ferry_call:
    .cfi_startproc
    addi    sp, sp, -32
    .cfi_def_cfa_offset 32
    sd      ra, 24(sp)
    sd      s0, 16(sp)
    sd      s1, 8(sp)
    .cfi_offset ra, -8
    .cfi_offset s0, -16
    .cfi_offset s1, -24
    addi    s0, sp, 32              /* the frame pointer */
    .cfi_def_cfa s0, 0
    mv      s1, a0                  /* the frame */

    lhu     t0, FRAME_STACK_BYTES(s1)
    sub     sp, sp, t0
    andi    sp, sp, -64             /* a structure may be aligned to more than 16 */
    addi    t1, s1, FRAME_STACK
1:
    addi    t0, t0, -8
    bltz    t0, 2f
    add     t2, t1, t0
    ld      t2, 0(t2)
    add     t3, sp, t0
    sd      t2, 0(t3)
    j       1b

2:
    lbu     t0, FRAME_VECTOR_COUNT(s1)
    beqz    t0, 3f
    fld     fa0, FRAME_VECTOR(s1)
    fld     fa1, FRAME_VECTOR + 16(s1)
    fld     fa2, FRAME_VECTOR + 32(s1)
    fld     fa3, FRAME_VECTOR + 48(s1)
    fld     fa4, FRAME_VECTOR + 64(s1)
    fld     fa5, FRAME_VECTOR + 80(s1)
    fld     fa6, FRAME_VECTOR + 96(s1)
    fld     fa7, FRAME_VECTOR + 112(s1)
3:
    ld      t1, FRAME_FUNCTION(s1)
    ld      a0, FRAME_INTEGER(s1)
    ld      a1, FRAME_INTEGER + 8(s1)
    ld      a2, FRAME_INTEGER + 16(s1)
    ld      a3, FRAME_INTEGER + 24(s1)
    ld      a4, FRAME_INTEGER + 32(s1)
    ld      a5, FRAME_INTEGER + 40(s1)
    ld      a6, FRAME_INTEGER + 48(s1)
    ld      a7, FRAME_INTEGER + 56(s1)
    jalr    t1

    sd      a0, FRAME_RESULT_INTEGER(s1)
    sd      a1, FRAME_RESULT_INTEGER + 8(s1)
    fsd     fa0, FRAME_RESULT_VECTOR(s1)
    fsd     fa1, FRAME_RESULT_VECTOR + 16(s1)
    addi    sp, s0, -32
    .cfi_def_cfa sp, 32
    ld      ra, 24(sp)
    ld      s0, 16(sp)
    ld      s1, 8(sp)
    addi    sp, sp, 32
    .cfi_def_cfa_offset 0
    ret
    .cfi_endproc
    .size   ferry_call, . - ferry_call
    .section .note.GNU-stack, "", @progbits
