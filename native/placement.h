/* Two processes that take turns on one processor, on Linux.
 *
 * Handing over to a thread that sleeps costs five microseconds if it wakes on our
 * processor, and fifty if an idle one has to be woken for it. The scheduler mostly
 * leaves a thread where it last ran, but the busier a processor is the more it likes
 * to wake a thread on an idle one, and sleeping there makes it likely to come back.
 * So a thread that finds itself moved insists on its processor for the next sleeps,
 * until a while has passed without a move.
 *
 * Insisting is a change of affinity, which threads inherit and runtimes read to count
 * processors. So it lasts only as long as the sleep, never while the library or
 * Python runs; and as it costs two system calls, it is not done when not needed.
 *
 * sched_yield instead of a sleep was tried: since Linux 6.6 the caller goes on as long
 * as it has used less time than the other side, so it looks like spinning, and both
 * are then on one processor.
 */
#ifndef FERRY_PLACEMENT_H
#define FERRY_PLACEMENT_H

#include <stdint.h>

/* About to sleep: this thread wants to wake on processor `cpu`. */
void placement_hold(uint32_t cpu);
/* Awake: the affinity is what it was. Without a hold before, does nothing. */
void placement_release(void);

uint64_t monotonic_ns(void); /* CLOCK_MONOTONIC */

#endif
