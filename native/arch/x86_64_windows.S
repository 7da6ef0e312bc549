/* x86-64 Windows.  Microsoft Learn, "x64 calling convention".
 *
 *   arguments  by position, not by class: the n-th is in rcx rdx r8 r9 or, if it
 *              is floating-point, in xmm0-3; the fifth and later on the stack
 *   home space 32 bytes the caller leaves above the return address; they are the
 *              first 32 bytes of the stack image here
 *   results    rax, xmm0
 *   preserved  rbx rbp rdi rsi r12-r15 xmm6-15: more than System V's, so the copy
 *              loop keeps away from rdi and rsi
 *   unwinding  goes by tables only; the .seh lines make ours
 */
#include "frame.h"

    .intel_syntax noprefix
    .text
    .globl ferry_call
    .def ferry_call; .scl 2; .type 32; .endef
    .seh_proc ferry_call
ferry_call:
    push    rbp
    .seh_pushreg rbp
    push    rbx
    .seh_pushreg rbx
    sub     rsp, 8                  /* keeps the stack 16-byte aligned */
    .seh_stackalloc 8
    mov     rbp, rsp
    .seh_setframe rbp, 0
    .seh_endprologue
    mov     rbx, rcx                /* the frame */

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
.Lintegers:
    mov     rcx, [rbx + FRAME_INTEGER]
    mov     rdx, [rbx + FRAME_INTEGER + 8]
    mov     r8,  [rbx + FRAME_INTEGER + 16]
    mov     r9,  [rbx + FRAME_INTEGER + 24]
    call    [rbx + FRAME_FUNCTION]

    mov     [rbx + FRAME_RESULT_INTEGER], rax
    movups  [rbx + FRAME_RESULT_VECTOR], xmm0
    lea     rsp, [rbp + 8]
    pop     rbx
    pop     rbp
    ret
    .seh_endproc
