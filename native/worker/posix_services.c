/* The services that differ by platform, for Linux. The extension links these too,
 * so that opening a library in-process and in a worker is the same code. */
#include "worker.h"

#include <dlfcn.h>
#include <string.h>

void *platform_open(const char *path, char *message, uint32_t size)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const char *error = library ? NULL : dlerror();

    if (size)
        message[0] = 0;
    if (error && size) {
        strncpy(message, error, size - 1);
        message[size - 1] = 0;
    }
    return library;
}

void *platform_symbol(void *library, const char *name)
{
    return dlsym(library, name);
}

int platform_errno_of(const char *library)
{
    (void)library; /* there is one errno here, the C library's */
    return 1;
}
