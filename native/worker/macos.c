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

uint64_t posix_program_counter(const void *data)
{
    const ucontext_t *context = data;

    return context->uc_mcontext->__ss.__pc;
}

void posix_signal_this_thread(int number)
{
    pthread_kill(pthread_self(), number);
}
