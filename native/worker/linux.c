/* The platform, continued: Linux. */
#define _GNU_SOURCE
#include "placement.h"
#include "posix.h"
#include "worker.h"

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

uint64_t posix_program_counter(const void *data)
{
    const ucontext_t *context = data;

#if defined(__x86_64__)
    return (uint64_t)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__i386__)
    return (uint32_t)context->uc_mcontext.gregs[REG_EIP];
#elif defined(__aarch64__)
    return context->uc_mcontext.pc;
#elif defined(__arm__)
    return context->uc_mcontext.arm_pc;
#elif defined(__riscv)
    return context->uc_mcontext.__gregs[REG_PC];
#elif defined(__loongarch__)
    return context->uc_mcontext.__pc;
#endif
}

void posix_signal_this_thread(int number)
{
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), number);
}
