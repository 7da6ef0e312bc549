/* The library calls back: on a lane's thread, amid a call, or on a thread of its own.
 *
 * A thread knows its lane only while a call runs in it. Whatever calls back at another
 * time, be it the library's own thread or a signal handler on one of ours that waits,
 * has no lane, and takes a guest lane for as long as the callback lasts. */
#include "entry.h"
#include "worker.h"

/* ---- guest lanes ----
 *
 * The host listens on the guest lanes one after the other, as it pleases; from then on
 * a guest lane's request word is not 0. Between callbacks a guest lane stays as the
 * last one has left it: the host's request is answered by the next. */
static struct lane guests[CHANNEL_GUESTS];
static atomic_bool taken[CHANNEL_GUESTS];
static atomic_bool leaving;

/* Of the threads that find no guest lane only one waits for it, the others wait for
 * that one. It parks where the host will wake it: on the request word of the first
 * lane that the host does not listen on yet. A lane that is given back has to wake it
 * too, so `awaited` says where it is. If the host listens on all, it is on `full`. */
static _Atomic uint32_t queue; /* 0: nobody waits; 1: one; 2: more may be parked here */
static _Atomic uint32_t full;
static _Atomic(_Atomic uint32_t *) awaited;

static _Atomic uint32_t *request_of(uint32_t guest)
{
    return &channel_lane(channel, CHANNEL_LANES + guest)->request;
}

static bool listened_on(uint32_t guest)
{
    return (atomic_load(request_of(guest)) & ~CHANNEL_PARKED) != 0;
}

static struct lane *claim(void)
{
    for (uint32_t i = 0; i < CHANNEL_GUESTS && listened_on(i); i++) {
        if (atomic_exchange(&taken[i], true))
            continue;
        if (!guests[i].frames) {
            lane_begin(&guests[i], CHANNEL_LANES + i);
            guests[i].seen = atomic_load(request_of(i)) & ~CHANNEL_PARKED;
        }
        return &guests[i];
    }
    return NULL;
}

/* Park once; a guest lane that has become free meanwhile is claimed instead. */
static struct lane *park_for_guest(void)
{
    _Atomic uint32_t *word = &full;
    struct lane *guest = NULL;
    uint32_t idle = 0;

    for (uint32_t i = 0; i < CHANNEL_GUESTS && word == &full; i++)
        if (!listened_on(i))
            word = request_of(i);
    atomic_store(&awaited, word);
    if (atomic_compare_exchange_strong(word, &idle, CHANNEL_PARKED) || idle == CHANNEL_PARKED) {
        /* one given back before `awaited` was set has woken nobody */
        guest = claim();
        if (!guest)
            platform_park(word, CHANNEL_PARKED);
    }
    return guest;
}

static struct lane *wait_for_guest(void)
{
    struct lane *guest;
    uint32_t before = 0;

    if (!atomic_compare_exchange_strong(&queue, &before, 1))
        while (atomic_exchange(&queue, 2) != 0)
            platform_park(&queue, 2);
    while (!(guest = claim()) && !(guest = park_for_guest()))
        ;
    atomic_store(&awaited, NULL);
    if (atomic_exchange(&queue, 0) == 2)
        platform_unpark(&queue);
    return guest;
}

static struct lane *take_guest(void)
{
    struct lane *guest = claim();

    if (atomic_load(&leaving))
        platform_end(0); /* a destructor calls back, and nobody is there */
    return guest ? guest : wait_for_guest();
}

static void give_back(struct lane *guest)
{
    _Atomic uint32_t *word;

    atomic_store(&taken[guest->index - CHANNEL_LANES], false);
    word = atomic_load(&awaited);
    /* That word may by now be a lane's in use, whose thread then wakes for nothing. */
    if (word && atomic_fetch_and(word, ~CHANNEL_PARKED) & CHANNEL_PARKED)
        platform_unpark(word);
}

void callbacks_leave(void)
{
    atomic_store(&leaving, true);
    for (uint32_t i = 0; i < CHANNEL_GUESTS; i++)
        if (atomic_load(&taken[i]))
            platform_end(0); /* a destructor may wait for that thread for ever */
}

/* ---- the callback ---- */

/* Serve the host until it says that the callback of frames[depth] has returned. The
 * library's error numbers go with each call nested in it, as if it made them itself. */
static void serve_until_back(struct lane *lane, uint32_t depth, struct errors *errors)
{
    for (;;) {
        uint32_t word = lane_await(lane);
        uint32_t number = word >> CHANNEL_NUMBER_SHIFT;

        if (word == channel_word(number, depth, CHANNEL_BACK))
            return;
        if (depth + 1 >= CHANNEL_DEPTH || word != channel_word(number, depth + 1, 0))
            worker_fault(CHANNEL_FAULT_ORDER, word);
        lane->frames[depth + 1].last_error = errors->last_error;
        lane_call(lane, depth + 1);
        errors->last_error = lane->frames[depth + 1].last_error;
        lane_hand_over(lane, depth + 1, 0);
    }
}

void ferry_enter(uint32_t number, struct ferry_frame *head)
{
    const struct ferry_callback *plan = atomic_load(&ferry_callbacks[number]);
    struct ferry_frame *frame;
    struct errors errors;
    struct lane *lane, *own;
    struct entry_way_back way;
    uint32_t depth;

    platform_save_errors(&errors);
    own = platform_lane();
    if (!plan)
        worker_fault(CHANNEL_FAULT_RELEASED, number);
    lane = own ? own : take_guest();
    depth = own ? own->depth + 1 : 1; /* below CHANNEL_DEPTH, as calls have even depths */
    platform_set_lane(NULL);

    frame = &lane->frames[depth];
    way = entry_gather(plan, head, frame);
    frame->function = number;
    lane_hand_over(lane, depth, CHANNEL_BACK);
    serve_until_back(lane, depth, &errors);
    entry_scatter(&way, frame, head);

    if (own) {
        lane->depth = depth - 1;
        platform_set_lane(lane);
    } else {
        give_back(lane);
    }
    platform_restore_errors(&errors);
}
