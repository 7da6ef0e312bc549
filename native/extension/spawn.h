/* A worker's birth: what spawn.c (our side) and confine.c (the child's) share. */
#ifndef FERRY_SPAWN_H
#define FERRY_SPAWN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/seccomp.h>

#include "confine.h"
#include "raw.h"

/* Newer than the glibc we build for; include/uapi/linux/sched.h, .../unistd.h (the numbers
 * are the same on every CPU), .../seccomp.h (5.0, 5.5). */
#define CLONE_WITH_PIDFD 0x00001000u
#define NUMBER_PIDFD_SEND_SIGNAL 424
#define NUMBER_PIDFD_OPEN 434
#define NUMBER_CLOSE_RANGE 436
#define NUMBER_PIDFD_GETFD 438
#define NUMBER_MOUNT_SETATTR 442
#define NUMBER_LANDLOCK_CREATE_RULESET 444
#define NUMBER_LANDLOCK_ADD_RULE 445
#define NUMBER_LANDLOCK_RESTRICT_SELF 446
#define FILTER_NEW_LISTENER 8u

#ifndef SECCOMP_USER_NOTIF_FLAG_CONTINUE
#define SECCOMP_USER_NOTIF_FLAG_CONTINUE 1u
#endif

/* The kernel's structures may be longer than those we were built with. */
#define NOTIFICATION_BYTES 512u

union notification {
    struct seccomp_notif call;
    char room[NOTIFICATION_BYTES];
};

union notification_answer {
    struct seccomp_notif_resp answer;
    char room[NOTIFICATION_BYTES];
};

/* What a failure was about, if not a step of the plan. */
enum birth_stage { STAGE_CLONE = 100, STAGE_DESCRIPTORS, STAGE_LISTENER, STAGE_EXEC, STAGE_END };

struct descriptor {
    int theirs, ours;
};

/* One spawn. The child reads what we prepared and writes its report; it is in the same
 * memory, and `alive` is the last thing the kernel writes for it. */
struct birth {
    _Atomic uint32_t alive;   /* 1; 2: look again; 0: it has executed, or is gone (futex) */
    _Atomic int32_t listener; /* its number in the child, or -1 */

    /* the report */
    int32_t failure; /* errno, or 0 */
    uint32_t stage;  /* a step's kind, or enum birth_stage */
    int32_t step;    /* index, or -1 */
    const char *path;

    /* prepared */
    char *const *arguments, *const *environment;
    struct descriptor *descriptors; /* ascending by theirs */
    size_t descriptor_count;
    const unsigned char *plan;
    size_t plan_size;
    unsigned long namespaces; /* CLONE_NEW* */
    bool listens;             /* the plan ends in a filter with a listener */
    bool outlives;            /* the thread that it is a child of may end before us */
    uint32_t uid, gid;        /* ours */
};

#define ALIGNED(size) (((size) + 7) & ~(size_t)7)

/* plan_check.c */

/* What a kind of step has: how many bytes before its texts, and how many of those. */
struct step_kind {
    const char *name;
    uint8_t fixed, texts;
};

extern const struct step_kind step_kinds[STEP_END];

/* Look through a plan. NULL if it is sound, else what is not; `step` is where. */
const char *plan_check(struct birth *birth, int *step);
/* What a step, or a stage of the birth, is called. */
const char *stage_name(uint32_t stage);
/* confine.c */

/* The child: makes of itself what the plan says, and executes. Never returns. */
void birth_run(void *birth);

/* nursery.c */

#define NURSERY_STRANGER -1

/* Have it done on the thread that workers are children of, which blocks all signals, and
 * wait. 0; or why there is no such thread; or NURSERY_STRANGER: it is confined in another
 * way than the calling one. */
int nursery_do(void (*body)(void *), void *data);

/* spawn.c */

/* Try a plan. 1: all of its steps were done; 0: not; -1 with an exception. */
int spawn_try(const void *plan, size_t size);

#endif
