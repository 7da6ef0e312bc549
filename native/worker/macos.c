/* The platform, continued: macOS.
 *
 * Compiled and inspected only: no machine at hand runs it.
 *
 * Sleeping on a word is older here than its public name (os_sync_wait_on_address, macOS
 * 14.4): libc++ and the Swift runtime have used __ulock_wait since macOS 10.12, and of
 * that the variant for shared memory since 10.15. bsd/sys/ulock.h of Apple's xnu.
 *
 * A thread cannot be bound to a processor here, and is not told which it runs on. So
 * a lane is hot or cold as elsewhere, but never moves.
 */
#include "posix.h"
#include "worker.h"

#include <pthread.h>
#include <signal.h>
#include <sys/ucontext.h>
#include <time.h>

#define UL_COMPARE_AND_WAIT_SHARED 3u
#define ULF_NO_ERRNO 0x01000000u /* the library's errno is not ours to change */

int __ulock_wait(uint32_t operation, void *address, uint64_t value, uint32_t timeout_us);
int __ulock_wake(uint32_t operation, void *address, uint64_t value);

void platform_park(_Atomic uint32_t *word, uint32_t value)
{
    __ulock_wait(UL_COMPARE_AND_WAIT_SHARED | ULF_NO_ERRNO, (void *)word, value, 0);
}

void platform_unpark(_Atomic uint32_t *word)
{
    __ulock_wake(UL_COMPARE_AND_WAIT_SHARED | ULF_NO_ERRNO, (void *)word, 0);
}

void platform_wake_host(uint32_t index, _Atomic uint32_t *word)
{
    (void)index;
    platform_unpark(word);
}

void platform_follow(uint32_t cpu)
{
    (void)cpu;
}

void platform_woken(void)
{
}

bool platform_avoid(uint32_t cpu)
{
    (void)cpu;
    return true; /* no Mac has only one */
}

uint64_t platform_now(void)
{
    return clock_gettime_nsec_np(CLOCK_UPTIME_RAW);
}

/* ---- faults ---- */

const uint32_t posix_stack_pointer = 31; /* aadwarf64 4.1; the pc has no number and comes last */

uint32_t posix_registers(const void *data, uint64_t *registers)
{
    const _STRUCT_ARM_THREAD_STATE64 *state = &((const ucontext_t *)data)->uc_mcontext->__ss;
    uint32_t count = 0;

    for (; count < 29; count++)
        registers[count] = state->__x[count];
    registers[count++] = state->__fp;
    registers[count++] = state->__lr;
    registers[count++] = state->__sp;
    registers[count++] = state->__pc;
    return count;
}

/* No system call tells in text what is mapped; the calling thread's stack is known. */
struct posix_range posix_maps(struct ferry_fault_area *area, uint64_t stack_pointer)
{
    uint64_t end = (uintptr_t)pthread_get_stackaddr_np(pthread_self());
    uint64_t start = end - pthread_get_stacksize_np(pthread_self());

    area->maps_size = 0;
    if (stack_pointer >= end)
        return (struct posix_range){0};
    return (struct posix_range){stack_pointer > start ? stack_pointer : start, end};
}

uint32_t platform_thread_number(void)
{
    return pthread_mach_thread_np(pthread_self());
}

void posix_signal_this_thread(int number)
{
    pthread_kill(pthread_self(), number);
}
