/* Two processes that take turns on one processor, on Linux.
 *
 * Handing over to a thread that sleeps costs 4 microseconds if it wakes on our
 * processor and 50 if an idle one has to be woken for it. The scheduler leaves a
 * thread where it last ran, unless another processor is idle *and awake*: on a
 * virtual machine one that sleeps deeply is not considered (it counts as preempted),
 * one that ran a moment ago is, and running there keeps it awake for the next time.
 * So both states feed themselves, and we get out of the bad one: a thread that finds
 * itself moved asks for its old processor for some sleeps in a row, and by then the
 * other one sleeps.
 *
 * Affinity is inherited by threads and read by runtimes that count processors, so it
 * is changed only around a sleep, never while the library or Python runs.
 *
 * sched_yield would avoid the sleep, but since Linux 6.6 it does not give way as long
 * as the caller has used less time than the other side.
 */
#ifndef FERRY_PLACEMENT_H
#define FERRY_PLACEMENT_H

#include <stdint.h>

/* About to sleep: this thread wants to wake on processor `cpu`. */
void placement_hold(uint32_t cpu);
/* Awake: the affinity is what it was. Without a hold before, does nothing. */
void placement_release(void);

#endif
