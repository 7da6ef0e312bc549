/* LoongArch LP64D.  "Procedure Call Standard for the LoongArch Architecture".
 *
 *   arguments  a0-a7, fa0-fa7, then the stack in 8-byte slots. What finds no fa
 *              register left goes where integers go; so do variadic arguments
 *   cells      an fa register is 8 bytes of its 16-byte cell
 *   results    a0 a1, fa0 fa1
 *   stack      16-byte aligned at the call
 */
#include "frame.h"

    .text
    .globl  ferry_call
    .hidden ferry_call
    .type   ferry_call, @function
    .p2align 2
ferry_call:
    .cfi_startproc
    addi.d  $sp, $sp, -32
    .cfi_def_cfa_offset 32
    st.d    $ra, $sp, 24
    st.d    $fp, $sp, 16
    st.d    $s0, $sp, 8
    .cfi_offset 1, -8               /* ra */
    .cfi_offset 22, -16             /* fp */
    .cfi_offset 23, -24             /* s0 */
    addi.d  $fp, $sp, 32
    .cfi_def_cfa 22, 0
    move    $s0, $a0                /* the frame */

    ld.hu   $t0, $s0, FRAME_STACK_BYTES
    sub.d   $sp, $sp, $t0
    bstrins.d $sp, $zero, 5, 0      /* a structure may be aligned to more than 16 */
    addi.d  $t1, $s0, FRAME_STACK
1:
    addi.d  $t0, $t0, -8
    bltz    $t0, 2f
    ldx.d   $t2, $t1, $t0
    stx.d   $t2, $sp, $t0
    b       1b

2:
    ld.bu   $t0, $s0, FRAME_VECTOR_COUNT
    beqz    $t0, 3f
    fld.d   $fa0, $s0, FRAME_VECTOR
    fld.d   $fa1, $s0, FRAME_VECTOR + 16
    fld.d   $fa2, $s0, FRAME_VECTOR + 32
    fld.d   $fa3, $s0, FRAME_VECTOR + 48
    fld.d   $fa4, $s0, FRAME_VECTOR + 64
    fld.d   $fa5, $s0, FRAME_VECTOR + 80
    fld.d   $fa6, $s0, FRAME_VECTOR + 96
    fld.d   $fa7, $s0, FRAME_VECTOR + 112
3:
    ld.d    $t0, $s0, FRAME_FUNCTION
    ld.d    $a0, $s0, FRAME_INTEGER
    ld.d    $a1, $s0, FRAME_INTEGER + 8
    ld.d    $a2, $s0, FRAME_INTEGER + 16
    ld.d    $a3, $s0, FRAME_INTEGER + 24
    ld.d    $a4, $s0, FRAME_INTEGER + 32
    ld.d    $a5, $s0, FRAME_INTEGER + 40
    ld.d    $a6, $s0, FRAME_INTEGER + 48
    ld.d    $a7, $s0, FRAME_INTEGER + 56
    jirl    $ra, $t0, 0

    st.d    $a0, $s0, FRAME_RESULT_INTEGER
    st.d    $a1, $s0, FRAME_RESULT_INTEGER + 8
    fst.d   $fa0, $s0, FRAME_RESULT_VECTOR
    fst.d   $fa1, $s0, FRAME_RESULT_VECTOR + 16
    addi.d  $sp, $fp, -32
    .cfi_def_cfa 3, 32
    ld.d    $ra, $sp, 24
    ld.d    $fp, $sp, 16
    ld.d    $s0, $sp, 8
    addi.d  $sp, $sp, 32
    .cfi_def_cfa_offset 0
    ret
    .cfi_endproc
    .size   ferry_call, . - ferry_call
    .section .note.GNU-stack, "", @progbits
