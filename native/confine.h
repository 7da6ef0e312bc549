/* Confinement: what Python tells the extension to do to a worker, as bytes.
 *
 * Two documents, both made by libferry.sandbox and read by nothing but the extension. All
 * numbers are little-endian and of the host's own CPU; every part begins at a multiple of 8.
 *
 * THE PLAN is what the child does to itself between its birth and its execve, in this
 * order and no other. It is a list of steps:
 *
 *     u32 kind, u32 size; `size` bytes of payload; zeros to the next multiple of 8
 *
 * A *text* below is bytes that end with a NUL; texts stand one after the other without
 * padding. A plan is checked as a whole before there is a child (ValueError). A step that
 * fails ends the child and is told by its index, kind and errno (_core.SpawnError).
 *
 *     NAMESPACES        u32 flags (CLONE_NEW*), u32 0. First or not at all; done by clone.
 *     MAP_IDS           u32 uid, u32 gid: what our own are called in the user namespace.
 *                       Give our own numbers. The right to mount comes with the namespace,
 *                       not with being 0 in it, and execve leaves a process that is not 0
 *                       without capabilities even before DROP_CAPABILITIES.
 *     PRIVATE_MOUNTS    nothing. No mount made here is seen elsewhere, or the other way.
 *     TMPFS             u64 flags (MS_*), texts target, options ("size=64m,mode=755")
 *     MKDIR             u32 mode, u32 0, text path. One that exists is fine.
 *     TOUCH             text path: an empty file, to bind another to. One that exists is fine.
 *     SYMLINK           texts target, path
 *     BIND              u64 flags, texts source, target. Flags are MS_RDONLY, MS_NOSUID,
 *                       MS_NODEV, MS_NOEXEC, and hold for what is mounted below it, too.
 *     PROC              texts target, options ("", "subset=pid")
 *     PIVOT             text new root, a mount point. The old one is gone, "/" is the cwd.
 *     COPY              u32 descriptor (ours), u32 mode, text path: write its bytes there
 *     READONLY          text path of a mount point
 *     RLIMIT            u32 resource, u32 0, u64 soft, u64 hard
 *     NO_NEW_PRIVS      nothing
 *     DROP_CAPABILITIES nothing: of every set, and nothing gives them back (securebits)
 *     LANDLOCK          struct confine_landlock, then its rules. Masks must be of rights
 *                       that the kernel's ABI has. Rights that only directories have are
 *                       left out for a path that is none.
 *         path rule     u64 access, u32 size of text, u32 0; text; zeros to a multiple of 8
 *         port rule     u64 access, u64 port
 *     SECCOMP           u32 flags (SECCOMP_FILTER_FLAG_*), u32 count, then struct
 *                       sock_filter[count]. With NEW_LISTENER it is the last step, and the
 *                       program must answer execve with USER_NOTIF and let futex and
 *                       exit_group pass: that is what the child still calls.
 *
 * Descriptors get their numbers in the child, and all others are closed, before the first
 * step of RLIMIT or SECCOMP (else at the end): so COPY stands before those, and a limit
 * on open files has to leave room for one or two more.
 *
 * THE POLICY is how the extension answers what a seccomp filter hands to it (USER_NOTIF):
 *
 *     struct confine_policy, struct confine_row[row_count], then the prefixes of the phases
 *     starting, loading and serving, one list after the other, each entry
 *     u32 access, u32 size of text; text; zeros to the next multiple of 8
 *
 * The first row of the call's arch and number holds. A path of a row is one of /proc/self
 * where the worker named its own number. A call without a row, or not allowed by
 * it, is a violation: it is recorded, and the worker is killed. Paths are absolute, as the
 * worker sees them, without a slash at the end ("/" alone is everything): a prefix is
 * itself and what is below it. They are compared without following links: it is the mount
 * namespace and Landlock that keep a path out of reach, and this here that names the act. */
#ifndef FERRY_CONFINE_H
#define FERRY_CONFINE_H

#include <stdint.h>

enum confine_step {
    STEP_NAMESPACES = 1,
    STEP_MAP_IDS,
    STEP_PRIVATE_MOUNTS,
    STEP_TMPFS,
    STEP_MKDIR,
    STEP_TOUCH,
    STEP_SYMLINK,
    STEP_BIND,
    STEP_PROC,
    STEP_PIVOT,
    STEP_COPY,
    STEP_READONLY,
    STEP_RLIMIT,
    STEP_NO_NEW_PRIVS,
    STEP_DROP_CAPABILITIES,
    STEP_LANDLOCK,
    STEP_SECCOMP,
    STEP_END,
};

struct confine_landlock {
    uint64_t handled_fs, handled_net, scoped; /* as in struct landlock_ruleset_attr */
    uint32_t path_count, port_count;
};

enum confine_phase { PHASE_STARTING, PHASE_LOADING, PHASE_SERVING, PHASES };

/* What is done to a path. */
#define ACCESS_READ 1u
#define ACCESS_WRITE 2u
#define ACCESS_CREATE 4u /* make, rename or remove a name; also of open(O_CREAT) */
#define ACCESS_EXECUTE 8u

enum confine_kind {
    ROW_EXEC_ONCE = 1,    /* allowed in phase starting */
    ROW_PATH,             /* allowed if all its paths lie under prefixes with that access */
    ROW_LOADING_ONLY,     /* allowed before phase serving, or without PROT_EXEC in `flags` */
    ROW_SELF_SIGNAL,      /* allowed if argument `target` is the worker itself */
    ROW_CONTINUE_AND_LOG, /* allowed, and told by session.notices() */
    ROW_ALLOW,            /* allowed in phases of `phases` (bit 1 << phase); 0: never, but what
                           * it was about is told */
    ROW_PORT,             /* allowed if the address is an Internet one with the port of this row, or
                           * of another row of the same call; it is Landlock that enforces it */
    ROW_END,
};

#define ROW_ANY UINT32_MAX /* as `nr`: every call of that arch */
#define ROW_NONE 0xffu     /* as the index of an argument: the call has none such */

/* How the argument `flags` says what is done. */
enum confine_flags { FLAGS_OPEN = 1, FLAGS_OPEN_HOW, FLAGS_PROTECTION };

struct confine_row {
    uint32_t arch; /* AUDIT_ARCH_* */
    uint32_t nr;
    uint8_t kind;
    uint8_t access;     /* ACCESS_* wanted, beside what `flags` asks for */
    uint8_t path;       /* index of the argument that is a path ... */
    uint8_t dirfd;      /* ... and of the descriptor that it is relative to; none: the cwd */
    uint8_t path2;      /* the same for a second path */
    uint8_t dirfd2;
    uint8_t flags;      /* index of open flags, a struct open_how or a protection */
    uint8_t flags_are;  /* enum confine_flags, or 0 */
    uint8_t at_flags;   /* index of AT_* flags: with AT_EMPTY_PATH, "" is a descriptor */
    uint8_t address;    /* index of a struct sockaddr; the next argument is its length */
    uint8_t target;     /* index of a process's or thread's number */
    uint8_t distinct;   /* of CONTINUE_AND_LOG: arguments (bits 1 << index) that make another
                         * notice of it */
    uint8_t phases;     /* of ALLOW */
    uint8_t unused;
    uint16_t port;      /* of PORT */
};

struct confine_policy {
    uint32_t row_count;
    uint32_t prefix_count[PHASES];
};

_Static_assert(sizeof(struct confine_landlock) == 32, "");
_Static_assert(sizeof(struct confine_row) == 24, "");
_Static_assert(sizeof(struct confine_policy) == 16, "");

#endif
