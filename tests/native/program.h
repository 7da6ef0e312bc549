/* A test program: checks, and a main that does without a C library on Windows. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "entry.h"

static int failures;
static void say(const char *text);
static void run(void);

#define IN_QUOTES_AS_IS(x) #x
#define IN_QUOTES(x) IN_QUOTES_AS_IS(x)
#define CHECK(condition) \
    ((condition) ? (void)0 : (failures++, say("line " IN_QUOTES(__LINE__) ": " #condition "\n")))

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

static void say(const char *text)
{
    DWORD length = 0;

    while (text[length])
        length++;
    WriteFile(GetStdHandle(STD_OUTPUT_HANDLE), text, length, &length, NULL);
}

void start(void)
{
    run();
    ExitProcess(failures != 0);
}

void *memcpy(void *to, const void *from, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((volatile char *)to)[i] = ((const char *)from)[i];
    return to;
}

void *memset(void *to, int value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((volatile char *)to)[i] = (char)value;
    return to;
}
#else
#include <string.h>
#include <unistd.h>

static void say(const char *text)
{
    if (write(1, text, strlen(text)) < 0)
        _exit(2);
}

int main(void)
{
    run();
    return failures != 0;
}
#endif
