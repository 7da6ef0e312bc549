/* The Python extension: the host's half of a call.
 *
 *   plan.c       Plan: where the values of one signature lie, and how they convert
 *   function.c   Function: a C function as a Python callable
 *   call.c       the two ways to call one
 *   callback.c   Callback: a Python callable as a C function
 *   batch.c      many calls in one crossing
 *   pending.c    Pending: a call that is not waited for yet
 *   queue.c      pieces of a map() that a worker does one after the other
 *   listener.c   Listener: callbacks from the library's own threads
 *   pack.c       Python values to cells of the frame
 *   pointer.c    the same for what is passed by pointer
 *   unpack.c     cells of the frame to Python values
 *   session.c    Session: one opened library, in this process or in a worker
 *   lanes.c      whose turn it is: a lane for each call
 *   namespace.c  a C library of its own for some of those in this process
 *   sealed.c     files in memory that nobody can change any more
 *   wait.c       posting a request and waiting for its reply
 *   watcher.c    the thread that learns at once when a worker dies
 *   spawn.c      a worker's process is born: clone and execve (spawn.h)
 *   nursery.c    the thread that workers are children of, and end with
 *   plan_check.c whether the plan for its confinement is sound
 *   confine.c    the child's half: it does what the plan says (raw.h)
 *   kernel.c     what this kernel lets us confine with
 *   supervise.c  answering the calls that its filter hands to us (supervise.h)
 *   act.c        what such a call is about: its path, its address
 *   notices.c    what learning has seen of them
 *   supervised.c the same as Python sees it
 *   foreign.h    how memory is read that a worker has, too
 *   memfd.h      files in memory
 *   sharing.h    what protects the state that threads share
 *   arena.c      who owns which bytes of the shared memory
 *   memory.c     Buffer and Pointer
 *   record.c     structures, unions and arrays (record.h)
 *   array.c      an array's elements, and a record's parts
 *   field.c      a number in one of those
 *   record_class.c   the class of their classes
 *   exports.c    what an ELF library offers: the loop over its symbols
 *   module.c     the module
 *
 * Nothing here explains an error. What went wrong is handed, as a short code, to
 * a Python function (module.c, hooks) that knows how to say it.
 */
#ifndef FERRY_EXTENSION_H
#define FERRY_EXTENSION_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>

#include "channel.h"
#include "foreign.h"
#include "sharing.h"

/* ---- arena.c ---- */

#define ARENA_ALIGN 64u

struct extent {
    uint64_t start, size;
};

/* Free extents, ascending and never adjacent. Kept in the host's own memory:
 * nothing that a worker writes can change them. */
struct arena {
    Guard guard;
    struct extent *free;
    size_t count, capacity;
};

#define ARENA_NONE UINT64_MAX

bool arena_init(struct arena *arena, uint64_t start, uint64_t size);
void arena_clear(struct arena *arena);
/* The offset of `size` bytes (at least one), or ARENA_NONE. */
uint64_t arena_take(struct arena *arena, uint64_t size);
/* Gives back what arena_take gave for the same size. */
void arena_give(struct arena *arena, uint64_t start, uint64_t size);
/* How many bytes nobody uses. */
uint64_t arena_left(struct arena *arena);

/* ---- watcher.c ---- */

struct watch {
    _Atomic uint32_t dead;   /* set once, before the lanes are woken */
    _Atomic int exit_code;   /* valid when dead: as CLD_EXITED gives it, or */
    _Atomic int exit_signal; /* the signal's number */
    pid_t pid;
    int process; /* pidfd, or -1 on kernels without */
    int socket;  /* the host's end of the doorbell; owned */
    struct foreign channel;
    struct watch *next;
};

/* Start to watch. The watch takes over `socket`. NULL: errno says why. */
struct watch *watch_begin(pid_t pid, int socket, struct foreign channel);
/* No more wake-ups from here; frees the watch and closes its descriptors. */
void watch_end(struct watch *watch);
void watch_kill(const struct watch *watch);
/* Kill, and wait (without the GIL; a second at most) until the death is known. */
void watch_end_process(const struct watch *watch);

/* ---- session.c ---- */

/* What the host believes about one lane. Who has made it busy may change the rest. */
struct lane_record {
    _Atomic uint64_t thread; /* id of the Python thread that used it last; 0: nobody */
    uint32_t number;         /* of the last handover posted */
    uint32_t word;           /* the last reply word, without PARKED */
    _Atomic bool busy;
    bool started;          /* the worker has a thread for it */
    _Atomic uint32_t used; /* when, in calls: the least recent is given away first */
#ifdef Py_GIL_DISABLED
    char apart[CACHE_LINE - 24];
#endif
};

/* How many calls in this process have not returned, and how many views show the library's
 * memory. Without the GIL, several counts: all threads change them all the time. */
struct running {
    _Atomic uint32_t count;
#ifdef Py_GIL_DISABLED
    char apart[CACHE_LINE - 4];
#endif
};

#ifdef Py_GIL_DISABLED
#define RUNNING_COUNTS 16u
#else
#define RUNNING_COUNTS 1u
#endif

/* The shared memory, which the last of its users unmaps. */
struct mapping {
    _Atomic uint32_t uses;
    struct foreign memory;
    uint64_t size;
};

struct mapping *mapping_use(struct mapping *mapping);
void mapping_leave(struct mapping *mapping);

typedef struct {
    PyObject_HEAD
    PyObject *weakrefs;
    PyObject *services; /* Python's affair: what functions of this session can ask of it */
    _Atomic bool closed;
    _Atomic bool ended; /* we have killed the worker; the watcher may not know yet */
    unsigned generation; /* of this process; a fork starts a new one */
    bool doorbell;       /* the worker cannot be woken through memory */
    uint32_t spin_ns;
    uint64_t timeout_ns; /* 0: none */
    bool in_worker;      /* else in this process, and there is no channel */
    struct foreign channel;
    struct mapping *mapping;
    uint64_t size;
    uint64_t base; /* the worker's address of the channel */
    int memory;    /* descriptor of the channel, or -1 */
    struct watch *watch;
    struct supervision *supervision; /* NULL: its worker has no filter that asks us */
    struct arena arena;
    _Atomic bool visited; /* in this process, a thread in no call of ours has called back */
    struct running running[RUNNING_COUNTS];
    uint32_t recent;
    _Atomic uint32_t waiting;     /* threads that want a lane */
    _Atomic uint32_t lanes_freed; /* futex for them */
    uint64_t serial; /* no two sessions have the same */
    uint64_t family; /* the same for all sessions of one library, which it had one by one */
    _Atomic uint32_t clock;
    uint32_t lane_limit; /* calls at once; 1 for a library that is not thread-safe */
    _Atomic uint64_t holder; /* in this process, for such a library: the thread that is in */
    uint32_t holds;          /* it, 0 if none is; and how many calls deep */
    _Atomic uint32_t bell; /* futex of who waits for any of several calls */
    struct callback_table *callbacks; /* NULL: there were none */
    int *(*error_location)(void); /* of a namespace's own C library; NULL: it is ours */
    uint32_t key_block;           /* that namespace's */
    struct lane_record lanes[CHANNEL_LANES + CHANNEL_GUESTS];
} Session;

/* One call that has not returned, on the stack of its thread. They are a list, so that
 * a callback finds the call it belongs to, and a call inside a callback its lane. */
struct call {
    struct call *outer;
    Session *session;
    struct lane_record *record; /* NULL in this process */
    uint32_t depth;             /* of the call's frame */
    bool calling_back;          /* Python runs in a callback of this call */
    PyThreadState *thread;      /* of a call without the GIL; NULL if it kept it */
    PyObject *exception;        /* that a callback raised, or NULL */
    bool stopped_twice;         /* callbacks raised KeyboardInterrupt, or its like, again */
};

extern _Thread_local struct call *current_call __attribute__((tls_model("initial-exec")));

extern PyTypeObject *session_type;
extern PyType_Spec session_spec;
extern unsigned process_generation;

static inline bool session_usable(const Session *session)
{
    if (peek(&session->closed) || peek(&session->ended))
        return false;
    if (!session->in_worker)
        return true; /* also in a fork: the library is in the child as well */
    return session->generation == process_generation && session->watch &&
           !atomic_load_explicit(&session->watch->dead, memory_order_relaxed);
}

typedef struct function Function;

/* The lane of the calling thread; waits for one if all are taken. The GIL is held
 * on entry and on return. NULL with an exception if the session ended meanwhile. */
struct lane_record *session_lane(Session *session, const Function *function);
void session_release(Session *session, struct lane_record *lane);
/* Have so many of those that wait for a turn look again. */
void session_wake_waiting(Session *session, int count);
/* Where frame `depth` of a lane is, from the channel's start. */
static inline uint64_t frame_offset(uint32_t lane, uint32_t depth)
{
    return CHANNEL_LANES_OFFSET + ((uint64_t)lane * CHANNEL_DEPTH + depth) * FRAME_SIZE;
}
static inline struct foreign session_frame(const Session *session, const struct lane_record *record,
                                           uint32_t depth)
{
    return foreign_at(session->channel, frame_offset((uint32_t)(record - session->lanes), depth));
}
/* In this process, for a library that is not thread-safe: wait until no other thread
 * calls it, and let the next one. */
bool session_enter(Session *session);
void session_leave(Session *session);
/* errno and GetLastError() of the calling thread's last call of this session. */
void session_keep_errors(const Session *session, int32_t error_number, uint32_t last_error);

/* Raise what a call on an unusable session raises. */
void session_raise(Session *session, PyObject *function);

static inline struct running *running_of(Session *session)
{
#ifdef Py_GIL_DISABLED
    return &session->running[PyThreadState_Get()->id % RUNNING_COUNTS];
#else
    return session->running;
#endif
}

static inline void session_unuse(Session *session)
{
    count_down(&running_of(session)->count);
}

/* In this process: the library stays mapped until session_unuse. False with an exception:
 * it was closed. */
static inline bool session_use(Session *session)
{
    count_up(&running_of(session)->count);
#ifdef Py_GIL_DISABLED
    if (atomic_load(&session->closed)) { /* close() looks at the counts after it set that */
        session_unuse(session);
        session_raise(session, Py_None);
        return false;
    }
#endif
    return true;
}

/* ---- namespace.c ---- */

/* Whether the calling thread is a library's own, with a callback on it. */
extern _Thread_local bool guest_thread __attribute__((tls_model("initial-exec")));
/* Before a call of this thread into a namespace: what it keeps under pthread keys there is
 * the owner's, or nothing. */
void namespace_prepare(uint32_t block, const void *owner);
extern PyMethodDef namespace_functions[];

/* ---- sealed.c ---- */

extern PyMethodDef sealed_functions[];

/* ---- supervised.c ---- */

/* Answer the calls that the worker's filter hands to us; listener -1: there is none. Takes
 * it over. False with an exception. */
bool session_supervise(Session *session, int pid, int listener, const Py_buffer *policy);
/* What it was ended for: a dict, or None. */
PyObject *session_violation(Session *session);
PyObject *session_notices(Session *session, PyObject *unused);
PyObject *session_get_notices_lost(Session *session, void *unused);
PyObject *session_get_phase(Session *session, void *unused);
int session_set_phase(Session *session, PyObject *value, void *unused);

/* ---- wait.c ---- */

enum outcome { REPLIED, CALLED_BACK, DIED, EXPIRED, INTERRUPTED, VIOLATED };

struct pending {
    struct lane_record *record;
    struct foreign lane;          /* its first frame, which has the words */
    uint32_t before, after, back; /* lawful values of the reply word, PARKED aside */
    uint64_t deadline;            /* CLOCK_MONOTONIC ns, 0: none */
    bool spin;                    /* the worker is looking, on another processor */
    bool cold;                    /* it was asleep, and wakes on ours */
    uint32_t cpu;
};

/* Post a call: the host's line of `frame` and its bytes from `from` to `end`, to be called at
 * `depth`, and to return within `timeout_ns`, or (0) any time. */
struct pending post_call(Session *session, struct lane_record *record, uint32_t depth,
                         const struct ferry_frame *frame, size_t from, size_t end,
                         uint64_t timeout_ns);
/* What may come back now to a call at `depth`: it returned, or it calls back. */
void pending_expect(struct pending *pending, uint32_t depth);
/* Post the return of the callback that `pending` was interrupted by. */
void post_return(Session *session, struct pending *pending, uint32_t depth);
/* Whether a hot worker answers within a microsecond, and how: the GIL can be kept as long,
 * for letting go of it and taking it back would cost as much as the answer. */
bool answered_at_once(struct pending *pending, enum outcome *outcome);
/* Whether its time is over. A worker that calls back again and again is never waited for
 * long enough to be found late. */
bool is_overdue(const struct pending *pending);
/* Whether there is a reply, or one comes while spinning for it is worth it. */
bool replied_soon(const Session *session, struct pending *pending);
/* Without the GIL. INTERRUPTED: a signal, or nothing, has come; look after signals. May be
 * called again after that and after CALLED_BACK. */
enum outcome await_reply(const Session *session, struct pending *pending);
/* For `limit` nanoseconds at most, and never for long. */
void futex_wait_private(_Atomic uint32_t *word, uint32_t value, uint64_t limit);
void futex_wake_private(_Atomic uint32_t *word, int count);

/* ---- memory.c ---- */

typedef struct {
    PyObject_HEAD
    Session *session;
    PyObject *type; /* the pointer type it is passed as, or None: any */
    struct foreign data;
    void *own;       /* in-process, what calloc gave; NULL once freed */
    uint64_t offset; /* in the channel */
    Py_ssize_t size;
    _Atomic Py_ssize_t uses; /* views and calls that use it; -1: freed */
} Buffer;

typedef struct {
    PyObject_HEAD
    Session *session;
    PyObject *type;
    uint64_t address;
} Pointer;

extern PyTypeObject *buffer_type, *pointer_type;
extern PyType_Spec buffer_spec, pointer_spec;

/* The library's address of a live buffer. */
uint64_t buffer_address(const Buffer *buffer);
/* It is not freed until it is left again. False: it was freed before. */
bool buffer_use(Buffer *buffer);
void buffer_leave(Buffer *buffer);

struct loan;
struct packing;

/* ---- plan.c ---- */

enum kind {
    KIND_VOID,
    KIND_SIGNED, /* these two first: pack() tells them from the rest */
    KIND_UNSIGNED,
    KIND_BOOL,
    KIND_FLOAT,
    KIND_X87,     /* a float or double on the x87 stack */
    KIND_POINTER, /* argument or result */
    KIND_STRING,  /* a value from C: const char *, decoded here when in-process */
    KIND_BYTES,   /* anything else: its bytes, in pieces */
    KIND_COUNT,
};

struct move {
    uint16_t offset, width; /* in the frame */
    uint16_t source, size;  /* in the value */
    bool ones;              /* what is above `size` is filled with ones */
};

/* One value: how it converts, and where in the frame it lies. */
struct slot {
    uint8_t kind;
    uint8_t size;         /* bytes of the C type, but not of KIND_BYTES */
    uint8_t width;        /* bytes written to the frame, extended from size */
    bool sign;            /* extended by the highest bit even if unsigned */
    bool ones;            /* extended by ones */
    bool character;       /* char: a bytes of length 1 is a value too */
    bool readonly;        /* pointer to const */
    bool text;            /* pointer to char or wchar_t: str is a value */
    bool lends;           /* its value may take a loan */
    char element;         /* pointee: 'i', 'u', 'f', or 0 for anything */
    uint8_t element_size; /* bytes of the pointee; 1 for void */
    uint16_t offset;      /* in the frame */
    uint16_t move_count;  /* KIND_BYTES */
    uint16_t value_size;
    struct move *moves;
    int64_t least;       /* of an integer: the least number that fits, ... */
    uint64_t span;       /* ... and by how much the greatest one exceeds it */
    PyObject *type;      /* pointers: the type's name, interned */
    PyTypeObject *class; /* KIND_BYTES: a record's own class; a pointer: the last one that
                          * was found to be what it leads to; or NULL */
    PyObject *encode;    /* value -> bytes (KIND_BYTES) or address; or None */
    PyObject *decode;    /* bytes (KIND_BYTES) or address -> value; or None */
};

/* The frame's cell that holds the address of another part of the frame. */
struct address {
    uint16_t cell, at;
    uint8_t width;
};

typedef struct {
    PyObject_VAR_HEAD
    PyObject *signature; /* what it was made of; Python's affair */
    PyObject *encoding;  /* of strings; None: bytes */
    PyObject *library;   /* whose addresses records hold, or None */
    uint16_t stack_bytes;
    uint8_t vector_count, x87_results;
    uint16_t frame_from;  /* where, beyond the host's line, arguments begin, ... */
    uint16_t frame_end;   /* ... and where they end */
    uint16_t frame_bytes; /* where all of it ends, the result included */
    uint16_t lenders;   /* how many arguments may take a loan */
    uint16_t address_count;
    struct address *addresses;
    struct slot result;
    struct slot arguments[];
} Plan;

extern PyTypeObject *plan_type;
extern PyType_Spec plan_spec;

/* ---- function.c ---- */

struct function {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    Session *session;
    Plan *plan;
    uint64_t address;
    PyObject *name;
    uint64_t timeout_ns; /* 0: none */
    bool keep_gil;
    bool service; /* one of ours: errno stays that of the library's last call */
    Guard guard;  /* of the successor */
    PyObject *successor; /* the same function in the worker that took the place, or NULL */
};

extern PyTypeObject *function_type;
extern PyType_Spec function_spec;

/* Whether it can be called with so many values. False with an exception. */
bool function_ready(Function *function, Py_ssize_t given, PyObject *names);
/* The function, or, if its worker is gone and the library begins again, the same one in the
 * worker that took the place. A new reference; NULL with an exception. */
Function *function_now(Function *function);
/* The same function with another timeout. A new reference; NULL with an exception. */
Function *function_within(Function *function, uint64_t timeout_ns);
struct packing packing_of(Function *function, struct ferry_frame *frame, struct loan *loans);
bool pack_all(struct packing *packing, Function *function, PyObject *const *values);
/* Clear what post_call will send: what no argument is written to must not be our stack. */
void clear_sent(struct ferry_frame *frame, const Plan *plan);
/* batch.c */
PyObject *function_call_rows(PyObject *self, PyObject *rows);

/* ---- call.c ---- */

/* Call it, in this process or in its worker. False with an exception; it may be one that a
 * callback raised. */
bool call_here(Function *function, struct ferry_frame *frame);
bool call_there(Function *function, struct ferry_frame *frame, PyObject *const *values);
/* Wait for what was posted, serving callbacks meanwhile. The GIL is held on entry and on
 * return. False with an exception: the call did not return. */
bool await_call(Session *session, PyObject *function, struct call *call, struct pending *pending);
/* The cells that hold the address of another part of the frame; `frame` will be at
 * `place` when the library sees it. */
void write_addresses(const Plan *plan, struct ferry_frame *frame, uint64_t place);
/* Copy a result from a shared frame. */
void take_result(const struct slot *slot, struct ferry_frame *frame, struct foreign shared);
/* The two halves of a call to a worker, on the lane of `call`. call_finish is false with
 * an exception: the call did not return, or a callback raised it. The results are then
 * in `frame`. */
struct pending call_post(Function *function, const struct call *call, struct ferry_frame *frame);
bool call_finish(Function *function, struct call *call, struct pending *pending,
                 struct ferry_frame *frame);
/* Raise what a callback of this call raised. False: nothing was. */
bool raise_from(struct call *call);

/* ---- callback.c ---- */

extern PyTypeObject *callback_type;
extern PyType_Spec callback_spec;

/* Serve the callback that a worker asks for in the frame after the call's. False: there
 * is no such callback. What it raises waits in call->exception. */
bool callback_serve(Session *session, struct call *call);
const Session *callback_session(PyObject *callback);
PyObject *callback_pointer_type(PyObject *callback);
uint64_t callback_address(PyObject *callback);
/* The session is no more, or at its garbage collection. */
void callback_forget(Session *session);
int callback_visit(Session *session, visitproc visit, void *arg);

/* ---- listener.c ---- */

extern PyTypeObject *listener_type;
extern PyType_Spec listener_spec;

/* ---- pending.c ---- */

extern PyTypeObject *pending_type;
extern PyType_Spec pending_spec;

typedef struct {
    PyObject_HEAD
    Function *function;
    struct call call;
    struct pending pending;
    struct loan *loans;
    uint32_t lent;
    _Atomic bool waited;
} Pending;

PyObject *function_post(PyObject *self, PyObject *const *values, Py_ssize_t count);
PyObject *session_wait_any(Session *session, PyObject *args);
PyObject *session_ring(Session *session, PyObject *unused);

/* ---- queue.c ---- */

extern PyMethodDef queue_functions[];

/* ---- exports.c ---- */

extern PyMethodDef exports_functions[];

/* ---- spawn.c ---- */

extern PyMethodDef spawn_functions[];
PyObject *kernel_known(PyObject *module, PyObject *unused); /* kernel.c */
extern PyObject *spawn_error; /* SpawnError: an OSError with step and kind */

/* ---- pack.c, pointer.c, unpack.c ---- */

/* What one pointer argument holds until the call is over. */
struct loan {
    Py_buffer view; /* obj NULL: none */
    PyObject *kept; /* a new reference, or NULL */
    Buffer *buffer; /* in use, or NULL */
    uint64_t start, size; /* arena bytes to give back; size 0: none */
    bool copy_back;
};

/* What is copied back after a crossing with many calls: memory of this process, by
 * address, and where in the arena its copy is. */
struct writing {
    const char *from, *to;
    uint64_t start;
};

struct writings {
    struct writing *of;
    size_t count;
};

/* What pack() needs to know beside the value. */
struct packing {
    PyObject *owner; /* Function or Callback, for messages */
    Session *session;
    const Plan *plan;
    struct ferry_frame *frame;
    struct loan *loans; /* NULL: nothing can be lent, as for a callback's result */
    uint32_t lent;
    const struct writings *writings; /* of earlier rows of a batch, or NULL */
    bool row_overlaps; /* refused since an earlier row writes to a part of it */
};

/* Write one value into the frame. A pointer may take a new loan. On failure an
 * exception is set. `index` is the argument's, or -1 for a callback's result. */
bool pack(struct packing *packing, const struct slot *slot, Py_ssize_t index, PyObject *value);
/* The same for all arguments of the plan. */
bool pack_arguments(struct packing *packing, PyObject *const *values);
bool pack_pointer(struct packing *packing, const struct slot *slot, Py_ssize_t index,
                  PyObject *value);
bool refuse(const struct packing *packing, Py_ssize_t index, PyObject *value, const char *code);
/* The bits of a number of up to 8 bytes, as many as the slot's width. */
static inline void store(struct ferry_frame *frame, const struct slot *slot, uint64_t bits)
{
    char *cell = (char *)frame + slot->offset;

    if (slot->width == 8)
        memcpy(cell, &bits, 8);
    else if (slot->width == 4)
        memcpy(cell, &bits, 4);
    else
        memcpy(cell, &bits, slot->width);
}
/* Remember what of these loans will be copied back; there is room for all. */
void keep_writings(struct writings *writings, const struct loan *loans, uint32_t count);
/* A register's worth mostly: calling memcpy would take longer. */
static inline void copy_piece(char *to, const char *from, size_t size)
{
    if (size == 8)
        memcpy(to, from, 8);
    else if (size == 4)
        memcpy(to, from, 4);
    else
        memcpy(to, from, size);
}
/* Give back what was lent, and copy back what the library may have written. */
void settle(Session *session, struct loan *loans, uint32_t count, bool copy_back);
/* A value of the frame, which must be this process's own, as a new reference. */
PyObject *unpack(const Session *session, const Plan *plan, const struct slot *slot,
                 const struct ferry_frame *frame);

/* ---- module.c ---- */

enum hook {
    HOOK_ARGUMENT, /* (function or callback, index, value, code): raise */
    HOOK_COUNT_OF, /* (function, given): raise */
    HOOK_ENDED,    /* (session, function or None, code): raise */
    HOOK_ARENA,    /* (session, size): raise */
    HOOK_CALLED,   /* (error, function, arguments): tell the error; not by raise_by */
    HOOKS,
};

/* Methods that are written in Python. */
enum delegate { DELEGATE_MAP, DELEGATE_BATCH, DELEGATE_WITHIN, DELEGATE_SUCCESSOR, DELEGATES };

PyObject *delegate(enum delegate which, PyObject *self, PyObject *args, PyObject *kwargs);

/* Call a hook, which raises. The format is Py_BuildValue's, in parentheses. */
void raise_by(enum hook hook, const char *format, ...);
/* Tell the error that is set, which ended a call, what was called. */
void tell_arguments(PyObject *function, PyObject *const *values, Py_ssize_t count);

#endif
