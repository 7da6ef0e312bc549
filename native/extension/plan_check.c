/* A plan (confine.h), looked through before there is a child: its kinds of steps, and every
 * length once. What follows in confine.c relies on it. */
#define _GNU_SOURCE
#include "spawn.h"

#include <linux/filter.h>
#include <sched.h>
#include <string.h>

struct step {
    uint32_t kind, size;
};

struct path_rule {
    uint64_t access;
    uint32_t size, unused;
};

const struct step_kind step_kinds[STEP_END] = {
    [STEP_NAMESPACES] = {"NAMESPACES", 8, 0},
    [STEP_MAP_IDS] = {"MAP_IDS", 8, 0},
    [STEP_PRIVATE_MOUNTS] = {"PRIVATE_MOUNTS", 0, 0},
    [STEP_TMPFS] = {"TMPFS", 8, 2},
    [STEP_MKDIR] = {"MKDIR", 8, 1},
    [STEP_TOUCH] = {"TOUCH", 0, 1},
    [STEP_SYMLINK] = {"SYMLINK", 0, 2},
    [STEP_BIND] = {"BIND", 8, 2},
    [STEP_PROC] = {"PROC", 0, 2},
    [STEP_PIVOT] = {"PIVOT", 0, 1},
    [STEP_COPY] = {"COPY", 8, 1},
    [STEP_READONLY] = {"READONLY", 0, 1},
    [STEP_RLIMIT] = {"RLIMIT", 24, 0},
    [STEP_NO_NEW_PRIVS] = {"NO_NEW_PRIVS", 0, 0},
    [STEP_DROP_CAPABILITIES] = {"DROP_CAPABILITIES", 0, 0},
    [STEP_LANDLOCK] = {"LANDLOCK", sizeof(struct confine_landlock), 0},
    [STEP_SECCOMP] = {"SECCOMP", 8, 0},
};

const char *stage_name(uint32_t stage)
{
    static const char *const stages[] = {"CLONE", "DESCRIPTORS", "LISTENER", "EXEC"};

    return stage >= STAGE_CLONE && stage < STAGE_END ? stages[stage - STAGE_CLONE]
           : stage && stage < STEP_END               ? step_kinds[stage].name
                                                     : "?";
}

/* The text that begins at `at`; NULL if it does not end before `end`. */
static const char *text_end(const char *at, const char *end)
{
    const char *nul = at < end ? memchr(at, 0, (size_t)(end - at)) : NULL;

    return nul ? nul + 1 : NULL;
}

static const char *check_landlock(const unsigned char *payload, size_t size)
{
    struct confine_landlock head;
    size_t at = sizeof head;

    memcpy(&head, payload, sizeof head);
    for (uint32_t i = 0; i < head.path_count; i++) {
        struct path_rule rule;

        if (size - at < sizeof rule)
            return "a Landlock rule is cut off";
        memcpy(&rule, payload + at, sizeof rule);
        at += sizeof rule;
        if (rule.size == 0 || rule.size > size - at || ALIGNED(rule.size) > size - at ||
            payload[at + rule.size - 1])
            return "a Landlock rule's path is cut off";
        at += ALIGNED(rule.size);
    }
    return (size - at) / 16 == head.port_count && (size - at) % 16 == 0
               ? NULL
               : "the Landlock rules have another size";
}

static const char *check_filter(struct birth *birth, const unsigned char *payload, size_t size)
{
    uint32_t flags, count;

    memcpy(&flags, payload, 4);
    memcpy(&count, payload + 4, 4);
    if (count == 0 || count > BPF_MAXINSNS || size != 8 + count * sizeof(struct sock_filter))
        return "the filter has another size";
    birth->listens = flags & FILTER_NEW_LISTENER;
    return NULL;
}

static const char *check_step(struct birth *birth, const struct step *step,
                              const unsigned char *payload, bool first)
{
    const char *at = (const char *)payload, *end = at + step->size;

    if (!step->kind || step->kind >= STEP_END)
        return "there is no such kind of step";
    if (step->size < step_kinds[step->kind].fixed)
        return "the step is too short";
    at += step_kinds[step->kind].fixed;
    for (int i = 0; i < step_kinds[step->kind].texts; i++)
        if (!(at = text_end(at, end)))
            return "a text is cut off";
    if (step->kind == STEP_LANDLOCK)
        return check_landlock(payload, step->size);
    if (step->kind == STEP_SECCOMP)
        return check_filter(birth, payload, step->size);
    if (at != end)
        return "the step is too long";
    if (step->kind == STEP_NAMESPACES) {
        uint32_t flags;

        memcpy(&flags, payload, 4);
        if (!first || flags & ~(uint32_t)(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET |
                                          CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP))
            return "namespaces come first, and are CLONE_NEW*";
        birth->namespaces = flags;
    }
    return NULL;
}

const char *plan_check(struct birth *birth, int *number)
{
    const char *wrong = NULL;
    size_t at = 0;

    *number = 0;
    for (; !wrong && at < birth->plan_size; ++*number) {
        struct step step;

        if (birth->listens)
            return "a filter with a listener is the last step";
        if (birth->plan_size - at < sizeof step)
            return "the step is cut off";
        memcpy(&step, birth->plan + at, sizeof step);
        at += sizeof step;
        if (step.size > birth->plan_size - at || ALIGNED(step.size) > birth->plan_size - at)
            return "the step is cut off";
        wrong = check_step(birth, &step, birth->plan + at, *number == 0);
        if (wrong)
            return wrong;
        at += ALIGNED(step.size);
    }
    return NULL;
}
