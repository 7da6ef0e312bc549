/* What an adversary knows of the channel, and does to it. It has the protocol's own headers,
 * so what it writes is nearly right: the word of a neighbour, a depth one too deep, a length
 * one too long. */
#ifndef ADVERSARY_H
#define ADVERSARY_H

#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "channel.h"
#include "map.h"

static char *channel;
static uint64_t channel_size;
static int bell = -1; /* the socket, if it is known */
static _Thread_local uint64_t random_state;

static uint64_t next(void) /* xorshift64 */
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static uint64_t below(uint64_t limit)
{
    return next() % limit;
}

static bool one_in(uint64_t times)
{
    return below(times) == 0;
}

/* Numbers that are wrong in the ways that matter: nearly right, and at the ends. */
static uint64_t odd_number(void)
{
    static const uint64_t ends[] = {0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, INT_MAX, 1ull << 31,
                                    UINT_MAX, 1ull << 32, LLONG_MAX, 1ull << 63, UINT64_MAX,
                                    CHANNEL_CALLBACKS, CHANNEL_ARENA_OFFSET, FRAME_SIZE};

    switch (below(4)) {
    case 0:
        return next();
    case 1:
        return below(16);
    default:
        return ends[below(sizeof ends / sizeof *ends)] + (one_in(3) ? below(3) - 1 : 0);
    }
}

static void rest(uint64_t microseconds)
{
    const struct timespec time = {.tv_sec = (time_t)(microseconds / 1000000),
                                  .tv_nsec = (long)(microseconds % 1000000 * 1000)};

    nanosleep(&time, NULL);
}

static struct ferry_frame *any_frame(void)
{
    uint32_t lane = one_in(3) ? (uint32_t)below(CHANNEL_LANES + CHANNEL_GUESTS)
                              : (uint32_t)below(3) + (one_in(3) ? CHANNEL_LANES : 0);

    return channel_lane(channel, lane) + (one_in(4) ? below(CHANNEL_DEPTH) : below(3));
}

static _Atomic uint32_t *any_word(void)
{
    struct ferry_frame *lane = channel_lane(channel, (uint32_t)(one_in(2) ? 0 : below(80)));

    return one_in(3) ? &lane->request : &lane->reply;
}

/* The text of /proc/self/maps; how long it is. */
static size_t own_maps(char *text, size_t room)
{
    int file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    ssize_t got = file < 0 ? 0 : read(file, text, room);

    if (file >= 0)
        close(file);
    return got > 0 ? (size_t)got : 0;
}

/* ---- what it writes ---- */

static void write_word(void)
{
    _Atomic uint32_t *word = any_word();
    uint32_t now = atomic_load(word);

    switch (below(6)) {
    case 0:
        now += 1u << CHANNEL_NUMBER_SHIFT;
        break;
    case 1:
        now -= 1u << CHANNEL_NUMBER_SHIFT;
        break;
    case 2:
        now ^= 1u << (CHANNEL_DEPTH_SHIFT + below(6));
        break;
    case 3:
        now ^= CHANNEL_BACK;
        break;
    case 4:
        now ^= CHANNEL_PARKED;
        break;
    default:
        now = (uint32_t)odd_number();
    }
    atomic_store(word, now);
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void write_cells(void)
{
    struct ferry_frame *frame = any_frame();

    frame->function = one_in(2) ? below(8) : odd_number();
    for (uint64_t i = below(8); i > 0; i--)
        frame->integer[below(8)] = odd_number();
    frame->result_integer[below(4)] = odd_number();
    frame->error_number = (int32_t)odd_number();
}

static void write_frame(void)
{
    char *frame = (char *)any_frame();
    uint64_t from = FRAME_FUNCTION + below(FRAME_SIZE - FRAME_FUNCTION);

    memset(frame + from, (int)next(), below(FRAME_SIZE - from) + 1);
}

static void write_header(void)
{
    uint64_t value = odd_number();

    memcpy(channel + below(CHANNEL_LANES_OFFSET - 8), &value, 8);
    value = odd_number();
    memcpy(channel + offsetof(struct ferry_header, base) + 8 * below(SERVICE_COUNT + 1), &value, 8);
}

/* What a crash leaves behind: sizes of what follows, addresses to unwind by, text to parse. */
static void write_fault(void)
{
    struct ferry_fault *fault = &((struct ferry_header *)(void *)channel)->fault;
    struct ferry_fault_area *area = (void *)(channel + CHANNEL_FAULT_OFFSET);

    fault->code = one_in(2) ? (uint32_t)below(40) : (uint32_t)odd_number();
    fault->address = odd_number();
    fault->program_counter = odd_number();
    fault->happened = (uint32_t)below(3);
    area->register_count = (uint32_t)odd_number();
    area->stack_size = (uint32_t)odd_number();
    area->stack_base = odd_number();
    area->maps_size = one_in(2) ? (uint32_t)below(4096) : (uint32_t)odd_number();
    area->frame_count = (uint32_t)odd_number();
    for (int i = 0; i < 16; i++)
        area->registers[i] = one_in(2) ? odd_number() : area->stack_base + below(4096);
    for (int i = 0; i < 16; i++)
        memcpy(area->stack + below(4096), &area->registers[i], 8);
    if (one_in(2) && (area->maps_size = (uint32_t)own_maps(area->maps, sizeof area->maps)))
        area->maps[below(area->maps_size)] = (char)next();
}

/* Everything between the header and the lanes, and the arena: descriptions of maps and of
 * callbacks, queues, frames of batches, whatever lies there now. */
static void write_anywhere(void)
{
    uint64_t start = one_in(3) ? 0 : CHANNEL_ARENA_OFFSET;
    uint64_t reach = channel_size - start > 1 << 16 && !one_in(3) ? 1 << 16 : channel_size - start;

    for (uint64_t i = below(32); i > 0; i--) {
        uint64_t value = odd_number();

        memcpy(channel + start + (below(reach - 8) & ~(uint64_t)3), &value, one_in(2) ? 4 : 8);
    }
}

/* Turn one value into another and back, as fast as this processor does. */
static void waver(void)
{
    _Atomic uint32_t *word = any_word();
    struct ferry_frame *frame = any_frame();
    uint64_t number = odd_number(), value = odd_number();
    uint32_t now = atomic_load(word);

    for (int i = 0; i < 5000; i++) {
        *(volatile uint64_t *)&frame->function ^= number;
        *(volatile uint64_t *)&frame->integer[0] ^= value;
        *(volatile uint64_t *)&frame->result_integer[0] ^= value;
        if (atomic_load(word) == now)
            atomic_store(word, now ^ CHANNEL_BACK);
        else
            atomic_store(word, now);
    }
}

static void ring_wrongly(void)
{
    unsigned char bytes[256];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)next();
    if (bell >= 0)
        send(bell, bytes, 1 + below(sizeof bytes), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void wake_wrongly(void)
{
    syscall(SYS_futex, any_word(), FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Who sleeps on one word is made to sleep on another, where nobody will wake him. */
static void requeue(void)
{
    syscall(SYS_futex, any_word(), FUTEX_REQUEUE, 0, INT_MAX, channel + CHANNEL_ARENA_OFFSET, 0);
}

static void (*const mutations[])(void) = {
    write_word, write_word, write_cells, write_cells, write_frame,  write_header, write_fault,
    write_anywhere, write_anywhere, waver, ring_wrongly, wake_wrongly, requeue,
};

static void mutate(void)
{
    mutations[below(sizeof mutations / sizeof *mutations)]();
}

/* ---- how it ends ---- */

/* It is an adversary of the host, not of the machine that the tests run on. */
static void end_with_host(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void leave_a_child(void)
{
    if (fork() != 0)
        _exit(0);
    for (int i = 0; i < 200; i++) { /* it has the memory, and goes on for a while */
        mutate();
        rest(100);
    }
    _exit(0);
}

static void end_somehow(void)
{
    switch (below(9)) {
    case 0:
        kill(getpid(), SIGSTOP);
        return;
    case 1:
        kill(getpid(), SIGKILL);
        return;
    case 2:
        abort();
    case 3:
        _exit((int)next());
    case 4:
        leave_a_child();
        return;
    case 5:
        shutdown(bell, SHUT_RDWR);
        return;
    case 6:
        close(bell);
        return;
    case 7:
        munmap(channel, channel_size);
        return;
    default:
        *(volatile int *)16 = 1;
    }
}

#endif
