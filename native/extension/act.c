/* What a system call is about: its paths, what it wants of them, its address.
 *
 * A path is read from the worker's memory, where another of its threads may change it before
 * the kernel reads it again. So nothing here keeps a path out of reach (confine.h): it
 * names what an honest library does. Everything is bounded: at most a path's length is
 * read, and no chunk goes beyond a page, so that a text at the end of a mapping is found. */
#define _GNU_SOURCE
#include "supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

/* include/uapi/asm-generic/fcntl.h and openat2.h. These flags are the same on every CPU
 * that we have a worker for; O_DIRECTORY and its neighbours are not, and do not matter. */
#define OPEN_WRITES 3u /* O_WRONLY, O_RDWR */
#define OPEN_CREATES 0100u
#define OPEN_TRUNCATES 01000u
#define OPEN_APPENDS 02000u
#define OPEN_PATH 010000000u
#define OPEN_TEMPORARY 020000000u /* __O_TMPFILE */
#define EMPTY_PATH 0x1000u        /* AT_EMPTY_PATH */
#define PAGE 4096u                /* the smallest */

/* Bytes of the worker's memory, of one page. False: it has none there. */
static bool read_piece(pid_t thread, uint64_t address, void *to, size_t size, int *error)
{
    struct iovec here = {to, size}, there = {(void *)(uintptr_t)address, size};
    char name[32];
    ssize_t got = process_vm_readv(thread, &here, 1, &there, 1, 0);
    int memory;

    *error = errno;
    if (got != -1 || (errno != ENOSYS && errno != EPERM))
        return got == (ssize_t)size;
    /* refused by a container's filter, or not built in: there is another door */
    snprintf(name, sizeof name, "/proc/%d/mem", (int)thread);
    memory = open(name, O_RDONLY | O_CLOEXEC);
    *error = ESRCH;
    if (memory < 0)
        return false;
    got = pread(memory, to, size, (off_t)address);
    *error = EFAULT;
    close(memory);
    return got == (ssize_t)size;
}

static int read_memory(pid_t thread, uint64_t address, void *to, size_t size)
{
    int error = 0;

    for (size_t done = 0; done < size;) {
        size_t piece = PAGE - (address + done) % PAGE;

        if (piece > size - done)
            piece = size - done;
        if (!read_piece(thread, address + done, (char *)to + done, piece, &error))
            return error == EFAULT || error == ESRCH ? error : ESRCH;
        done += piece;
    }
    return 0;
}

static int read_text(pid_t thread, uint64_t address, char *to)
{
    int error = 0;

    for (size_t done = 0; done < ACT_PATH;) {
        size_t piece = PAGE - (address + done) % PAGE;

        if (piece > ACT_PATH - done)
            piece = ACT_PATH - done;
        if (!read_piece(thread, address + done, to + done, piece, &error))
            return error == EFAULT || error == ESRCH ? error : ESRCH;
        if (memchr(to + done, 0, piece))
            return 0;
        done += piece;
    }
    return ENAMETOOLONG;
}

/* Where a descriptor leads to, as the worker sees it; AT_FDCWD: its working directory. */
static int read_link(pid_t thread, int descriptor, char *to)
{
    char name[48];
    ssize_t size;

    if (descriptor == AT_FDCWD)
        snprintf(name, sizeof name, "/proc/%d/cwd", (int)thread);
    else
        snprintf(name, sizeof name, "/proc/%d/fd/%d", (int)thread, descriptor);
    size = readlink(name, to, ACT_PATH - 1);
    if (size < 0)
        return errno == ENOENT ? EBADF : ESRCH;
    to[size] = 0;
    return 0;
}

/* Append `path` to what is normal already: no "." or "..", no two slashes, none at the end
 * ("" is the root). `size` is what it has. */
static int append(char *to, size_t *size, const char *path)
{
    while (*path) {
        size_t length = strcspn(path, "/");

        if (length == 2 && path[0] == '.' && path[1] == '.') {
            while (*size && to[*size - 1] != '/')
                --*size;
            if (*size)
                --*size;
        } else if (length && !(length == 1 && path[0] == '.')) {
            if (*size + 1 + length >= ACT_PATH)
                return ENAMETOOLONG;
            to[(*size)++] = '/';
            memcpy(to + *size, path, length);
            *size += length;
        }
        path += length;
        path += *path == '/';
    }
    return 0;
}

/* The worker's own folder in /proc has a name that a profile can know. */
static void name_self(char *path, pid_t shown)
{
    char name[24];
    int length = snprintf(name, sizeof name, "/proc/%d", (int)shown);

    if (strncmp(path, name, (size_t)length) != 0 ||
        (path[length] != '/' && path[length] != 0) ||
        strlen(path) + sizeof "/proc/self" > ACT_PATH)
        return;
    memmove(path + strlen("/proc/self"), path + length, strlen(path + length) + 1);
    memcpy(path, "/proc/self", strlen("/proc/self"));
}

static int read_path(struct act *act, const struct confine_row *row, uint8_t argument,
                     uint8_t dirfd, pid_t shown)
{
    char given[ACT_PATH], base[ACT_PATH], *to = act->paths[act->path_count];
    size_t size = 0;
    int error = 0, from = dirfd == ROW_NONE ? AT_FDCWD : (int32_t)act->arguments[dirfd];

    if (!act->arguments[argument])
        return 0; /* EFAULT, or utimensat(2)'s way to say the descriptor itself */
    error = read_text(act->thread, act->arguments[argument], given);
    if (error)
        return error;
    if (!given[0]) /* what an open descriptor leads to was decided when it was opened */
        return row->at_flags != ROW_NONE && act->arguments[row->at_flags] & EMPTY_PATH ? 0 : ENOENT;
    if (given[0] != '/') {
        error = read_link(act->thread, from, base);
        if (!error)
            error = base[0] == '/' ? append(to, &size, base) : ENOTDIR;
    }
    if (!error)
        error = append(to, &size, given);
    if (error)
        return error;
    if (!size)
        to[size++] = '/';
    to[size] = 0;
    name_self(to, shown);
    act->path_count++;
    return 0;
}

static uint32_t access_of_open(uint64_t flags)
{
    uint32_t access = 0;

    if (flags & OPEN_PATH)
        return 0;
    if ((flags & OPEN_WRITES) == 0 || (flags & OPEN_WRITES) >= 2)
        access |= ACCESS_READ;
    if (flags & (OPEN_WRITES | OPEN_TRUNCATES | OPEN_APPENDS))
        access |= ACCESS_WRITE;
    if (flags & (OPEN_CREATES | OPEN_TEMPORARY))
        access |= ACCESS_CREATE;
    return access;
}

static int read_flags(struct act *act, const struct confine_row *row)
{
    uint64_t flags;
    int error = 0;

    if (row->flags == ROW_NONE)
        return 0;
    flags = act->arguments[row->flags];
    if (row->flags_are == FLAGS_OPEN_HOW) /* its first member is the flags */
        error = read_memory(act->thread, flags, &flags, sizeof flags);
    if (!error && row->flags_are == FLAGS_PROTECTION)
        act->access |= flags & PROT_EXEC ? ACCESS_EXECUTE : 0;
    else if (!error)
        act->access |= access_of_open(flags);
    return error;
}

static int read_address(struct act *act, const struct confine_row *row)
{
    uint64_t size;
    int error;

    if (row->address == ROW_NONE || !act->arguments[row->address])
        return 0;
    size = (uint32_t)act->arguments[row->address + 1];
    if (size > ACT_ADDRESS)
        size = ACT_ADDRESS;
    error = read_memory(act->thread, act->arguments[row->address], act->address, size);
    if (!error)
        act->address_size = (uint32_t)size;
    return error;
}

int act_read(struct act *act, const struct confine_row *row, pid_t shown)
{
    int error;

    act->access = row->access;
    error = read_flags(act, row);
    if (!error && row->path != ROW_NONE)
        error = read_path(act, row, row->path, row->dirfd, shown);
    if (!error && row->path2 != ROW_NONE)
        error = read_path(act, row, row->path2, row->dirfd2, shown);
    return error ? error : read_address(act, row);
}
