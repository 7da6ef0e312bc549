/* The record of how the process ends: one thread writes it, once.
 *
 * Several threads may fault at once, and the one that writes may fault again while it
 * does, since what it looks at may be what is broken. The first wins, the others wait
 * for the end that it brings; a second fault of its own publishes what it has. */
#include "worker.h"

static _Atomic uint32_t writer; /* its number; 0: nobody */

bool fault_begin(enum ferry_fault_kind kind, uint32_t code)
{
    struct ferry_fault_area *area = channel_fault_area(channel);
    struct ferry_fault *fault = &channel->fault;
    uint32_t self = platform_thread_number(), before = 0;
    struct lane *lane;

    if (!atomic_compare_exchange_strong(&writer, &before, self)) {
        while (before != self)
            platform_park(&writer, before);
        return false;
    }
    lane = platform_lane();
    fault->kind = kind;
    fault->code = code;
    fault->address = 0;
    fault->program_counter = 0;
    fault->detail = 0;
    fault->lane = lane ? lane->index : CHANNEL_NO_LANE;
    fault->thread = self;
    for (uint32_t i = 0; i < CHANNEL_FAULT_PARAMETERS; i++)
        fault->parameters[i] = 0;
    area->register_count = area->stack_size = area->maps_size = area->frame_count = 0;
    return true;
}

void fault_publish(void)
{
    atomic_store(&channel->fault.happened, 1);
}

void worker_fault(uint32_t reason, uint64_t detail)
{
    if (fault_begin(FAULT_REASON, reason))
        channel->fault.address = detail;
    fault_publish();
    platform_end(CHANNEL_FAULT_EXIT);
}
