/* What a program of the tests does when it crashes: it writes down what libferry's worker
 * would, and beside it what another unwinder says of the same moment.
 *
 *     code N          the signal
 *     pc N
 *     reg NUMBER N    by DWARF number
 *     expect N        a frame, as _Unwind_Backtrace sees it; the handler's own come first
 *     stack BASE HEX
 *     maps, then /proc/self/maps to the end
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ucontext.h>
#include <ucontext.h>
#include <unistd.h>

#ifdef WITH_UNWINDER
struct _Unwind_Context;
extern int _Unwind_Backtrace(int (*)(struct _Unwind_Context *, void *), void *);
#ifdef __arm__
extern int _Unwind_VRS_Get(struct _Unwind_Context *, int, uint32_t, int, void *);
static uintptr_t unwind_ip(struct _Unwind_Context *context)
{
    uint32_t pc = 0;
    _Unwind_VRS_Get(context, 0, 15, 0, &pc);
    return pc & ~1u;
}
#else
extern uintptr_t _Unwind_GetIP(struct _Unwind_Context *);
#define unwind_ip _Unwind_GetIP
#endif
static int tell_frame(struct _Unwind_Context *context, void *count)
{
    printf("expect %#lx\n", (unsigned long)unwind_ip(context));
    return ++*(int *)count > 200 ? 5 /* _URC_END_OF_STACK */ : 0;
}
#endif

/* For where an unwinder does not find out of a signal handler: who is calling this? */
__attribute__((noinline, unused)) static void tell_callers(void)
{
#ifdef WITH_UNWINDER
    int count = 0;
    _Unwind_Backtrace(tell_frame, &count);
    fflush(stdout);
#endif
}

static void tell_register(int number, uintptr_t value)
{
    printf("reg %d %#lx\n", number, (unsigned long)value);
}

/* Where a ucontext has the registers: each CPU's sys/ucontext.h. */
static uintptr_t tell_registers(const ucontext_t *context, uintptr_t *pc)
{
    const mcontext_t *m = &context->uc_mcontext;
#if defined(__x86_64__)
    static const int order[] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
                                REG_RBP, REG_RSP, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                REG_R12, REG_R13, REG_R14, REG_R15};
    for (int i = 0; i < 16; i++) tell_register(i, (uintptr_t)m->gregs[order[i]]);
    *pc = (uintptr_t)m->gregs[REG_RIP];
    return (uintptr_t)m->gregs[REG_RSP];
#elif defined(__i386__)
    static const int order[] = {REG_EAX, REG_ECX, REG_EDX, REG_EBX,
                                REG_ESP, REG_EBP, REG_ESI, REG_EDI};
    for (int i = 0; i < 8; i++) tell_register(i, (uintptr_t)m->gregs[order[i]]);
    *pc = (uintptr_t)m->gregs[REG_EIP];
    return (uintptr_t)m->gregs[REG_ESP];
#elif defined(__aarch64__)
    for (int i = 0; i < 31; i++) tell_register(i, m->regs[i]);
    tell_register(31, m->sp);
    *pc = m->pc;
    return m->sp;
#elif defined(__arm__)
    const unsigned long *r = &m->arm_r0;
    for (int i = 0; i < 16; i++) tell_register(i, r[i]);
    *pc = m->arm_pc;
    return m->arm_sp;
#elif defined(__riscv)
    for (int i = 1; i < 32; i++) tell_register(i, m->__gregs[i]);
    *pc = m->__gregs[0];
    return m->__gregs[2];
#elif defined(__loongarch64)
    for (int i = 0; i < 32; i++) tell_register(i, (uintptr_t)m->__gregs[i]);
    *pc = (uintptr_t)m->__pc;
    return (uintptr_t)m->__gregs[3];
#endif
}

static uintptr_t stack_top;

static void tell_all(int code, siginfo_t *info, void *context)
{
    uintptr_t pc = 0, sp;
    (void)info;
    printf("code %d\n", code);
    sp = tell_registers(context, &pc);
    printf("pc %#lx\n", (unsigned long)pc);
#ifdef WITH_UNWINDER
    int count = 0;
    _Unwind_Backtrace(tell_frame, &count);
#endif
    size_t size = stack_top - sp < 65536 ? stack_top - sp : 65536;
    printf("stack %#lx ", (unsigned long)sp);
    for (size_t i = 0; i < size; i++) printf("%02x", ((unsigned char *)sp)[i]);
    printf("\nmaps\n");
    FILE *maps = fopen("/proc/self/maps", "r");
    for (int c; (c = getc(maps)) != EOF;) putchar(c);
    fflush(stdout);
    _exit(0);
}

static inline void tell_of_crashes(void *top)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = tell_all;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    stack_top = (uintptr_t)top;
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGTRAP, &action, NULL);
    sigaction(SIGILL, &action, NULL);
    sigaction(SIGABRT, &action, NULL);
}
