/* Whose turn it is: a lane of the channel for each call to a worker, and, of a library in
 * this process that is not thread-safe, one thread at a time. Both wait in one way. */
#define _GNU_SOURCE
#include "extension.h"
#include "placement.h"

/* A record of this thread, else an unused one, else any idle one. -1: all busy. */
static int find_lane(Session *session, uint64_t thread)
{
    uint32_t now = peek(&session->clock), longest = 0;
    int idle = -1;

    for (int i = 0; i < (int)session->lane_limit; i++) {
        struct lane_record *record = &session->lanes[i];

        if (peek(&record->busy))
            continue;
        if (peek(&record->thread) == thread)
            return i;
        if (idle < 0 || now - peek(&record->used) > longest) {
            idle = i;
            longest = now - peek(&record->used);
        }
    }
    return idle;
}

/* The lane that this thread called on last, perhaps. */
#ifdef Py_GIL_DISABLED
static _Thread_local struct {
    uint64_t session; /* its serial; 0: none */
    uint32_t lane;
} recent __attribute__((tls_model("initial-exec")));

static struct lane_record *recent_lane(Session *session)
{
    return &session->lanes[recent.session == session->serial ? recent.lane : 0];
}

static void keep_recent(Session *session, uint32_t lane)
{
    recent.session = session->serial;
    recent.lane = lane;
}
#else
static struct lane_record *recent_lane(Session *session)
{
    return &session->lanes[session->recent];
}

static void keep_recent(Session *session, uint32_t lane)
{
    session->recent = lane;
}
#endif

/* Make a lane this thread's, and busy. NULL: all are. */
static struct lane_record *claim(Session *session, uint64_t thread)
{
    int index;

    do
        index = find_lane(session, thread);
    while (index >= 0 && !flag_take(&session->lanes[index].busy));
    if (index < 0)
        return NULL;
    poke(&session->lanes[index].thread, thread);
    keep_recent(session, (uint32_t)index);
    return &session->lanes[index];
}

void session_wake_waiting(Session *session, int count)
{
    if (peek(&session->waiting)) {
        atomic_fetch_add(&session->lanes_freed, 1);
        futex_wake_private(&session->lanes_freed, count);
    }
}

/* Wait, without the GIL, until somebody lets go of the session since `freed` was read.
 * False with an exception, or without one after `deadline`. Who waits counts itself as
 * waiting before it looks whether it has to; who lets go looks for such after it did. So
 * one of the two sees the other. */
static bool wait_turn(Session *session, uint32_t freed, uint64_t deadline)
{
    uint64_t now = deadline ? monotonic_ns() : 0;

    if (deadline && now >= deadline) {
        session_wake_waiting(session, 1);
        return false; /* the caller says it */
    }
    Py_BEGIN_ALLOW_THREADS
    futex_wait_private(&session->lanes_freed, freed, deadline ? deadline - now : UINT64_MAX);
    Py_END_ALLOW_THREADS
    if (PyErr_CheckSignals() != 0) {
        session_wake_waiting(session, 1); /* what woke us may have been meant for another */
        return false;
    }
    if (!session_usable(session)) {
        session_wake_waiting(session, 1); /* the next one shall know it too */
        session_raise(session, Py_None);
        return false;
    }
    return true;
}

/* Whether this thread is in the library now, one call deeper. */
static bool try_enter(Session *session, uint64_t thread)
{
    uint64_t holder = atomic_load(&session->holder);

    if (holder != thread && (holder || !atomic_compare_exchange_strong(&session->holder, &holder,
                                                                       thread)))
        return false;
    session->holds++;
    return true;
}

bool session_enter(Session *session)
{
    uint64_t thread = PyThreadState_Get()->id;
    bool entered = try_enter(session, thread), waiting = true;

    if (entered)
        return true;
    count_up(&session->waiting);
    while (waiting) {
        uint32_t freed = atomic_load(&session->lanes_freed);

        entered = try_enter(session, thread);
        waiting = !entered && wait_turn(session, freed, 0);
    }
    count_down(&session->waiting);
    return entered;
}

void session_leave(Session *session)
{
    if (--session->holds == 0) {
        atomic_store(&session->holder, 0);
        session_wake_waiting(session, 1);
    }
}

/* Wait for a lane, as long as a call may take. NULL with an exception. */
static struct lane_record *await_lane(Session *session, uint64_t thread, const Function *function)
{
    uint64_t deadline = function->timeout_ns ? monotonic_ns() + function->timeout_ns : 0;
    struct lane_record *record = NULL;
    bool waiting = true;

    count_up(&session->waiting);
    while (waiting) {
        uint32_t freed = atomic_load(&session->lanes_freed);

        record = claim(session, thread);
        waiting = !record && wait_turn(session, freed, deadline);
    }
    count_down(&session->waiting);
    if (!record && !PyErr_Occurred())
        raise_by(HOOK_ENDED, "(OOs)", (PyObject *)session, (PyObject *)function, "busy");
    return record;
}

struct lane_record *session_lane(Session *session, const Function *function)
{
    uint64_t thread = PyThreadState_Get()->id;
    struct lane_record *record = recent_lane(session);
    uint32_t now;

    if (peek(&record->thread) != thread || !flag_take(&record->busy)) {
        record = claim(session, thread);
        if (!record && session->lane_limit == 1 && peek(&session->lanes[0].thread) == thread) {
            /* this thread's own call has the only lane, and would be waited for for ever */
            raise_by(HOOK_ENDED, "(OOs)", (PyObject *)session, Py_None, "pending");
            return NULL;
        }
        if (!record && !(record = await_lane(session, thread, function)))
            return NULL;
    }
    now = peek(&session->clock) + 1;
    poke(&session->clock, now);
    poke(&record->used, now);
    return record;
}

void session_release(Session *session, struct lane_record *lane)
{
    flag_give(&lane->busy);
    session_wake_waiting(session, 1);
}
