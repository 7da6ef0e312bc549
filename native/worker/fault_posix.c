/* Signals that end the process, on Linux and macOS.
 *
 * The handler runs in the middle of anything, with the heap or the loader locked or
 * broken: it makes system calls, reads memory and writes to the channel, and nothing else.
 * It may run on a small stack (a Go runtime, which passes on what is not its own, brings
 * one of 32 KiB), and it does not return: where such a runtime is between, the faulting
 * instruction would come back to it, and from there to us, for ever.
 *
 * A thread needs a stack of its own for the handler if it has used up the other. Ours have
 * one. One that the library has made has none, unless the library sees to it: if that
 * overflows, the kernel ends the process with SIGSEGV, and there is no record. */
#define _GNU_SOURCE
#include "posix.h"
#include "worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
#define FATAL (sizeof fatal / sizeof *fatal)

/* The address sanitizer marks what lies between a function's variables, and takes the marks
 * back when it returns. These do not return, and the stack that they leave so may be used
 * by another process (vfork's parent); or they read somebody's stack as it is. */
#define UNMARKED __attribute__((no_sanitize_address))

static pid_t owner; /* not a child of it, however made: that has another */

UNMARKED _Noreturn static void die_of(int number)
{
    struct sigaction action = {.sa_handler = SIG_DFL};

    sigaction(number, &action, NULL);
    posix_signal_this_thread(number);
    _exit(CHANNEL_FAULT_EXIT); /* first in a pid namespace, we have ignored it */
}

/* What a signal's information says depends on who sent it; sigaction(2), "siginfo_t". */
static void keep_information(struct ferry_fault *fault, int number, const siginfo_t *info)
{
    fault->detail = (uint32_t)info->si_code;
    if (info->si_code <= 0) { /* a process did */
        fault->parameters[0] = (uint64_t)info->si_pid;
        fault->parameters[1] = info->si_uid;
        return;
    }
    fault->address = (uintptr_t)info->si_addr;
#ifdef si_syscall /* Linux */
    if (number == SIGSYS) {
        fault->parameters[0] = (uint32_t)info->si_syscall;
        fault->parameters[1] = info->si_arch;
    }
#else
    (void)number;
#endif
}

/* Word by word: memcpy would look at the marks. If it is not known where the stack ends, the
 * fault at its end comes back to the handler, which publishes what there is by then. */
UNMARKED static void keep_stack(struct ferry_fault_area *area, struct posix_range range)
{
    const volatile uint64_t *from = (const uint64_t *)(uintptr_t)(range.start & ~UINT64_C(7));
    uint64_t *to = (uint64_t *)area->stack;
    uint64_t words = (range.end - range.start) / 8;

    area->stack_base = (uintptr_t)from;
    for (uint64_t at = 0; at < words && at < FAULT_STACK / 8; at++) {
        to[at] = from[at];
        *(volatile uint32_t *)&area->stack_size = (uint32_t)(8 * (at + 1));
    }
}

/* The most important first: each step may be the last. */
UNMARKED static void record_fault(int number, siginfo_t *info, void *context)
{
    struct ferry_fault_area *area = channel_fault_area(channel);
    struct ferry_fault *fault = &channel->fault;
    struct posix_range stack;
    uint64_t pointer;

    /* From now on they come here, and at once, whatever the library has set. */
    platform_catch_faults();
    if (getpid() != owner)
        die_of(number); /* the channel is its parent's, and with vfork even our memory */
    if (fault_begin(FAULT_SIGNAL, (uint32_t)number)) {
        keep_information(fault, number, info);
        area->register_count = posix_registers(context, area->registers);
        fault->program_counter = area->registers[area->register_count - 1];
        pointer = area->registers[posix_stack_pointer];
        stack = posix_maps(area, pointer);
        if (!stack.end)
            stack = (struct posix_range){pointer, pointer + FAULT_STACK};
        keep_stack(area, stack);
    }
    fault_publish();
    die_of((int)fault->code); /* the first fault's; a reason is no signal, and just ends it */
}

UNMARKED void platform_catch_faults(void)
{
    struct sigaction action = {
        .sa_sigaction = record_fault,
        /* NODEFER: a fault while one is recorded comes to the handler as well */
        .sa_flags = (int)(SA_SIGINFO | SA_ONSTACK | SA_NODEFER),
    };
    sigset_t all;

    if (!owner)
        owner = getpid();
    sigfillset(&action.sa_mask);
    sigemptyset(&all);
    for (size_t i = 0; i < FATAL; i++) {
        sigdelset(&action.sa_mask, fatal[i]);
        sigaddset(&all, fatal[i]);
    }
    for (size_t i = 0; i < FATAL; i++)
        sigaction(fatal[i], &action, NULL);
    pthread_sigmask(SIG_UNBLOCK, &all, NULL);
}

void platform_prepare_thread(void)
{
    enum { SIZE = 64 * 1024 };
    stack_t stack = {.ss_size = SIZE, .ss_sp = malloc(SIZE)};
    sigset_t none;

    if (stack.ss_sp)
        sigaltstack(&stack, NULL);
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
}
