/* What posix.c asks of linux.c and macos.c, besides the platform_ functions there. */
#ifndef FERRY_POSIX_H
#define FERRY_POSIX_H

#include <stdint.h>

/* Where the instruction is that a signal handler's third argument tells of. */
uint64_t posix_program_counter(const void *context);

/* Send the calling thread, and no other, a signal. */
void posix_signal_this_thread(int number);

#endif
