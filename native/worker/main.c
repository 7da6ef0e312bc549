/* Start-up and the doorbell. */
#include "worker.h"

struct ferry_header *channel;

/* The host rings for two reasons: a lane is used for the first time, or (where
 * the host cannot wake us through memory) a parked lane has a request. A guest lane
 * has no thread of ours. When the host is gone, in whatever way, the socket ends, and
 * so do we. */
static void listen_to_doorbell(uint32_t unused)
{
    bool started[CHANNEL_LANES] = {true}; /* lane 0 has the main thread */

    (void)unused;
    for (;;) {
        int lane = platform_doorbell();

        if (lane < 0) {
            callbacks_leave();
            platform_quit(0);
        }
        if (lane >= (int)(CHANNEL_LANES + CHANNEL_GUESTS))
            continue;
        if (lane >= (int)CHANNEL_LANES || started[lane])
            platform_unpark(&channel_lane(channel, (uint32_t)lane)->request);
        else if (platform_thread(lane_run, (uint32_t)lane))
            started[lane] = true;
        else
            worker_fault(CHANNEL_FAULT_THREAD, (uint64_t)lane); /* its caller would wait for ever */
    }
}

int worker_run(void *mapping)
{
    channel = mapping;
    if (channel->magic != CHANNEL_MAGIC || channel->version != CHANNEL_VERSION)
        return 3;
    channel->base = (uintptr_t)mapping;
    for (uint32_t service = 0; service < SERVICE_COUNT; service++)
        channel->services[service] = service_address((enum ferry_service)service);
    if (!platform_thread(listen_to_doorbell, 0))
        return 4;
    lane_run(0); /* on the main thread: some libraries insist on it */
    return 5;
}
