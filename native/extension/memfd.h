/* Newer than the glibc we build for; include/uapi/linux/{memfd,fcntl}.h. */
#ifndef FERRY_MEMFD_H
#define FERRY_MEMFD_H

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MFD_CLOEXEC
#define MFD_CLOEXEC 1u
#define MFD_ALLOW_SEALING 2u
#endif
#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#define F_SEAL_SEAL 1
#define F_SEAL_SHRINK 2
#define F_SEAL_GROW 4
#define F_SEAL_WRITE 8
#endif

/* A file in memory that can be sealed; -1: errno says why not. */
static inline int memfd_sealable(const char *name)
{
    return (int)syscall(SYS_memfd_create, name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

#endif
