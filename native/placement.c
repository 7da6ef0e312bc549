/* How and why: placement.h. */
#define _GNU_SOURCE
#include "placement.h"

#include <sched.h>
#include <stdbool.h>
#include <time.h>

#define INSIST_NS 10000000u /* after a move */

static _Thread_local struct {
    cpu_set_t before;
    uint64_t insist_until; /* CLOCK_MONOTONIC; 0: no */
    uint32_t cpu;
    bool holding, pinned;
} mine;

uint64_t monotonic_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static bool pin(uint32_t cpu)
{
    cpu_set_t there;

    if (cpu >= CPU_SETSIZE || sched_getaffinity(0, sizeof mine.before, &mine.before) != 0 ||
        !CPU_ISSET(cpu, &mine.before))
        return false;
    CPU_ZERO(&there);
    CPU_SET(cpu, &there);
    return sched_setaffinity(0, sizeof there, &there) == 0;
}

void placement_hold(uint32_t cpu)
{
    mine.holding = true;
    mine.cpu = cpu;
    if (sched_getcpu() != (int)cpu)
        mine.insist_until = monotonic_ns() + INSIST_NS;
    else if (mine.insist_until && monotonic_ns() > mine.insist_until)
        mine.insist_until = 0;
    if (mine.insist_until)
        mine.pinned = pin(cpu);
}

void placement_release(void)
{
    if (!mine.holding)
        return;
    mine.holding = false;
    if (mine.pinned)
        sched_setaffinity(0, sizeof mine.before, &mine.before);
    else if (sched_getcpu() != (int)mine.cpu)
        mine.insist_until = monotonic_ns() + INSIST_NS;
    mine.pinned = false;
}
