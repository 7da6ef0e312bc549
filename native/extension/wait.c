/* Posting a request and waiting for its reply. The protocol and the reasons for
 * the two ways to wait are in channel.h. */
#define _GNU_SOURCE
#include "extension.h"
#include "placement.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A parked caller looks up this often by itself: for Python's signals, whose
 * handler may have run on another thread, and against anything unforeseen. */
#define LOOK_UP_NS 200000000u

#define LOOKS 64 /* at the reply between two looks at the clock; under a microsecond */

void futex_wait_private(_Atomic uint32_t *word, uint32_t value, uint64_t limit)
{
    const struct timespec wait = {.tv_nsec = (long)(limit < LOOK_UP_NS ? limit : LOOK_UP_NS)};

    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &wait, NULL, 0);
}

void futex_wake_private(_Atomic uint32_t *word, int count)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

void foreign_sleep(struct foreign memory, size_t at, uint32_t value, const struct timespec *limit)
{
    syscall(SYS_futex, foreign_address(foreign_at(memory, at)), FUTEX_WAIT, value, limit, NULL, 0);
}

void foreign_wake(struct foreign memory, size_t at, int count)
{
    syscall(SYS_futex, foreign_address(foreign_at(memory, at)), FUTEX_WAKE, count, NULL, NULL, 0);
}

static void ring(const Session *session, uint32_t lane)
{
    unsigned char byte = (unsigned char)lane;

    /* If the worker is gone, the watcher will say so. */
    /* Never blocks: the GIL is held, and a worker need not read. One that does has at
     * most a byte a lane unread, so there is always room. */
    while (send(session->watch->socket, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
           errno == EINTR)
        ;
}

/* Hand `word` over, and look after the worker if it sleeps. */
static void hand_over(Session *session, struct pending *pending, uint32_t depth, uint32_t back)
{
    struct lane_record *record = pending->record;
    struct foreign lane = pending->lane;
    uint32_t index = (uint32_t)(record - session->lanes);
    bool parked;

    record->number = (record->number + 1) % CHANNEL_NUMBERS;
    pending->before = record->word;
    parked = foreign_swap(lane, FRAME_REQUEST, channel_word(record->number, depth, back)) &
             CHANNEL_PARKED;
    if (parked || record->number % 64 == 1) {
        pending->cpu = (uint32_t)sched_getcpu();
        foreign_put(lane, FRAME_HOST_CPU, pending->cpu);
    }
    if (!record->started) {
        record->started = true;
        ring(session, index);
    } else if (parked && session->doorbell) {
        ring(session, index);
    } else if (parked) {
        foreign_wake(lane, FRAME_REQUEST, 1);
    }
    pending->spin = !parked && session->spin_ns != 0;
    pending->cold = parked && !session->doorbell;
}

void pending_expect(struct pending *pending, uint32_t depth)
{
    pending->after = channel_word(pending->record->number, depth, 0);
    pending->back = channel_word(pending->record->number, depth + 1, CHANNEL_BACK);
}

struct pending post_call(Session *session, struct lane_record *record, uint32_t depth,
                         const struct ferry_frame *frame, size_t from, size_t end,
                         uint64_t timeout_ns)
{
    struct foreign target = session_frame(session, record, depth);
    struct pending pending = {.record = record, .lane = session_frame(session, record, 0)};

    if (timeout_ns)
        pending.deadline = monotonic_ns() + timeout_ns;
    /* All at once: a worker that looks at the line takes it away after each write. */
    foreign_write(foreign_at(target, FRAME_STACK_BYTES), (const char *)frame + FRAME_STACK_BYTES,
                  FRAME_HOST_LINE_END - FRAME_STACK_BYTES);
    if (end > from)
        foreign_write(foreign_at(target, from), (const char *)frame + from, end - from);
    hand_over(session, &pending, depth, 0);
    pending_expect(&pending, depth);
    return pending;
}

void post_return(Session *session, struct pending *pending, uint32_t depth)
{
    hand_over(session, pending, depth, CHANNEL_BACK);
    pending_expect(pending, depth - 1);
}

/* Whether it is a reply, and which. Who has seen one does not look again: by then there
 * might be something else. */
static bool is_reply(struct pending *pending, uint32_t word, enum outcome *outcome)
{
    if (word != pending->after && word != pending->back)
        return false;
    pending->record->word = word;
    *outcome = word == pending->after ? REPLIED : CALLED_BACK;
    return true;
}

bool answered_at_once(struct pending *pending, enum outcome *outcome)
{
    for (int i = 0; pending->spin && i < LOOKS; i++) {
        uint32_t word = foreign_word(pending->lane, FRAME_REPLY);

        if (is_reply(pending, word, outcome))
            return true;
        channel_relax();
    }
    return false;
}

bool is_overdue(const struct pending *pending)
{
    return pending->deadline && monotonic_ns() >= pending->deadline;
}

static void spin(const Session *session, const struct pending *pending)
{
    uint64_t start = 0;

    for (;;) {
        for (int i = 0; i < LOOKS; i++) {
            if (foreign_word(pending->lane, FRAME_REPLY) != pending->before)
                return;
            channel_relax();
        }
        if (start == 0)
            start = monotonic_ns();
        else if (monotonic_ns() - start >= session->spin_ns)
            return;
    }
}

bool replied_soon(const Session *session, struct pending *pending)
{
    if (pending->spin)
        spin(session, pending);
    return (foreign_word(pending->lane, FRAME_REPLY) & ~CHANNEL_PARKED) != pending->before;
}

/* Sleep until the reply word changes, or `limit` or a signal comes. */
static void park(const struct pending *pending, uint64_t limit)
{
    struct timespec wait = {.tv_nsec = (long)limit};

    if (pending->cold)
        placement_hold(pending->cpu);
    foreign_sleep(pending->lane, FRAME_REPLY, pending->before | CHANNEL_PARKED, &wait);
    placement_release();
}

enum outcome await_reply(const Session *session, struct pending *pending)
{
    if (pending->spin)
        spin(session, pending);
    pending->spin = false;
    for (bool parked = false;; parked = true) {
        uint32_t word = foreign_word(pending->lane, FRAME_REPLY);
        uint64_t limit = LOOK_UP_NS;
        enum outcome outcome;

        if (is_reply(pending, word, &outcome))
            return outcome;
        if (atomic_load(&session->watch->dead))
            return DIED;
        if (word != pending->before && word != (pending->before | CHANNEL_PARKED))
            return VIOLATED;
        if (pending->deadline) {
            uint64_t now = monotonic_ns();

            if (now >= pending->deadline)
                return EXPIRED;
            if (pending->deadline - now < limit)
                limit = pending->deadline - now;
        }
        if (parked) /* once a time: a worker that wakes us on and on must not hold up Ctrl-C */
            return INTERRUPTED;
        if (word == pending->before &&
            !foreign_change(pending->lane, FRAME_REPLY, &word, word | CHANNEL_PARKED))
            continue;
        park(pending, limit);
    }
}
