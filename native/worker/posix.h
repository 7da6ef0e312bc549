/* What posix.c, fault_posix.c, and linux.c or macos.c ask of each other, besides the
 * platform_ functions there. */
#ifndef FERRY_POSIX_H
#define FERRY_POSIX_H

#include <stdint.h>

#include "channel.h"

/* ---- linux.c, macos.c ---- */

/* The registers that a signal handler's third argument tells of, in DWARF's order for
 * this CPU and then the pc; how many there are. */
uint32_t posix_registers(const void *context, uint64_t *registers);
/* Which of them is the stack pointer. */
extern const uint32_t posix_stack_pointer;

/* Write what is mapped where to the area, and give the readable memory that begins at the
 * stack pointer or, if that is in the gap below a stack that has overflown, just above. */
struct posix_range {
    uint64_t start, end; /* both 0: it is not known */
};
struct posix_range posix_maps(struct ferry_fault_area *area, uint64_t stack_pointer);

/* Send the calling thread, and no other, a signal. */
void posix_signal_this_thread(int number);

#endif
