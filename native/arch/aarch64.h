/* AArch64's three systems call alike. Their assemblers differ:
 *
 *   Linux    ELF: symbols have a type and a size; unwinding by .cfi
 *   Apple    Mach-O: C names carry an underscore; unwinding by .cfi
 *   Windows  COFF: unwinding by .seh, which goes through a prologue instruction by
 *            instruction, and through an epilogue once more
 *
 * Apple's takes ; for a comment, so nothing here puts two statements on a line, and
 * local labels are numbers.
 */
#ifdef __APPLE__
#define NAME(name) _##name
#else
#define NAME(name) name
#endif

#ifdef _WIN32
#define SEH(...) __VA_ARGS__
#define CFI(...)
#define LANDING                     /* every instruction of a prologue needs its .seh */
#else
#define SEH(...)
#define CFI(...) __VA_ARGS__
#define LANDING hint #34            /* bti c: may be reached through a pointer */
#endif

    .macro BEGIN name
#if defined(__ELF__)
    .hidden \name
    .type   \name, %function
#elif defined(__APPLE__)
    .private_extern \name
#endif
    SEH(.seh_proc \name)
\name:
    CFI(.cfi_startproc)
    .endm

    .macro END name
    SEH(.seh_endproc)
    CFI(.cfi_endproc)
#ifdef __ELF__
    .size   \name, . - \name
#endif
    .endm

/* x29 is the frame pointer: sp may move until EPILOGUE. x19 is free to be used. */
    .macro PROLOGUE
    stp     x29, x30, [sp, #-32]!
    SEH(.seh_save_fplr_x 32)
    CFI(.cfi_def_cfa_offset 32)
    CFI(.cfi_offset x29, -32)
    CFI(.cfi_offset x30, -24)
    str     x19, [sp, #16]
    SEH(.seh_save_reg x19, 16)
    CFI(.cfi_offset x19, -16)
    mov     x29, sp
    SEH(.seh_set_fp)
    SEH(.seh_endprologue)
    CFI(.cfi_def_cfa_register x29)
    .endm

    .macro EPILOGUE
    SEH(.seh_startepilogue)
    mov     sp, x29
    SEH(.seh_set_fp)
    ldr     x19, [sp, #16]
    SEH(.seh_save_reg x19, 16)
    ldp     x29, x30, [sp], #32
    SEH(.seh_save_fplr_x 32)
    SEH(.seh_endepilogue)
    CFI(.cfi_def_cfa sp, 0)
    ret
    .endm
