/* The Python extension: the host's half of a call.
 *
 *   function.c   Function: a C function as a Python callable
 *   pack.c       Python arguments to cells of the frame
 *   unpack.c     results back
 *   session.c    Session: one opened library, in this process or in a worker
 *   wait.c       posting a request and waiting for its reply
 *   watcher.c    the thread that learns at once when a worker dies
 *   arena.c      who owns which bytes of the shared memory
 *   memory.c     Buffer and Pointer
 *   record.c     structures, unions and arrays (record.h)
 *   record_class.c   the class of their classes
 *   field.c      a number in one of those
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

/* ---- arena.c ---- */

#define ARENA_ALIGN 64u

struct extent {
    uint64_t start, size;
};

/* Free extents, ascending and never adjacent. Kept in the host's own memory:
 * nothing that a worker writes can change them. */
struct arena {
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

/* ---- watcher.c ---- */

struct watch {
    _Atomic uint32_t dead;   /* set once, before the lanes are woken */
    _Atomic int exit_code;   /* valid when dead: as CLD_EXITED gives it, or */
    _Atomic int exit_signal; /* the signal's number */
    pid_t pid;
    int process; /* pidfd, or -1 on kernels without */
    int socket;  /* the host's end of the doorbell; owned */
    void *channel;
    struct watch *next;
};

/* Start to watch. The watch takes over `socket`. NULL: errno says why. */
struct watch *watch_begin(pid_t pid, int socket, void *channel);
/* No more wake-ups from here; frees the watch and closes its descriptors. */
void watch_end(struct watch *watch);
void watch_kill(const struct watch *watch);
/* Kill, and wait (without the GIL; a second at most) until the death is known. */
void watch_end_process(const struct watch *watch);

/* ---- session.c ---- */

/* What the host believes about one lane. */
struct lane_record {
    uint64_t thread; /* id of the Python thread that used it last; 0: nobody */
    uint32_t number; /* of the last call posted, 31 bits */
    bool busy;
    bool started; /* the worker has a thread for it */
    uint32_t used; /* when, in calls: the least recent is given away first */
};

typedef struct {
    PyObject_HEAD
    PyObject *weakrefs;
    bool closed;
    bool ended; /* we have killed the worker; the watcher may not know yet */
    unsigned generation; /* of this process; a fork starts a new one */
    bool doorbell;       /* the worker cannot be woken through memory */
    uint32_t spin_ns;
    uint64_t timeout_ns; /* 0: none */
    void *channel;       /* NULL: in this process */
    uint64_t size;
    uint64_t base; /* the worker's address of the channel */
    int memory;    /* descriptor of the channel, or -1 */
    struct watch *watch;
    struct arena arena;
    uint32_t running; /* calls in this process that have not returned */
    uint32_t recent;
    uint32_t waiting;            /* threads that want a lane */
    _Atomic uint32_t lanes_freed; /* futex for them */
    uint64_t serial; /* no two sessions have the same */
    uint32_t clock;
    struct lane_record lanes[CHANNEL_LANES];
} Session;

extern PyTypeObject *session_type;
extern PyType_Spec session_spec;
extern unsigned process_generation;

static inline bool session_usable(const Session *session)
{
    if (session->closed || session->ended)
        return false;
    if (!session->channel)
        return true; /* also in a fork: the library is in the child as well */
    return session->generation == process_generation && session->watch &&
           !atomic_load_explicit(&session->watch->dead, memory_order_relaxed);
}

/* The lane of the calling thread; waits for one if all are taken. The GIL is held
 * on entry and on return. NULL with an exception if the session ended meanwhile. */
struct lane_record *session_lane(Session *session);
void session_release(Session *session, struct lane_record *lane);
/* errno and GetLastError() of the calling thread's last call of this session. */
void session_keep_errors(const Session *session, int32_t error_number, uint32_t last_error);

/* Raise what a call on an unusable session raises. */
void session_raise(Session *session, PyObject *function);

/* ---- wait.c ---- */

enum outcome { REPLIED, DIED, EXPIRED, INTERRUPTED, VIOLATED };

struct pending {
    struct ferry_frame *lane;
    uint32_t before, after; /* lawful values of the reply word, PARKED aside */
    uint64_t deadline;      /* CLOCK_MONOTONIC ns, 0: none */
    bool spin;  /* the worker is looking, on another processor */
    bool cold;  /* it was asleep, and wakes on ours */
    uint32_t cpu;
};

/* Post the lane's next request: the bytes of `frame` before `end`. */
struct pending post(Session *session, struct lane_record *record, const struct ferry_frame *frame,
                    size_t end);
/* Whether a hot worker answers within a microsecond: then the GIL can be kept, for
 * letting go of it and taking it back would cost as much as the answer. */
bool answered_at_once(const struct pending *pending);
/* Without the GIL. May be called again after INTERRUPTED. */
enum outcome await_reply(const Session *session, struct pending *pending);
void futex_wait_private(_Atomic uint32_t *word, uint32_t value);
void futex_wake_private(_Atomic uint32_t *word, int count);

/* ---- memory.c ---- */

typedef struct {
    PyObject_HEAD
    Session *session;
    PyObject *type; /* the pointer type it is passed as, or None: any */
    char *data;     /* NULL once freed */
    uint64_t offset; /* in the channel; unused in-process */
    Py_ssize_t size;
    Py_ssize_t exports; /* views and calls that use it */
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

/* ---- function.c, pack.c, unpack.c ---- */

enum kind {
    KIND_VOID,
    KIND_SIGNED, /* these two first: pack() tells them from the rest */
    KIND_UNSIGNED,
    KIND_BOOL,
    KIND_FLOAT,
    KIND_X87,     /* a floating-point result on the x87 stack */
    KIND_POINTER, /* argument or result */
    KIND_STRING,  /* a result: const char *, decoded here when in-process */
    KIND_COUNT,
};

struct argument {
    uint8_t kind;
    uint8_t size;         /* bytes of the C type */
    uint8_t width;        /* bytes written to the frame, extended from size */
    bool character;       /* char: a bytes of length 1 is a value too */
    bool readonly;        /* pointer to const */
    bool text;            /* pointer to char or wchar_t: str is a value */
    char element;         /* pointee: 'i', 'u', 'f', or 0 for anything */
    uint8_t element_size; /* bytes of the pointee; 1 for void */
    uint16_t offset;      /* in the frame */
    PyObject *type;       /* pointers: the type's name, interned */
};

typedef struct {
    PyObject_VAR_HEAD
    vectorcallfunc vectorcall;
    Session *session;
    uint64_t address;
    PyObject *name;
    PyObject *signature; /* what the declaration was made of; Python's affair */
    PyObject *hook;      /* makes a result of an address, or None */
    PyObject *encoding;  /* of strings; None: bytes */
    bool keep_gil;
    bool service; /* one of ours: errno stays that of the library's last call */
    uint8_t result_kind, result_size;
    uint16_t result_offset;
    uint16_t vector_count, stack_bytes;
    uint16_t frame_end; /* where in the frame the arguments end */
    uint16_t pointers;  /* how many arguments are pointers */
    struct argument arguments[];
} Function;

extern PyTypeObject *function_type;
extern PyType_Spec function_spec;

/* What one pointer argument holds until the call is over. */
struct loan {
    Py_buffer view; /* obj NULL: none */
    PyObject *kept; /* a new reference, or NULL */
    Buffer *buffer; /* in use, or NULL */
    uint64_t start, size; /* arena bytes to give back; size 0: none */
    bool copy_back;
};

/* Write one argument into the frame. A pointer may take a new loan. On failure an
 * exception is set. */
bool pack(Function *function, Py_ssize_t index, PyObject *value, struct ferry_frame *frame,
          struct loan *loans, uint32_t *count);
/* The result as a new reference. */
PyObject *unpack(Function *function, const struct ferry_frame *frame);
void settle(Session *session, struct loan *loans, uint32_t count, bool copy_back);

/* ---- module.c ---- */

enum hook {
    HOOK_ARGUMENT, /* (function, index, value, code): raise */
    HOOK_COUNT_OF, /* (function, given): raise */
    HOOK_ENDED,    /* (session, function or None, code): raise */
    HOOK_ARENA,    /* (session, size): raise */
    HOOKS,
};

/* Call a hook, which raises. The format is Py_BuildValue's, in parentheses. */
void raise_by(enum hook hook, const char *format, ...);

#endif
