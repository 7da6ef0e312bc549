/* How and why: placement.h. */
#define _GNU_SOURCE
#include "placement.h"

#include <sched.h>
#include <stdbool.h>

#define SETTLING 64 /* sleeps; an idle processor of a virtual machine dozes off sooner */

static _Thread_local struct {
    cpu_set_t before;
    uint32_t cpu;
    int settling;
    bool holding, pinned;
} mine;

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
        mine.settling = SETTLING;
    if (mine.settling == 0)
        return;
    mine.settling--;
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
        mine.settling = SETTLING;
    mine.pinned = false;
}
