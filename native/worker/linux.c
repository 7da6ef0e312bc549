/* The platform, continued: Linux. */
#define _GNU_SOURCE
#include "placement.h"
#include "posix.h"
#include "worker.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* Not FUTEX_PRIVATE: the word is shared with another process. */
void platform_park(_Atomic uint32_t *word, uint32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

void platform_unpark(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

void platform_wake_host(uint32_t index, _Atomic uint32_t *word)
{
    (void)index;
    platform_unpark(word);
}

void platform_follow(uint32_t cpu)
{
    placement_hold(cpu);
}

void platform_woken(void)
{
    placement_release();
}

bool platform_avoid(uint32_t cpu)
{
    cpu_set_t before, elsewhere;

    if (cpu >= CPU_SETSIZE || sched_getaffinity(0, sizeof before, &before) != 0)
        return false;
    elsewhere = before;
    CPU_CLR(cpu, &elsewhere);
    if (CPU_COUNT(&elsewhere) == 0 || sched_setaffinity(0, sizeof elsewhere, &elsewhere) != 0)
        return false;
    sched_setaffinity(0, sizeof before, &before);
    return true;
}

uint64_t platform_now(void)
{
    return monotonic_ns();
}

/* ---- faults ---- */

/* Where the kernel keeps the registers, in DWARF's order for the CPU. x86-64 psABI 3.6.2,
 * i386 psABI 2.4.2; the others number them as the CPU does (aadwarf64 4.1, aadwarf32 4.1,
 * riscv-elf-psabi "DWARF", LoongArch ELF psABI "DWARF"), and so does the kernel. Of those
 * the pc has no number that is free, or none: it follows the last. */
#if defined(__x86_64__)
static const uint8_t order[] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
                                REG_RBP, REG_RSP, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP};
const uint32_t posix_stack_pointer = 7;
#elif defined(__i386__)
static const uint8_t order[] = {REG_EAX, REG_ECX, REG_EDX, REG_EBX, REG_ESP,
                                REG_EBP, REG_ESI, REG_EDI, REG_EIP};
const uint32_t posix_stack_pointer = 4;
#elif defined(__aarch64__)
const uint32_t posix_stack_pointer = 31;
#elif defined(__arm__)
const uint32_t posix_stack_pointer = 13;
#elif defined(__riscv)
const uint32_t posix_stack_pointer = 2;
#elif defined(__loongarch__)
const uint32_t posix_stack_pointer = 3;
#endif

uint32_t posix_registers(const void *data, uint64_t *registers)
{
    const mcontext_t *context = &((const ucontext_t *)data)->uc_mcontext;
    uint32_t count = 0;

#if defined(__x86_64__) || defined(__i386__)
    for (; count < sizeof order; count++)
        registers[count] = (uintptr_t)context->gregs[order[count]];
#elif defined(__aarch64__)
    for (; count < 31; count++)
        registers[count] = context->regs[count];
    registers[count++] = context->sp;
    registers[count++] = context->pc;
#elif defined(__arm__)
    for (const unsigned long *next = &context->arm_r0; count < 16; count++)
        registers[count] = next[count]; /* r0 to pc follow each other */
#elif defined(__riscv)
    for (; count < 32; count++)
        registers[count] = count ? context->__gregs[count] : 0; /* x0's place is the pc's */
    registers[count++] = context->__gregs[REG_PC];
#elif defined(__loongarch__)
    for (; count < 32; count++)
        registers[count] = context->__gregs[count];
    registers[count++] = context->__pc;
#endif
    return count;
}

#define STACK_GAP 0x100000u /* below a stack: what one overflow may skip */

/* Reads "start-end rwxp ..." letter by letter, so that a line may come in two pieces. */
struct scan {
    uint64_t stack_pointer;
    struct posix_range line, found;
    enum { START, END, READABLE, REST } field;
};

static void scan(struct scan *scan, char letter)
{
    uint64_t *number = scan->field == START ? &scan->line.start : &scan->line.end;

    if (letter == '\n') {
        scan->field = START;
        scan->line = (struct posix_range){0};
    } else if (scan->field == START && letter == '-') {
        scan->field = END;
    } else if (scan->field == END && letter == ' ') {
        scan->field = READABLE;
    } else if (scan->field == READABLE) {
        if (letter == 'r' && scan->found.end == 0 && scan->line.end > scan->stack_pointer &&
            scan->line.start < scan->stack_pointer + STACK_GAP)
            scan->found = scan->line;
        scan->field = REST;
    } else if (scan->field != REST) {
        *number = *number << 4 | (uint64_t)(letter <= '9' ? letter - '0' : letter - 'a' + 10);
    }
}

/* A process may have more mappings than the area has room for: they are read to the end
 * all the same, for the stack's, in a limited number of steps. */
struct posix_range posix_maps(struct ferry_fault_area *area, uint64_t stack_pointer)
{
    struct scan state = {.stack_pointer = stack_pointer};
    int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    char overflow[512];

    for (int step = 0; step < 10000; step++) {
        bool fits = area->maps_size < FAULT_MAPS;
        char *to = fits ? area->maps + area->maps_size : overflow;
        ssize_t got = read(maps, to, fits ? FAULT_MAPS - area->maps_size : sizeof overflow);

        if (got <= 0)
            break;
        for (ssize_t i = 0; i < got; i++)
            scan(&state, to[i]);
        if (fits)
            area->maps_size += (uint32_t)got;
    }
    close(maps);
    if (state.found.end && state.found.start < stack_pointer)
        state.found.start = stack_pointer;
    return state.found;
}

uint32_t platform_thread_number(void)
{
    return (uint32_t)syscall(SYS_gettid);
}

void posix_signal_this_thread(int number)
{
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), number);
}
