/* RISC-V LP64D, the other way round: C calls us. Registers as in riscv64_lp64d.S, and
 *
 *   t1         carries the thunk's number in its upper 20 bits: so one instruction, lui,
 *              holds any of them
 */
#include "frame.h"
#include "thunk.h"

    .text
    .type   enter, @function
    .p2align 2
enter:
    .cfi_startproc
    addi    sp, sp, -16
    .cfi_def_cfa_offset 16
    sd      ra, 8(sp)
    sd      s0, 0(sp)
    .cfi_offset ra, -8
    .cfi_offset s0, -16
    addi    s0, sp, 16              /* also where the stack arguments are */
    .cfi_def_cfa s0, 0
    addi    sp, sp, -HEAD_SIZE
    andi    sp, sp, -HEAD_ALIGNMENT

    sd      a0, FRAME_INTEGER(sp)
    sd      a1, FRAME_INTEGER + 8(sp)
    sd      a2, FRAME_INTEGER + 16(sp)
    sd      a3, FRAME_INTEGER + 24(sp)
    sd      a4, FRAME_INTEGER + 32(sp)
    sd      a5, FRAME_INTEGER + 40(sp)
    sd      a6, FRAME_INTEGER + 48(sp)
    sd      a7, FRAME_INTEGER + 56(sp)
    fsd     fa0, FRAME_VECTOR(sp)
    fsd     fa1, FRAME_VECTOR + 16(sp)
    fsd     fa2, FRAME_VECTOR + 32(sp)
    fsd     fa3, FRAME_VECTOR + 48(sp)
    fsd     fa4, FRAME_VECTOR + 64(sp)
    fsd     fa5, FRAME_VECTOR + 80(sp)
    fsd     fa6, FRAME_VECTOR + 96(sp)
    fsd     fa7, FRAME_VECTOR + 112(sp)
    sd      s0, FRAME_INCOMING(sp)
    srli    a0, t1, 12
    mv      a1, sp
    call    ferry_enter

    ld      a0, FRAME_RESULT_INTEGER(sp)
    ld      a1, FRAME_RESULT_INTEGER + 8(sp)
    fld     fa0, FRAME_RESULT_VECTOR(sp)
    fld     fa1, FRAME_RESULT_VECTOR + 16(sp)
    addi    sp, s0, -16
    .cfi_def_cfa sp, 16
    ld      ra, 8(sp)
    ld      s0, 0(sp)
    addi    sp, sp, 16
    .cfi_def_cfa_offset 0
    ret
    .cfi_endproc
    .size   enter, . - enter

    .option norvc                   /* every thunk is as long as any other */
    .option norelax
    .globl  ferry_thunks
    .hidden ferry_thunks
    .type   ferry_thunks, @function
    .p2align 2
ferry_thunks:
    .cfi_startproc
    .set    number, 0
    .rept   THUNK_COUNT
    lui     t1, number
    j       enter
    .set    number, number + 1
    .endr
    .cfi_endproc
    .size   ferry_thunks, . - ferry_thunks
    .section .note.GNU-stack, "", @progbits
