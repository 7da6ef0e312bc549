/* The two ways to call: in this process the frame is on our stack and the call is a jump; in
 * a worker the frame is in the lane and the call is a request. */
#define _GNU_SOURCE
#include "extension.h"
#include "placement.h"

#include <errno.h>
#include <pthread.h>

_Thread_local struct call *current_call;

/* Not KeyboardInterrupt and its like. */
static bool is_error(PyObject *exception)
{
    return PyObject_TypeCheck(exception, (PyTypeObject *)PyExc_Exception);
}

bool raise_from(struct call *call)
{
    PyObject *exception = call->exception;

    if (!exception)
        return false;
    call->exception = NULL;
    if (PyErr_Occurred() && is_error(exception)) {
        /* what ended the call is worse; this was before it */
        PyObject *type, *value, *traceback;

        PyErr_Fetch(&type, &value, &traceback);
        PyErr_NormalizeException(&type, &value, &traceback);
        if (value == exception)
            Py_DECREF(exception);
        else
            PyException_SetContext(value, exception);
        PyErr_Restore(type, value, traceback);
    } else { /* whoever wants to end it all, by Ctrl-C, may have ended the call by it */
        PyErr_Clear();
        PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exception)), exception,
                      PyException_GetTraceback(exception));
    }
    return true;
}

/* The cells that hold the address of another part of the frame; `frame` will be at
 * `place` when the library sees it. */
void write_addresses(const Plan *plan, struct ferry_frame *frame, uint64_t place)
{
    for (uint16_t i = 0; i < plan->address_count; i++) {
        const struct address *address = &plan->addresses[i];
        uint64_t target = place + address->at;

        memcpy((char *)frame + address->cell, &target, address->width);
    }
}

/* Calls and callbacks in this process that nest use up the thread's stack, and sooner than
 * Python's own limit expects: each takes two frames. False: a call more might not fit. */
#define STACK_KEPT (256u * 1024) /* bytes; of a small stack, a quarter */

static bool stack_suffices(void)
{
    static _Thread_local uintptr_t lowest __attribute__((tls_model("initial-exec")));
    char here;

    if (lowest == 0) {
        pthread_attr_t attributes;
        void *start = NULL;
        size_t size = 0;

        lowest = 1;
        if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
            if (pthread_attr_getstack(&attributes, &start, &size) == 0)
                lowest = (uintptr_t)start + (size / 4 < STACK_KEPT ? size / 4 : STACK_KEPT);
            pthread_attr_destroy(&attributes);
        }
    }
    return (uintptr_t)&here > lowest;
}

bool call_here(Function *function, struct ferry_frame *frame)
{
    Session *session = function->session;
    struct call call = {.outer = current_call, .session = session};
    int *error_number; /* this thread's: the address stays */
    int after;

    if (call.outer && !stack_suffices()) {
        raise_by(HOOK_ENDED, "(OOs)", (PyObject *)session, (PyObject *)function, "stack");
        return false;
    }
    write_addresses(function->plan, frame, (uintptr_t)frame);
    if (session->lane_limit == 1 && !session_enter(session))
        return false;
    if (!session_use(session)) {
        if (session->lane_limit == 1)
            session_leave(session);
        return false;
    }
    if (session->error_location) {
        namespace_prepare(session->key_block, (void *)(uintptr_t)session->serial);
        error_number = session->error_location();
    } else {
        error_number = &errno;
    }
    current_call = &call;
    call.thread = function->keep_gil ? NULL : PyEval_SaveThread();
    *error_number = 0;
    ferry_call(frame);
    after = *error_number;
    if (current_call != &call)
        Py_FatalError("a native library left a Python callback by longjmp, and with it the frames "
                      "of the interpreter; isolation='worker' survives that");
    if (call.thread)
        PyEval_RestoreThread(call.thread);
    current_call = call.outer;
    session_unuse(session);
    if (session->lane_limit == 1)
        session_leave(session);
    if (!function->service)
        session_keep_errors(session, after, 0);
    return !raise_from(&call);
}

/* Wait for a reply, or for a callback, with the GIL while it is worth it. */
static enum outcome await(Session *session, struct pending *pending)
{
    enum outcome outcome;

    if (answered_at_once(pending, &outcome))
        return outcome;
    do {
        PyThreadState *thread = PyEval_SaveThread();

        outcome = await_reply(session, pending);
        PyEval_RestoreThread(thread);
    } while (outcome == INTERRUPTED && PyErr_CheckSignals() == 0 &&
             session->generation == process_generation);
    return outcome;
}

/* Serve the callback, and go on waiting. False: it cannot be gone on with. */
static bool call_back(Session *session, struct call *call, struct pending *pending)
{
    uint64_t began = pending->deadline ? monotonic_ns() : 0;

    if (!callback_serve(session, call) || !session_usable(session))
        return false;
    if (call->stopped_twice) { /* it may call back for ever, and somebody wants it to end */
        raise_from(call);
        return false;
    }
    post_return(session, pending, call->depth + 1);
    if (pending->deadline) /* it is the library that has to answer in time */
        pending->deadline += monotonic_ns() - began;
    return true;
}

bool await_call(Session *session, PyObject *function, struct call *call, struct pending *pending)
{
    enum outcome outcome = await(session, pending);

    while (outcome == CALLED_BACK)
        outcome = is_overdue(pending)                 ? EXPIRED
                  : call_back(session, call, pending) ? await(session, pending)
                  : session_usable(session)           ? VIOLATED
                                                      : DIED;
    if (outcome == REPLIED)
        return true;
    poke(&session->ended, true);
    if (outcome != DIED && session->generation == process_generation) {
        Py_BEGIN_ALLOW_THREADS
        watch_end_process(session->watch);
        Py_END_ALLOW_THREADS
    }
    if (!PyErr_Occurred())
        raise_by(HOOK_ENDED, "(OOs)", (PyObject *)session, function,
                 session->generation != process_generation ? "forked"
                 : outcome == DIED                         ? peek(&session->closed) ? "closed" : "died"
                 : outcome == EXPIRED                      ? "expired"
                                                           : "violated");
    return false;
}

void take_result(const struct slot *slot, struct ferry_frame *frame, struct foreign lane)
{
    if (slot->kind != KIND_BYTES)
        foreign_read((char *)frame + slot->offset, foreign_at(lane, slot->offset), 16);
    for (uint16_t i = 0; i < slot->move_count; i++)
        foreign_read((char *)frame + slot->moves[i].offset, foreign_at(lane, slot->moves[i].offset),
                     slot->moves[i].size);
}

/* The lane for a call: that of the call whose callback this thread is in, one deeper, or
 * a free one. False with an exception. */
static bool take_lane(Function *function, struct call *call)
{
    for (struct call *outer = call->outer; outer; outer = outer->outer) {
        if (outer->session != call->session || !outer->calling_back)
            continue;
        call->record = outer->record;
        call->depth = outer->depth + 2;
        if (call->depth + 1 < CHANNEL_DEPTH)
            return true;
        raise_by(HOOK_ENDED, "(OOs)", (PyObject *)call->session, (PyObject *)function, "nested");
        return false;
    }
    call->record = session_lane(call->session, function);
    return call->record != NULL;
}

struct pending call_post(Function *function, const struct call *call, struct ferry_frame *frame)
{
    Session *session = function->session;
    uint32_t lane = (uint32_t)(call->record - session->lanes);

    write_addresses(function->plan, frame, session->base + frame_offset(lane, call->depth));
    return post_call(session, call->record, call->depth, frame, function->plan->frame_from,
                     function->plan->frame_end, function->timeout_ns);
}

bool call_finish(Function *function, struct call *call, struct pending *pending,
                 struct ferry_frame *frame)
{
    Session *session = function->session;
    struct foreign lane = session_frame(session, call->record, call->depth);
    bool returned;

    current_call = call;
    returned = await_call(session, (PyObject *)function, call, pending);
    current_call = call->outer;
    if (returned) {
        if (!function->service) {
            foreign_read(&frame->error_number, foreign_at(lane, FRAME_ERRNO), 8);
            session_keep_errors(session, frame->error_number, frame->last_error);
        }
        take_result(&function->plan->result, frame, lane);
    }
    if (call->depth == 0)
        session_release(session, call->record);
    return !raise_from(call) && returned;
}

bool call_there(Function *function, struct ferry_frame *frame, PyObject *const *values)
{
    struct call call = {.outer = current_call, .session = function->session};
    struct pending pending;

    if (!take_lane(function, &call))
        return false;
    pending = call_post(function, &call, frame);
    if (call_finish(function, &call, &pending, frame))
        return true;
    tell_arguments((PyObject *)function, values, Py_SIZE(function->plan));
    return false;
}
