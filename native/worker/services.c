/* What the host asks of the worker itself. Ordinary C functions: their
 * declarations, as the host lowers them, are in libferry.runtime.services. */
#include "entry.h"
#include "map.h"
#include "worker.h"

void *memcpy(void *to, const void *from, size_t size); /* libc, or windows.c */

/* The number of units of `unit` bytes (1, 2 or 4) before the terminating zero of
 * a string, or `limit` if there is none among the first `limit`. */
static size_t ferry_length(const void *string, uint32_t unit, size_t limit)
{
    size_t length = 0;

    if (unit == 1)
        while (length < limit && ((const uint8_t *)string)[length] != 0)
            length++;
    else if (unit == 2)
        while (length < limit && ((const uint16_t *)string)[length] != 0)
            length++;
    else
        while (length < limit && ((const uint32_t *)string)[length] != 0)
            length++;
    return length;
}

/* Copy between the library's memory and the arena. */
static void ferry_copy(void *to, const void *from, size_t size)
{
    memcpy(to, from, size);
}

uint64_t service_address(enum ferry_service service)
{
    switch (service) {
    case SERVICE_OPEN:
        return (uintptr_t)platform_open;
    case SERVICE_SYMBOL:
        return (uintptr_t)platform_symbol;
    case SERVICE_LENGTH:
        return (uintptr_t)ferry_length;
    case SERVICE_COPY:
        return (uintptr_t)ferry_copy;
    case SERVICE_ERRNO_OF:
        return (uintptr_t)platform_errno_of;
    case SERVICE_CALLBACK:
        return (uintptr_t)ferry_callback;
    case SERVICE_MAP:
        return (uintptr_t)ferry_map;
    case SERVICE_MAP_QUEUE:
        return (uintptr_t)ferry_map_queue;
    case SERVICE_COUNT:
        break;
    }
    return 0;
}
