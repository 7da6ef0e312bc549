/* Confinement: what a plan says (confine.h), done by the child.
 *
 * All of this runs in a process that shares our memory, and is one of many threads as far as
 * the C library knows: only raw system calls and its own stack, no malloc, no locks, no errno.
 * The plan was looked through before (plan_check.c). */
#define _GNU_SOURCE
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

/* Newer than some headers we build with: include/uapi/linux/seccomp.h (4.17, 5.0),
 * prctl.h (4.3), securebits.h, landlock.h. */
#ifndef SECCOMP_SET_MODE_FILTER
#define SECCOMP_SET_MODE_FILTER 1
#endif
#ifndef PR_CAP_AMBIENT
#define PR_CAP_AMBIENT 47
#define PR_CAP_AMBIENT_CLEAR_ALL 4
#endif
#define RULE_PATH_BENEATH 1
#define RULE_NET_PORT 2
/* Each of NOROOT, NO_SETUID_FIXUP, not KEEP_CAPS, NO_CAP_AMBIENT_RAISE (4.3), and locked. */
#define SECURE_ALL 0xefu
#define SECURE_OLD 0x2fu
/* EXECUTE, WRITE_FILE, READ_FILE, TRUNCATE, IOCTL_DEV: what a file has, too. */
#define LANDLOCK_FILE_RIGHTS 0xc007u


RAW static size_t length_of(const char *text)
{
    size_t length = 0;

    while (text[length])
        length++;
    return length;
}

RAW static uint32_t number_at(const unsigned char *at)
{
    return *(const uint32_t *)(const void *)at;
}

RAW static uint64_t wide_at(const unsigned char *at)
{
    return *(const uint64_t *)(const void *)at;
}

RAW static long open_file(const char *path, long flags, long mode)
{
    return raw(SYS_openat, AT_FDCWD, (long)path, flags | O_CLOEXEC, mode);
}

RAW static long write_file(const char *path, const char *text, size_t size)
{
    long file = open_file(path, O_WRONLY, 0), written;

    if (file < 0)
        return file;
    written = raw(SYS_write, file, (long)text, (long)size);
    raw(SYS_close, file);
    return written < 0 ? written : written == (long)size ? 0 : -EIO;
}

/* "inside outside 1", as user_namespaces(7) has it. */
RAW static long map_id(const char *path, uint32_t inside, uint32_t outside)
{
    char line[32], *at = line + sizeof line;
    const uint32_t numbers[3] = {1, outside, inside};

    for (int i = 0; i < 3; i++) {
        uint32_t left = numbers[i];

        if (i)
            *--at = ' ';
        do
            *--at = (char)('0' + left % 10);
        while (left /= 10);
    }
    return write_file(path, at, (size_t)(line + sizeof line - at));
}

RAW static long map_ids(const struct birth *birth, const unsigned char *payload)
{
    long done = write_file("/proc/self/setgroups", "deny", 4);

    if (done < 0 && done != -ENOENT) /* which kernels before 3.19 do not ask for */
        return done;
    done = map_id("/proc/self/uid_map", number_at(payload), birth->uid);
    return done < 0 ? done : map_id("/proc/self/gid_map", number_at(payload + 4), birth->gid);
}

RAW static long mount_over(const char *source, const char *target, const char *type,
                           unsigned long flags, const char *options)
{
    return raw(SYS_mount, (long)source, (long)target, (long)type, (long)flags, (long)options);
}

/* Add flags to a mount. In a user namespace those that it came with are locked, and a
 * remount must not leave one out; a mount's own (MS_*) have the values of statfs (ST_*). */
RAW static long remount(const char *path, unsigned long flags)
{
    const unsigned long locked = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
    struct statfs now;
    long done = raw(SYS_statfs, (long)path, (long)&now);

    if (done < 0)
        return done;
    flags |= (unsigned long)now.f_flags & locked;
    return mount_over("none", path, NULL, MS_REMOUNT | MS_BIND | flags, NULL);
}

/* mount_setattr(2), 5.12: the only way to change what is mounted below, too. The
 * attributes RDONLY, NOSUID, NODEV, NOEXEC have the values of MS_*. */
RAW static long set_attributes(const char *path, unsigned long flags)
{
    const uint64_t attributes[4] = {flags, 0, 0, 0};
    const long recursive = 0x8000; /* AT_RECURSIVE */

    return raw(NUMBER_MOUNT_SETATTR, AT_FDCWD, (long)path, recursive, (long)attributes,
               sizeof attributes);
}

/* Without mount_setattr nothing is taken along that is mounted below: it would keep its
 * own flags. Where the kernel refuses to leave it out (EINVAL) this refuses, too. */
RAW static long bind(const char *source, const char *target, unsigned long flags)
{
    bool whole = raw(NUMBER_MOUNT_SETATTR, -1, 0, 0, 0, 0) != -ENOSYS;
    long done = mount_over(source, target, NULL, whole ? MS_BIND | MS_REC : MS_BIND, NULL);

    if (done < 0)
        return done;
    return whole ? set_attributes(target, flags) : remount(target, flags);
}

RAW static long pivot(const char *root)
{
    long done = raw(SYS_chdir, (long)root);

    if (done < 0)
        return done;
    /* pivot_root(2): "." twice puts the old root on top of the new one */
    done = raw(SYS_pivot_root, (long)".", (long)".");
    if (done < 0)
        return done;
    done = raw(SYS_umount2, (long)".", MNT_DETACH);
    return done < 0 ? done : raw(SYS_chdir, (long)"/");
}

RAW static long touch(const char *path)
{
    long file = open_file(path, O_WRONLY | O_CREAT | O_NOFOLLOW, 0644);

    return file < 0 ? file : raw(SYS_close, file);
}

RAW static long copy(int descriptor, const char *path, long mode)
{
    long file = open_file(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
    int64_t from = 0; /* an offset of our own: the descriptor's is the host's */
    long sent = file;

    if (file < 0)
        return file;
    do
        sent = raw(SYS_sendfile, file, descriptor, (long)&from, 1L << 30);
    while (sent > 0);
    raw(SYS_close, file);
    return sent;
}

RAW static long drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    long done = raw(SYS_capget, (long)&header, (long)data);

    if (done < 0)
        return done;
    if (data[CAP_SETPCAP / 32].effective & 1u << CAP_SETPCAP % 32) {
        done = raw(SYS_prctl, PR_SET_SECUREBITS, SECURE_ALL);
        if (done == -EPERM)
            done = raw(SYS_prctl, PR_SET_SECUREBITS, SECURE_OLD);
        for (long i = 0; done == 0 && i < 64; i++)
            if ((done = raw(SYS_prctl, PR_CAPBSET_DROP, i)) == -EINVAL) {
                done = 0; /* that was the last one */
                break;
            }
        if (done < 0)
            return done;
    } /* else we are an ordinary user's: there is nothing that NO_NEW_PRIVS would not hold */
    done = raw(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL);
    if (done < 0 && done != -EINVAL)
        return done;
    for (int i = 0; i < 2; i++)
        data[i].effective = data[i].permitted = data[i].inheritable = 0;
    return raw(SYS_capset, (long)&header, (long)data);
}

RAW static long add_path(struct birth *birth, long rules, uint64_t access, const char *path)
{
    struct {
        uint64_t access;
        int32_t parent;
    } __attribute__((packed)) rule = {access, -1};
    struct stat status;
    long done = open_file(path, O_PATH, 0);

    birth->path = path;
    if (done < 0)
        return done;
    rule.parent = (int32_t)done;
    done = raw(SYS_fstat, rule.parent, (long)&status);
    if (done == 0 && !S_ISDIR(status.st_mode))
        rule.access &= LANDLOCK_FILE_RIGHTS;
    if (done == 0 && rule.access)
        done = raw(NUMBER_LANDLOCK_ADD_RULE, rules, RULE_PATH_BENEATH, (long)&rule);
    raw(SYS_close, rule.parent);
    if (done == 0)
        birth->path = NULL;
    return done;
}

RAW static long add_rules(struct birth *birth, long rules, const struct confine_landlock *head)
{
    const unsigned char *at = (const unsigned char *)(head + 1);
    long done = 0;

    for (uint32_t i = 0; done == 0 && i < head->path_count; i++) {
        uint32_t size = number_at(at + 8);

        done = add_path(birth, rules, wide_at(at), (const char *)at + 16);
        at += 16 + ALIGNED(size);
    }
    for (uint32_t i = 0; done == 0 && i < head->port_count; i++, at += 16)
        done = raw(NUMBER_LANDLOCK_ADD_RULE, rules, RULE_NET_PORT, (long)at);
    return done;
}

RAW static long landlock(struct birth *birth, const unsigned char *payload)
{
    const struct confine_landlock *head = (const void *)payload;
    /* A kernel refuses a structure that is larger than its own, even one that is zero. */
    size_t size = head->scoped ? 24 : head->handled_net ? 16 : 8;
    long rules = raw(NUMBER_LANDLOCK_CREATE_RULESET, (long)head, (long)size, 0), done;

    if (rules < 0)
        return rules;
    done = add_rules(birth, rules, head);
    if (done == 0)
        done = raw(NUMBER_LANDLOCK_RESTRICT_SELF, rules, 0);
    raw(SYS_close, rules);
    return done;
}

RAW static long filter(struct birth *birth, const unsigned char *payload)
{
    uint32_t flags = number_at(payload);
    struct sock_fprog program = {
        .len = (unsigned short)number_at(payload + 4),
        .filter = (struct sock_filter *)(uintptr_t)(payload + 8),
    };
    long done = raw(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, (long)&program);

    if (done == -ENOSYS && !flags) /* before 3.17 */
        done = raw(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, (long)&program);
    if (done >= 0 && flags & FILTER_NEW_LISTENER) {
        atomic_store(&birth->listener, (int32_t)done);
        atomic_store(&birth->alive, 2);
        raw(SYS_futex, (long)&birth->alive, FUTEX_WAKE, 1);
        done = 0;
    }
    return done;
}

/* Close descriptors from `first` to `last`. */
RAW static void close_all(long first, long last, long highest)
{
    if (first > last || raw(NUMBER_CLOSE_RANGE, first, last, 0) == 0)
        return;
    for (long i = first; i <= last && i <= highest; i++) /* before 5.9 */
        raw(SYS_close, i);
}

/* The highest descriptor there may be, for kernels that cannot close a range. */
RAW static long highest_descriptor(void)
{
    const uint64_t most = 1 << 20; /* fs.nr_open, unless an administrator changed it */
    uint64_t limit[2] = {most, most};

    raw(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)limit);
    return (long)(limit[0] < most ? limit[0] : most);
}

/* All are first copied out of each other's way, then to their places. */
RAW static long settle_descriptors(const struct birth *birth)
{
    struct descriptor *all = birth->descriptors;
    size_t count = birth->descriptor_count;
    long above = all[count - 1].theirs + 1, from = 0, highest = highest_descriptor();

    for (size_t i = 0; i < count; i++) {
        long copied = raw(SYS_fcntl, all[i].ours, F_DUPFD_CLOEXEC, above);

        if (copied < 0)
            return copied;
        all[i].ours = (int)copied;
    }
    for (size_t i = 0; i < count; i++) {
        long done = raw(SYS_dup3, all[i].ours, all[i].theirs, 0);

        if (done < 0)
            return done;
        close_all(from, all[i].theirs - 1, highest);
        from = all[i].theirs + 1;
    }
    close_all(from, INT32_MAX, highest);
    return 0;
}

RAW static long take_step(struct birth *birth, uint32_t kind, const unsigned char *payload)
{
    const char *text = (const char *)payload + step_kinds[kind].fixed;
    const char *second = step_kinds[kind].texts == 2 ? text + length_of(text) + 1 : text;
    long done = 0;

    birth->path = step_kinds[kind].texts ? text : NULL;
    switch ((enum confine_step)kind) {
    case STEP_MAP_IDS:
        return map_ids(birth, payload);
    case STEP_PRIVATE_MOUNTS:
        return mount_over("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
    case STEP_TMPFS:
        return mount_over("tmpfs", text, "tmpfs", wide_at(payload), second);
    case STEP_MKDIR:
        done = raw(SYS_mkdirat, AT_FDCWD, (long)text, number_at(payload));
        return done == -EEXIST ? 0 : done;
    case STEP_TOUCH:
        return touch(text);
    case STEP_SYMLINK:
        birth->path = second;
        return raw(SYS_symlinkat, (long)text, AT_FDCWD, (long)second);
    case STEP_BIND:
        return bind(text, second, wide_at(payload));
    case STEP_PROC:
        return mount_over("proc", text, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, second);
    case STEP_PIVOT:
        return pivot(text);
    case STEP_COPY:
        return copy((int)number_at(payload), text, number_at(payload + 4));
    case STEP_READONLY:
        return remount(text, MS_RDONLY);
    case STEP_RLIMIT:
        return raw(SYS_prlimit64, 0, number_at(payload), (long)(payload + 8), 0);
    case STEP_NO_NEW_PRIVS:
        return raw(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    case STEP_DROP_CAPABILITIES:
        return drop_capabilities();
    case STEP_LANDLOCK:
        return landlock(birth, payload);
    case STEP_SECCOMP:
        return filter(birth, payload);
    case STEP_NAMESPACES: /* clone did */
    case STEP_END:
        break;
    }
    return 0;
}

RAW static void leave(struct birth *birth, long failure)
{
    birth->failure = (int32_t)-failure;
    for (;;)
        raw(SYS_exit_group, 127);
}

/* Handlers of ours must not run here, and execve leaves ignored signals ignored. */
RAW static void reset_signals(void)
{
    const uint64_t none = 0, standard[4] = {0}; /* struct kernel_sigaction: SIG_DFL */

    for (int i = 1; i <= 64; i++)
        raw(SYS_rt_sigaction, i, (long)standard, 0, sizeof none);
    raw(SYS_rt_sigprocmask, SIG_SETMASK, (long)&none, 0, sizeof none);
}

RAW static void settle(struct birth *birth, bool *settled)
{
    uint32_t stage = birth->stage;
    long done;

    if (*settled)
        return;
    *settled = true;
    /* Later than what changes its rights, which takes this back; earlier than a filter. */
    if (!birth->outlives)
        raw(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
    birth->stage = STAGE_DESCRIPTORS;
    done = settle_descriptors(birth);
    if (done < 0)
        leave(birth, done);
    birth->stage = stage;
}

RAW void birth_run(void *data)
{
    struct birth *birth = data;
    bool settled = false;
    long done;

    raw(SYS_setsid, 0);
    reset_signals();
    for (size_t at = 0; at < birth->plan_size;) {
        uint32_t kind = number_at(birth->plan + at), size = number_at(birth->plan + at + 4);

        birth->step++;
        birth->stage = kind;
        if (kind == STEP_RLIMIT || kind == STEP_SECCOMP)
            settle(birth, &settled);
        done = take_step(birth, kind, birth->plan + at + 8);
        if (done < 0)
            leave(birth, done);
        birth->path = NULL;
        at += 8 + ALIGNED(size);
    }
    settle(birth, &settled);
    birth->step = -1;
    birth->stage = STAGE_EXEC;
    birth->path = birth->arguments[0];
    leave(birth, raw(SYS_execve, (long)birth->arguments[0], (long)birth->arguments,
                     (long)birth->environment));
}
