/* The worker: the small program, built for the library's own ABI, that hosts it.
 *
 * It maps the channel, runs one thread per lane in use, and calls what it is
 * told to call. It has no protocol beyond that: opening a library, finding a
 * symbol and copying memory are ordinary C functions (services.c) whose
 * addresses it publishes, and the host calls them by frame like everything else.
 *
 * posix.c and windows.c implement the platform_ functions below; main.c, lane.c
 * and services.c are common and use no C library function. (The Windows worker
 * is linked without one: a DLL brings its own, and which one is the DLL's affair.)
 */
#ifndef FERRY_WORKER_H
#define FERRY_WORKER_H

#include <stdbool.h>

#include "channel.h"

extern struct ferry_header *channel; /* the mapping, once worker_start has it */

/* main.c: check the channel, publish the services, run lane 0 on this thread
 * and the doorbell on another. Returns only on failure, with an exit code. */
int worker_run(void *mapping);

/* lane.c: serve one lane until the process ends. */
void lane_run(uint32_t index);

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

/* End the process in good order: libraries' destructors run. */
_Noreturn void platform_quit(int code);

/* Give the calling thread a stack for its fault handler. */
void platform_prepare_thread(void);

/* Services that differ by platform. platform_open gives NULL and the loader's
 * message (always terminated) on failure; platform_symbol NULL. */
void *platform_open(const char *path, char *message, uint32_t size);
void *platform_symbol(void *library, const char *name);
int platform_errno_of(const char *library);

#endif
