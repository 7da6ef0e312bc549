/* One lane: hand over, wait for a request. How to wait is in channel.h. */
#include "worker.h"

/* A hot lane pays for itself if the next call comes before a wake-up would have
 * arrived, so the limits are of the order of one wake-up of an idle processor. */
#define SHORT_NS 30000  /* calls as short as this ... */
#define CLOSE_NS 150000 /* ... that follow each other this soon, wake-ups included, ... */
#define STREAK 8        /* ... so often in a row make a lane hot */
#define MISSES 2        /* handovers in a row that had to wake the host make it cold */

#define LOOKS 64 /* at a word between two looks at the clock */

void lane_begin(struct lane *lane, uint32_t index)
{
    *lane = (struct lane){.frames = channel_lane(channel, index), .index = index};
}

/* Look at `word` until it is no longer `seen` or the spin time is over. Most requests
 * come before the clock is read at all. */
static uint32_t spin(_Atomic uint32_t *word, uint32_t seen)
{
    uint64_t start = 0;

    for (;;) {
        for (int i = 0; i < LOOKS; i++) {
            uint32_t now = atomic_load_explicit(word, memory_order_acquire);

            if (now != seen)
                return now;
            channel_relax();
        }
        if (start == 0)
            start = platform_now();
        else if (platform_now() - start >= channel->spin_ns)
            return seen;
    }
}

static void become_cold(struct lane *lane)
{
    lane->hot = false;
    lane->streak = 0;
}

static uint32_t await_request(struct lane *lane)
{
    _Atomic uint32_t *request = &lane->frames->request;
    uint32_t seen = lane->seen;

    if (lane->hot) {
        uint32_t word = spin(request, seen);

        if (word != seen)
            return word;
        become_cold(lane);
    }
    platform_follow(lane->frames->host_cpu);
    for (;;) {
        uint32_t word = seen;

        if (!atomic_compare_exchange_strong(request, &word, seen | CHANNEL_PARKED) &&
            word != (seen | CHANNEL_PARKED)) {
            platform_woken();
            return word;
        }
        platform_park(request, seen | CHANNEL_PARKED);
    }
}

uint32_t lane_await(struct lane *lane)
{
    lane->seen = await_request(lane);
    if (!lane->hot)
        lane->began = platform_now();
    return lane->seen;
}

/* A cold lane is about to hand over: were its last turns frequent and short enough? */
static bool gains_pace(struct lane *lane, uint64_t ended)
{
    if (lane->began - lane->replied < CLOSE_NS && ended - lane->began < SHORT_NS)
        lane->streak++;
    else
        lane->streak = 0;
    lane->replied = ended;
    return lane->streak >= STREAK && channel->spin_ns != 0;
}

static void reply(struct lane *lane, uint32_t word)
{
    struct ferry_frame *frames = lane->frames;

    /* A cold lane says that it is parked before it is: the host that we are about
     * to wake may run on our processor at once, call again, and must not then
     * spin for an answer on the processor that we need to give it. */
    if (!lane->hot) {
        uint32_t expected = lane->seen;

        atomic_compare_exchange_strong(&frames->request, &expected, lane->seen | CHANNEL_PARKED);
    }
    if (atomic_exchange(&frames->reply, word) & CHANNEL_PARKED) {
        platform_wake_host(lane->index, &frames->reply);
        if (lane->hot && ++lane->misses == MISSES)
            become_cold(lane);
    } else {
        lane->misses = 0;
    }
}

void lane_hand_over(struct lane *lane, uint32_t depth, uint32_t back)
{
    bool promoted = !lane->hot && gains_pace(lane, platform_now());

    reply(lane, channel_word(lane->seen >> CHANNEL_NUMBER_SHIFT, depth, back));
    if (promoted && platform_avoid(lane->frames->host_cpu)) {
        uint32_t parked = lane->seen | CHANNEL_PARKED;

        /* reply() said that we are parked; if nobody has called since, we are not */
        atomic_compare_exchange_strong(&lane->frames->request, &parked, lane->seen);
        lane->hot = true;
        lane->misses = 0;
    }
}

void lane_call(struct lane *lane, uint32_t depth)
{
    lane->depth = depth;
    platform_set_lane(lane);
    platform_call(&lane->frames[depth]);
    platform_set_lane(NULL);
}

void lane_run(uint32_t index)
{
    struct lane lane;

    lane_begin(&lane, index);
    platform_prepare_thread();
    for (;;) {
        uint32_t word = lane_await(&lane);

        if (channel_depth(word) != 0 || word & CHANNEL_BACK)
            worker_fault(CHANNEL_FAULT_ORDER, word);
        /* The very first request calls nothing: its reply says that we are there. */
        if (lane.frames->function)
            lane_call(&lane, 0);
        lane_hand_over(&lane, 0, 0);
    }
}
