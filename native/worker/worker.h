/* The worker: the small program, built for the library's own ABI, that hosts it.
 *
 * It maps the channel, runs one thread per lane in use, calls what it is told to
 * call, and passes on what the library calls back. It has no protocol beyond that:
 * opening a library, finding a symbol and copying memory are ordinary C functions
 * (services.c) whose addresses it publishes, and the host calls them by frame like
 * everything else.
 *
 * posix.c (with linux.c or macos.c) and windows.c implement the platform_ functions
 * below, fault_posix.c and fault_windows.c what writes the record of a fault; main.c,
 * lane.c, callback.c, services.c and fault.c are common and use no C library
 * function. (The Windows worker is linked without one: a DLL brings its own, and which
 * one is the DLL's affair.)
 */
#ifndef FERRY_WORKER_H
#define FERRY_WORKER_H

#include <stdbool.h>

#include "channel.h"

extern struct ferry_header *channel; /* the mapping, once worker_start has it */

/* main.c: check the channel, publish the services, run lane 0 on this thread
 * and the doorbell on another. Returns only on failure, with an exit code. */
int worker_run(void *mapping);

/* ---- fault.c: the record of how the process ends ---- */

/* End the process for a reason of our own, CHANNEL_FAULT_..., and tell the host. */
_Noreturn void worker_fault(uint32_t reason, uint64_t detail);

/* The calling thread is the one that writes the record: false if it was already, and what
 * it does for that has faulted. Does not return if it is another thread: the process ends. */
bool fault_begin(enum ferry_fault_kind kind, uint32_t code);

/* The host may read it. */
void fault_publish(void);

/* ---- lane.c ---- */

struct lane {
    struct ferry_frame *frames;
    uint32_t index;
    uint32_t depth; /* of the call that runs, or ran last */
    uint32_t seen;  /* the last request, never with its parked bit */
    bool hot;
    uint32_t streak;  /* turns in a row that were short and close */
    uint32_t misses;
    uint64_t began;   /* when the last request came, ... */
    uint64_t replied; /* ... and the last handover, if the lane is cold */
};

void lane_begin(struct lane *lane, uint32_t index);
/* Wait for the host's next request, and give it. */
uint32_t lane_await(struct lane *lane);
/* Call what frames[depth] says. */
void lane_call(struct lane *lane, uint32_t depth);
/* Tell the host that frames[depth] has a result, or (CHANNEL_BACK) calls back. */
void lane_hand_over(struct lane *lane, uint32_t depth, uint32_t back);
/* Serve one lane until the process ends. */
void lane_run(uint32_t index);

/* callback.c: the host is gone. A callback that comes now ends the process, as do those
 * that wait for an answer on threads which a library's destructor might wait for. */
void callbacks_leave(void);

/* services.c */
uint64_t service_address(enum ferry_service service);

/* ---- the platform ---- */

/* Read one byte of the doorbell, the socket shared with the host: the number of
 * a lane to start or to wake. Negative when the host has gone. */
int platform_doorbell(void);

/* Start a thread that runs `body(argument)`. False if the system refuses. */
bool platform_thread(void (*body)(uint32_t), uint32_t argument);

/* Sleep until woken, unless *word is no longer `value`. May wake for nothing. */
void platform_park(_Atomic uint32_t *word, uint32_t value);

/* Wake this process's own thread that is parked on `word`, if the host cannot. */
void platform_unpark(_Atomic uint32_t *word);

/* Wake the host's thread that is parked on the lane's reply word. */
void platform_wake_host(uint32_t index, _Atomic uint32_t *word);

/* About to park: move the calling thread to processor `cpu`, the host's. It may be
 * bound to it until platform_woken. */
void platform_follow(uint32_t cpu);
void platform_woken(void);

/* Move it to any other processor. False if it may use no other. */
bool platform_avoid(uint32_t cpu);

/* Monotonic nanoseconds. */
uint64_t platform_now(void);

/* ferry_call with this thread's errno cleared before and stored in the frame after.
 * GetLastError is only kept from call to call: Windows programs ask for it by a call. */
void platform_call(struct ferry_frame *frame);

/* The library's error numbers, kept while we work on its thread. */
struct errors {
    int error_number;
    uint32_t last_error;
};
void platform_save_errors(struct errors *errors);
void platform_restore_errors(const struct errors *errors);

/* The lane whose call runs on this thread; NULL: none. Asked for by a process that the
 * library has forked, it ends that: it has no host. */
struct lane *platform_lane(void);
void platform_set_lane(struct lane *lane);

/* End the process in good order: libraries' destructors run. */
_Noreturn void platform_quit(int code);

/* End it at once. */
_Noreturn void platform_end(int code);

/* The system's number of the calling thread; never 0. */
uint32_t platform_thread_number(void);

/* From now on what ends the process is recorded. */
void platform_catch_faults(void);
/* Give the calling thread a stack to do that on. */
void platform_prepare_thread(void);

/* Services that differ by platform. platform_open gives NULL and the loader's
 * message (always terminated) on failure; platform_symbol NULL. */
void *platform_open(const char *path, char *message, uint32_t size);
void *platform_symbol(void *library, const char *name);
int platform_errno_of(const char *library);

#endif
