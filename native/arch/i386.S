/* i386, System V and Windows.
 * System V ABI, Intel386 supplement (version 1.1), 2.2; Microsoft Learn,
 * "Argument passing and naming conventions".
 *
 *   arguments  all on the stack, in 4-byte slots. The register conventions
 *              (fastcall, thiscall, regparm) use ecx and edx: cells 0 and 1
 *   vectors    __m128 in xmm0-2, its result in xmm0: only looked at when the frame's
 *              vector count says so, as its cells are two cache lines of their own
 *   results    eax, or edx:eax stored side by side so that a 64-bit result is one
 *              little-endian cell; floating-point on top of the x87 stack
 *   stack      16-byte aligned at the call (System V since GCC 4.5; Windows asks
 *              for 4). Who pops does not matter here: esp comes back from ebp, so
 *              one trampoline serves cdecl and stdcall
 *   x87        whether the callee left a result there, the x87 itself knows: its
 *              tag says "empty" or not, and fxam reads it. A result left unpopped
 *              would make the eighth call after it fail
 */
#include "frame.h"

#ifdef _WIN32
#define ENTRY _ferry_call           /* C names carry an underscore there */
#else
#define ENTRY ferry_call
#endif
#define FXAM_MASK 0x4500            /* C3, C2, C0 */
#define FXAM_EMPTY 0x4100           /* C3 and C0: the register is empty */

    .intel_syntax noprefix
    .text
    .globl ENTRY
#ifndef _WIN32
    .type ENTRY, @function
#endif
ENTRY:
    .cfi_startproc
    push    ebp
    .cfi_def_cfa_offset 8
    .cfi_offset ebp, -8
    mov     ebp, esp
    .cfi_def_cfa_register ebp
    push    ebx
    .cfi_offset ebx, -12
    mov     ebx, [ebp + 8]          /* the frame */

    movzx   ecx, word ptr [ebx + FRAME_STACK_BYTES]
    sub     esp, ecx
    and     esp, -64                /* a structure may be aligned to more than 16 */
.Lstack:
    sub     ecx, 16                 /* the image is a multiple; every host has SSE2 */
    js      .Lregisters
    movups  xmm0, [ebx + ecx + FRAME_STACK_I386]
    movups  [esp + ecx], xmm0
    jmp     .Lstack

.Lregisters:
    cmp     byte ptr [ebx + FRAME_VECTOR_COUNT], 0
    je      .Lintegers
    movups  xmm0, [ebx + FRAME_VECTOR_I386]
    movups  xmm1, [ebx + FRAME_VECTOR_I386 + 16]
    movups  xmm2, [ebx + FRAME_VECTOR_I386 + 32]
.Lintegers:
    mov     ecx, [ebx + FRAME_INTEGER]
    mov     edx, [ebx + FRAME_INTEGER + 8]
    call    [ebx + FRAME_FUNCTION]

    mov     [ebx + FRAME_RESULT_INTEGER], eax
    mov     [ebx + FRAME_RESULT_INTEGER + 4], edx
    cmp     byte ptr [ebx + FRAME_VECTOR_COUNT], 0
    je      .Lx87
    movups  [ebx + FRAME_RESULT_VECTOR_I386], xmm0
.Lx87:
    fxam
    fnstsw  ax
    and     eax, FXAM_MASK
    cmp     eax, FXAM_EMPTY
    je      .Ldone
    fstp    tbyte ptr [ebx + FRAME_RESULT_X87]
.Ldone:
    mov     ebx, [ebp - 4]
    leave
    .cfi_def_cfa esp, 4
    ret
    .cfi_endproc
#ifndef _WIN32
    .size ENTRY, . - ENTRY
    .section .note.GNU-stack, "", @progbits
#endif
