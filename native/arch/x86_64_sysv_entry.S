/* x86-64 System V, the other way round: C calls us. Registers as in x86_64_sysv.S.
 *
 *   r11        a scratch register even for the linker: carries the thunk's number
 *   %al        (of a variadic call) is not looked at: all vector registers are saved
 *   results    rax rdx, xmm0 xmm1; a long double in st0, a complex one in st0 st1
 */
#include "frame.h"
#include "thunk.h"

    .text
    .hidden ferry_thunks
    .globl ferry_thunks
    .type ferry_thunks, @function
    .balign THUNK_STRIDE
ferry_thunks:
    .cfi_startproc
    .set number, 0
    .rept THUNK_COUNT
    endbr64
    movl    $number, %r11d
    jmp     .Lenter
    .balign THUNK_STRIDE
    .set number, number + 1
    .endr

    .intel_syntax noprefix
.Lenter:
    push    rbp
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    mov     rbp, rsp
    .cfi_def_cfa_register rbp
    sub     rsp, HEAD_SIZE
    and     rsp, -HEAD_ALIGNMENT

    mov     [rsp + FRAME_INTEGER], rdi
    mov     [rsp + FRAME_INTEGER + 8], rsi
    mov     [rsp + FRAME_INTEGER + 16], rdx
    mov     [rsp + FRAME_INTEGER + 24], rcx
    mov     [rsp + FRAME_INTEGER + 32], r8
    mov     [rsp + FRAME_INTEGER + 40], r9
    movaps  [rsp + FRAME_VECTOR], xmm0
    movaps  [rsp + FRAME_VECTOR + 16], xmm1
    movaps  [rsp + FRAME_VECTOR + 32], xmm2
    movaps  [rsp + FRAME_VECTOR + 48], xmm3
    movaps  [rsp + FRAME_VECTOR + 64], xmm4
    movaps  [rsp + FRAME_VECTOR + 80], xmm5
    movaps  [rsp + FRAME_VECTOR + 96], xmm6
    movaps  [rsp + FRAME_VECTOR + 112], xmm7
    lea     rax, [rbp + 16]         /* above rbp and the return address */
    mov     [rsp + FRAME_INCOMING], rax
    mov     edi, r11d
    mov     rsi, rsp
    call    ferry_enter

    mov     rax, [rsp + FRAME_RESULT_INTEGER]
    mov     rdx, [rsp + FRAME_RESULT_INTEGER + 8]
    movaps  xmm0, [rsp + FRAME_RESULT_VECTOR]
    movaps  xmm1, [rsp + FRAME_RESULT_VECTOR + 16]
    cmp     byte ptr [rsp + FRAME_X87_RESULTS], 1
    jb      .Lreturn
    je      .Lone
    fld     tbyte ptr [rsp + FRAME_RESULT_X87_SECOND]
.Lone:
    fld     tbyte ptr [rsp + FRAME_RESULT_X87]
.Lreturn:
    leave
    .cfi_def_cfa rsp, 8
    ret
    .cfi_endproc
    .size ferry_thunks, . - ferry_thunks
    .section .note.GNU-stack, "", @progbits
