/* x86-64 Windows, the other way round: C calls us. Registers as in x86_64_windows.S.
 *
 *   eax        carries the thunk's number: nothing is passed in it
 *   incoming   begins with the home space, as the stack image does
 *   unwinding  the thunks have no table: for a function without one the unwinder takes
 *              the return address from the top of the stack, which is right here
 */
#include "frame.h"
#include "thunk.h"

    .text
    .globl ferry_thunks
    .balign THUNK_STRIDE
ferry_thunks:
    .set number, 0
    .rept THUNK_COUNT
    movl    $number, %eax
    jmp     enter
    .balign THUNK_STRIDE
    .set number, number + 1
    .endr

    .intel_syntax noprefix
    .def enter; .scl 3; .type 32; .endef
    .seh_proc enter
enter:
    push    rbp
    .seh_pushreg rbp
    mov     rbp, rsp
    .seh_setframe rbp, 0
    .seh_endprologue
    sub     rsp, HEAD_SIZE
    and     rsp, -HEAD_ALIGNMENT

    mov     [rsp + FRAME_INTEGER], rcx
    mov     [rsp + FRAME_INTEGER + 8], rdx
    mov     [rsp + FRAME_INTEGER + 16], r8
    mov     [rsp + FRAME_INTEGER + 24], r9
    movaps  [rsp + FRAME_VECTOR], xmm0
    movaps  [rsp + FRAME_VECTOR + 16], xmm1
    movaps  [rsp + FRAME_VECTOR + 32], xmm2
    movaps  [rsp + FRAME_VECTOR + 48], xmm3
    lea     rcx, [rbp + 16]         /* above rbp and the return address */
    mov     [rsp + FRAME_INCOMING], rcx
    mov     ecx, eax
    mov     rdx, rsp
    sub     rsp, 32                 /* ferry_enter's home space */
    call    ferry_enter

    mov     rax, [rsp + 32 + FRAME_RESULT_INTEGER]
    movaps  xmm0, [rsp + 32 + FRAME_RESULT_VECTOR]
    mov     rsp, rbp
    pop     rbp
    ret
    .seh_endproc
