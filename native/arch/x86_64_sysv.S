/* x86-64 System V.  System V ABI, AMD64 supplement, 3.2 "Function calling sequence".
 *
 *   arguments  rdi rsi rdx rcx r8 r9, xmm0-7, then the stack in eightbytes
 *   results    rax rdx, xmm0 xmm1; long double in st0, its _Complex in st0 st1.
 *              FRAME_X87_RESULTS says how many are there: a result left unpopped
 *              would make the eighth call after it fail
 *   %al        at call: an upper bound of the vector registers used; when it is
 *              zero there is nothing to load, so the loads are skipped
 *   stack      16-byte aligned at the call instruction
 */
#include "frame.h"

    .intel_syntax noprefix
    .text
    .globl ferry_call
    .type ferry_call, @function
ferry_call:
    .cfi_startproc
    endbr64
    push    rbp
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    mov     rbp, rsp
    .cfi_def_cfa_register rbp
    push    rbx
    push    rbx                     /* keeps the stack 16-byte aligned */
    .cfi_offset rbx, -24
    mov     rbx, rdi                /* the frame */

    movzx   ecx, word ptr [rbx + FRAME_STACK_BYTES]
    sub     rsp, rcx
    and     rsp, -64                /* a structure may be aligned to more than 16 */
.Lstack:
    sub     ecx, 8
    js      .Lregisters
    mov     rax, [rbx + rcx + FRAME_STACK]
    mov     [rsp + rcx], rax
    jmp     .Lstack

.Lregisters:
    movzx   eax, byte ptr [rbx + FRAME_VECTOR_COUNT]
    test    eax, eax
    jz      .Lintegers
    movups  xmm0, [rbx + FRAME_VECTOR]
    movups  xmm1, [rbx + FRAME_VECTOR + 16]
    movups  xmm2, [rbx + FRAME_VECTOR + 32]
    movups  xmm3, [rbx + FRAME_VECTOR + 48]
    movups  xmm4, [rbx + FRAME_VECTOR + 64]
    movups  xmm5, [rbx + FRAME_VECTOR + 80]
    movups  xmm6, [rbx + FRAME_VECTOR + 96]
    movups  xmm7, [rbx + FRAME_VECTOR + 112]
.Lintegers:
    mov     rdi, [rbx + FRAME_INTEGER]
    mov     rsi, [rbx + FRAME_INTEGER + 8]
    mov     rdx, [rbx + FRAME_INTEGER + 16]
    mov     rcx, [rbx + FRAME_INTEGER + 24]
    mov     r8,  [rbx + FRAME_INTEGER + 32]
    mov     r9,  [rbx + FRAME_INTEGER + 40]
    call    [rbx + FRAME_FUNCTION]

    mov     [rbx + FRAME_RESULT_INTEGER], rax
    mov     [rbx + FRAME_RESULT_INTEGER + 8], rdx
    movups  [rbx + FRAME_RESULT_VECTOR], xmm0
    movups  [rbx + FRAME_RESULT_VECTOR + 16], xmm1
    cmp     byte ptr [rbx + FRAME_X87_RESULTS], 1
    jb      .Ldone
    fstp    tbyte ptr [rbx + FRAME_RESULT_X87]
    je      .Ldone                  /* fstp leaves the flags alone */
    fstp    tbyte ptr [rbx + FRAME_RESULT_X87_SECOND]
.Ldone:
    mov     rbx, [rbp - 8]
    leave
    .cfi_def_cfa rsp, 8
    ret
    .cfi_endproc
    .size ferry_call, . - ferry_call
    .section .note.GNU-stack, "", @progbits
