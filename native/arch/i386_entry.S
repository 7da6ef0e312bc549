/* i386, the other way round: C calls us. Registers as in i386.S.
 *
 *   eax        carries the thunk's number: no convention that we lower passes
 *              anything in it
 *   popping    a stdcall callee, and one whose result comes back through a hidden
 *              pointer, takes arguments off the stack when it returns. How many bytes
 *              is known only once the plan is: so the return address is moved up by
 *              FRAME_STACK_BYTES, to be found there by an ordinary ret
 */
#include "frame.h"
#include "thunk.h"

#ifdef _WIN32
#define NAME(name) _##name          /* C names carry an underscore there */
#else
#define NAME(name) name
#endif

    .text
    .globl NAME(ferry_thunks)
#ifndef _WIN32
    .hidden ferry_thunks
    .type ferry_thunks, @function
#endif
    .balign THUNK_STRIDE
NAME(ferry_thunks):
    .cfi_startproc
    .set number, 0
    .rept THUNK_COUNT
    endbr32
    movl    $number, %eax
    jmp     .Lenter
    .balign THUNK_STRIDE
    .set number, number + 1
    .endr

    .intel_syntax noprefix
.Lenter:
    push    ebp
    .cfi_def_cfa_offset 8
    .cfi_offset ebp, -8
    mov     ebp, esp
    .cfi_def_cfa_register ebp
    sub     esp, HEAD_SIZE
    and     esp, -HEAD_ALIGNMENT

    mov     [esp + FRAME_INTEGER], ecx
    mov     [esp + FRAME_INTEGER + 8], edx
    movaps  [esp + FRAME_VECTOR], xmm0
    movaps  [esp + FRAME_VECTOR + 16], xmm1
    movaps  [esp + FRAME_VECTOR + 32], xmm2
    xor     edx, edx                /* the upper halves of 8-byte cells */
    mov     [esp + FRAME_INTEGER + 4], edx
    mov     [esp + FRAME_INTEGER + 12], edx
    lea     ecx, [ebp + 8]          /* above ebp and the return address */
    mov     [esp + FRAME_INCOMING], ecx
    mov     [esp + FRAME_INCOMING + 4], edx
    mov     ecx, esp
    sub     esp, 16
    mov     [esp], eax
    mov     [esp + 4], ecx
    call    NAME(ferry_enter)

    add     esp, 16                 /* the head again */
    cmp     byte ptr [esp + FRAME_X87_RESULTS], 0
    je      .Lload
    fld     tbyte ptr [esp + FRAME_RESULT_X87]
.Lload:
    mov     eax, [esp + FRAME_RESULT_INTEGER]
    mov     edx, [esp + FRAME_RESULT_INTEGER + 4]
    movaps  xmm0, [esp + FRAME_RESULT_VECTOR]
    movzx   ecx, word ptr [esp + FRAME_STACK_BYTES]
    leave
    .cfi_def_cfa esp, 4
    pop     dword ptr [esp + ecx - 4] /* the address is computed after the pop */
    .cfi_adjust_cfa_offset -4
    lea     esp, [esp + ecx - 4]
    .cfi_adjust_cfa_offset 4
    ret
    .cfi_endproc
#ifndef _WIN32
    .size ferry_thunks, . - ferry_thunks
    .section .note.GNU-stack, "", @progbits
#endif
