/* What this kernel lets us confine with: found out by doing it to a child, once. */
#define _GNU_SOURCE
#include "extension.h"
#include "spawn.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than some headers we build with: include/uapi/linux/seccomp.h (5.0). */
#define RET_USER_NOTIF 0x7fc00000u

struct probe_namespaces {
    uint32_t kind, size, flags, zero;
    uint32_t map_kind, map_size, uid, gid;
    uint32_t mounts_kind, mounts_size;
};

struct probe_filter {
    uint32_t privileges_kind, privileges_size;
    uint32_t kind, size, flags, count;
    struct sock_filter program[4];
};

static int try_filter(uint32_t flags, uint32_t action)
{
    const struct probe_filter plan = {
        STEP_NO_NEW_PRIVS, 0, STEP_SECCOMP, 8 + sizeof plan.program, flags, 4,
        {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execve, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, action),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        },
    };

    return spawn_try(&plan, sizeof plan);
}

/* Whether a limit of the kernel's, in a file, is not 0. True if there is no such file. */
static bool may_have(const char *limit)
{
    char text[2] = "1";
    int file = open(limit, O_RDONLY | O_CLOEXEC);

    if (file >= 0) {
        if (read(file, text, 1) != 1)
            text[0] = '1';
        close(file);
    }
    return text[0] != '0';
}

/* Whether a child gets these together with a user namespace; -1 with an exception. */
static int try_namespaces(uint32_t flags)
{
    const struct probe_namespaces plan = {
        STEP_NAMESPACES, 8, CLONE_NEWUSER | flags, 0, STEP_MAP_IDS, 8, geteuid(), getegid(),
        STEP_PRIVATE_MOUNTS, 0,
    };

    return spawn_try(&plan, flags & CLONE_NEWNS ? sizeof plan
                                                : offsetof(struct probe_namespaces, mounts_kind));
}

/* The names of the namespaces that we get. All at once, for it is all or none mostly. A
 * network namespace takes the kernel tens of milliseconds to take down, and a worker's own
 * would wait for that: it is not tried where the kernel says that there may be some. */
static PyObject *namespaces_known(void)
{
    static const struct {
        const char *name;
        uint32_t flag;
    } all[] = {
        {"user", 0},          {"mount", CLONE_NEWNS}, {"pid", CLONE_NEWPID},
        {"net", CLONE_NEWNET}, {"ipc", CLONE_NEWIPC},  {"uts", CLONE_NEWUTS},
        {"cgroup", CLONE_NEWCGROUP},
    };
    bool net = access("/proc/self/ns/net", F_OK) == 0 &&
               may_have("/proc/sys/user/max_net_namespaces");
    int whole = try_namespaces(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS |
                               CLONE_NEWCGROUP);
    PyObject *names = whole < 0 ? NULL : PyList_New(0);

    for (size_t i = 0; names && i < sizeof all / sizeof *all; i++) {
        bool known = whole == 1 && (all[i].flag != CLONE_NEWNET || net);
        int done = known ? 1 : try_namespaces(all[i].flag);
        PyObject *name = done == 1 ? PyUnicode_FromString(all[i].name) : NULL;

        if (done < 0 || (done == 1 && (!name || PyList_Append(names, name) != 0)))
            Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

static PyObject *try_all(void)
{
    long landlock = syscall(NUMBER_LANDLOCK_CREATE_RULESET, NULL, 0, 1 /* ..._VERSION */);
    int seccomp = try_filter(0, SECCOMP_RET_ALLOW);
    int notification = seccomp < 0 ? -1 : try_filter(FILTER_NEW_LISTENER, RET_USER_NOTIF);
    PyObject *namespaces = notification < 0 ? NULL : namespaces_known();

    return namespaces ? Py_BuildValue("{slsNsNsN}", "landlock", landlock < 0 ? 0 : landlock,
                                      "seccomp", PyBool_FromLong(seccomp), "user_notification",
                                      PyBool_FromLong(notification), "namespaces", namespaces)
                      : NULL;
}

PyObject *kernel_known(PyObject *module, PyObject *unused)
{
    static PyObject *_Atomic known;
    PyObject *before = NULL, *found;

    (void)module;
    (void)unused;
    if (!atomic_load(&known)) {
        found = try_all();
        if (!found)
            return NULL;
        if (!atomic_compare_exchange_strong(&known, &before, found))
            Py_DECREF(found); /* another thread was quicker */
    }
    return PyDict_Copy(atomic_load(&known));
}
