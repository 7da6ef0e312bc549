/* Supervision: what a worker's filter hands to us (supervise.c), what the call is about
 * (act.c), and what learning has seen (notices.c). No Python in any of them. */
#ifndef FERRY_SUPERVISE_H
#define FERRY_SUPERVISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "confine.h"

#define ACT_PATH 4096u /* PATH_MAX */
#define ACT_ADDRESS 128u /* struct sockaddr_storage */
#define ARGUMENTS 6u

/* One system call of a worker: numbers that the kernel copied, and what we read of the
 * worker's memory, once. */
struct act {
    uint32_t arch, nr;
    uint64_t arguments[ARGUMENTS], instruction;
    pid_t thread; /* as we number it */
    uint32_t phase;
    uint32_t access; /* that it asks for */
    uint32_t path_count;
    char paths[2][ACT_PATH]; /* absolute and normalised */
    uint32_t address_size;
    unsigned char address[ACT_ADDRESS];
};

/* act.c */

/* Read what the row says that the call has. 0, or the errno that the kernel would give it,
 * or ESRCH: the worker's memory cannot be read. `shown`: its number in its /proc. */
int act_read(struct act *act, const struct confine_row *row, pid_t shown);

/* notices.c */

struct notice {
    uint32_t arch, nr, access, phase;
    uint64_t arguments[ARGUMENTS]; /* of the first time */
    uint32_t hash, count;
    uint32_t path, path_size; /* in texts; size 0: none */
    uint32_t address, address_size;
    uint32_t distinct;
};

struct notices {
    struct notice *all;
    uint32_t *slots; /* by hash: an index plus one, or 0 */
    char *texts;
    uint32_t count, text_size, lost;
};

void notices_add(struct notices *notices, const struct act *act, const struct confine_row *row);
void notices_clear(struct notices *notices);

/* supervise.c */

struct violation {
    bool happened;
    int path; /* index of the one that is forbidden, or -1 */
    struct act act;
};

struct supervision;

/* Supervise a child of ours. Takes over `listener`, also if it fails: then NULL, with errno
 * or, if `wrong` was set, a policy that is none. */
struct supervision *supervise_begin(pid_t pid, int listener, const void *policy, size_t size,
                                    const char **wrong);
/* The session lets go; supervision goes on until the worker is gone. */
void supervise_end(struct supervision *supervision);
void supervise_move_on(struct supervision *supervision, uint32_t phase);
uint32_t supervise_phase(const struct supervision *supervision);
/* Between these two nothing changes. */
const struct violation *supervise_look(struct supervision *supervision,
                                       const struct notices **notices);
void supervise_looked(struct supervision *supervision);

#endif
