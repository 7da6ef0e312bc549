/* LoongArch LP64D, the other way round: C calls us. Registers as in
 * loongarch64_lp64d.S, and
 *
 *   t0         carries the thunk's number in its upper 20 bits: so one instruction,
 *              lu12i.w, holds any of them
 */
#include "frame.h"
#include "thunk.h"

    .text
    .type   enter, @function
    .p2align 2
enter:
    .cfi_startproc
    addi.d  $sp, $sp, -16
    .cfi_def_cfa_offset 16
    st.d    $ra, $sp, 8
    st.d    $fp, $sp, 0
    .cfi_offset 1, -8               /* ra */
    .cfi_offset 22, -16             /* fp */
    addi.d  $fp, $sp, 16            /* also where the stack arguments are */
    .cfi_def_cfa 22, 0
    addi.d  $sp, $sp, -HEAD_SIZE
    bstrins.d $sp, $zero, 5, 0      /* HEAD_ALIGNMENT is 1 << 6 */

    st.d    $a0, $sp, FRAME_INTEGER
    st.d    $a1, $sp, FRAME_INTEGER + 8
    st.d    $a2, $sp, FRAME_INTEGER + 16
    st.d    $a3, $sp, FRAME_INTEGER + 24
    st.d    $a4, $sp, FRAME_INTEGER + 32
    st.d    $a5, $sp, FRAME_INTEGER + 40
    st.d    $a6, $sp, FRAME_INTEGER + 48
    st.d    $a7, $sp, FRAME_INTEGER + 56
    fst.d   $fa0, $sp, FRAME_VECTOR
    fst.d   $fa1, $sp, FRAME_VECTOR + 16
    fst.d   $fa2, $sp, FRAME_VECTOR + 32
    fst.d   $fa3, $sp, FRAME_VECTOR + 48
    fst.d   $fa4, $sp, FRAME_VECTOR + 64
    fst.d   $fa5, $sp, FRAME_VECTOR + 80
    fst.d   $fa6, $sp, FRAME_VECTOR + 96
    fst.d   $fa7, $sp, FRAME_VECTOR + 112
    st.d    $fp, $sp, FRAME_INCOMING
    srli.d  $a0, $t0, 12
    move    $a1, $sp
    bl      ferry_enter

    ld.d    $a0, $sp, FRAME_RESULT_INTEGER
    ld.d    $a1, $sp, FRAME_RESULT_INTEGER + 8
    fld.d   $fa0, $sp, FRAME_RESULT_VECTOR
    fld.d   $fa1, $sp, FRAME_RESULT_VECTOR + 16
    addi.d  $sp, $fp, -16
    .cfi_def_cfa 3, 16
    ld.d    $ra, $sp, 8
    ld.d    $fp, $sp, 0
    addi.d  $sp, $sp, 16
    .cfi_def_cfa_offset 0
    ret
    .cfi_endproc
    .size   enter, . - enter

    .globl  ferry_thunks
    .hidden ferry_thunks
    .type   ferry_thunks, @function
ferry_thunks:
    .cfi_startproc
    .set    number, 0
    .rept   THUNK_COUNT
    lu12i.w $t0, number
    b       enter
    .set    number, number + 1
    .endr
    .cfi_endproc
    .size   ferry_thunks, . - ferry_thunks
    .section .note.GNU-stack, "", @progbits
