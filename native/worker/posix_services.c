/* The services that differ by platform, for Linux and macOS. The extension links these
 * too, so that opening a library in-process and in a worker is the same code. */
#define _GNU_SOURCE
#include "worker.h"

#include <dlfcn.h>
#include <stdlib.h>
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

/* "name@VERSION", or "name@@VERSION" where it is the default: a symbol version of ELF. */
static void *versioned(void *library, const char *name, const char *at)
{
#ifdef __ELF__
    char *plain = strndup(name, (size_t)(at - name));
    void *found = plain ? dlvsym(library, plain, at[1] == '@' ? at + 2 : at + 1) : NULL;

    free(plain);
    return found;
#else
    (void)at; /* the name may have an @ of its own */
    return dlsym(library, name);
#endif
}

void *platform_symbol(void *library, const char *name)
{
    const char *at = strchr(name, '@');

    return at ? versioned(library, name, at) : dlsym(library, name);
}

int platform_errno_of(const char *library)
{
    (void)library; /* there is one errno here, the C library's */
    return 1;
}
