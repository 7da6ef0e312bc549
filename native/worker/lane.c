/* One lane: wait for a request, call, reply. How to wait is in channel.h. */
#include "worker.h"

/* A hot lane pays for itself if the next call comes before a wake-up would have
 * arrived, so the limits are of the order of one wake-up of an idle processor. */
#define SHORT_NS 30000  /* calls as short as this ... */
#define CLOSE_NS 150000 /* ... that follow each other this soon, wake-ups included, ... */
#define STREAK 8        /* ... so often in a row make a lane hot */
#define MISSES 2        /* replies in a row that had to wake the host make it cold */

struct pace {
    bool hot;
    uint32_t streak;
    uint32_t misses;
    uint64_t replied; /* when, if cold */
};

/* Look at `word` until it is no longer `seen` or the spin time is over. The clock
 * is read every 64th time, so that looking costs one load. */
static uint32_t spin(_Atomic uint32_t *word, uint32_t seen)
{
    uint64_t start = platform_now();

    do {
        for (int i = 0; i < 64; i++) {
            uint32_t now = atomic_load_explicit(word, memory_order_acquire);

            if (now != seen)
                return now;
            channel_relax();
        }
    } while (platform_now() - start < channel->spin_ns);
    return seen;
}

static uint32_t await_request(struct ferry_frame *lane, struct pace *pace, uint32_t seen)
{
    if (pace->hot) {
        uint32_t word = spin(&lane->request, seen);

        if (word != seen)
            return word;
        pace->hot = false;
        pace->streak = 0;
    }
    platform_follow(lane->host_cpu);
    for (;;) {
        uint32_t word = seen;

        if (!atomic_compare_exchange_strong(&lane->request, &word, seen | CHANNEL_PARKED) &&
            word != (seen | CHANNEL_PARKED)) {
            platform_woken();
            return word;
        }
        platform_park(&lane->request, seen | CHANNEL_PARKED);
    }
}

/* A cold lane has answered: were the last calls frequent and short enough? */
static bool gains_pace(struct pace *pace, uint64_t began, uint64_t ended)
{
    if (began - pace->replied < CLOSE_NS && ended - began < SHORT_NS)
        pace->streak++;
    else
        pace->streak = 0;
    pace->replied = ended;
    return pace->streak >= STREAK && channel->spin_ns != 0;
}

static void reply(struct ferry_frame *lane, uint32_t index, struct pace *pace, uint32_t word)
{
    /* A cold lane says that it is parked before it is: the host that we are about
     * to wake may run on our processor at once, call again, and must not then
     * spin for an answer on the processor that we need to give it. */
    if (!pace->hot) {
        uint32_t expected = word;

        atomic_compare_exchange_strong(&lane->request, &expected, word | CHANNEL_PARKED);
    }
    if (atomic_exchange(&lane->reply, word) & CHANNEL_PARKED) {
        platform_wake_host(index, &lane->reply);
        if (pace->hot && ++pace->misses == MISSES) {
            pace->hot = false;
            pace->streak = 0;
        }
    } else {
        pace->misses = 0;
    }
}

void lane_run(uint32_t index)
{
    struct ferry_frame *lane = channel_lane(channel, index);
    struct pace pace = {0};
    uint32_t seen = 0;

    platform_prepare_thread();
    for (;;) {
        uint32_t word = await_request(lane, &pace, seen);
        uint64_t began = pace.hot ? 0 : platform_now();
        bool promoted = false;

        /* The very first request calls nothing: its reply says that we are there. */
        if (lane->function)
            platform_call(lane);
        if (!pace.hot)
            promoted = gains_pace(&pace, began, platform_now());
        reply(lane, index, &pace, word);
        seen = word;
        if (promoted && platform_avoid(lane->host_cpu)) {
            uint32_t parked = word | CHANNEL_PARKED;

            /* reply() said that we are parked; if nobody has called since, we are not */
            atomic_compare_exchange_strong(&lane->request, &parked, word);
            pace.hot = true;
            pace.misses = 0;
        }
    }
}
