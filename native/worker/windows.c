/* The platform: Windows, and Wine.
 *
 * Usage: worker.exe CHANNEL, a path that opens the shared memory; the doorbell is
 * standard input and standard output. Under Wine a descriptor other than the three
 * standard ones has no handle, and the standard ones are one-way: so one socket
 * comes in twice, and the memory comes by name.
 *
 * Linked without a C library (worker.h), hence start() and the helpers at the end.
 */
#include "worker.h"

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

static HANDLE doorbell_in, doorbell_out;
static int *(*errno_location)(void);
static DWORD lane_slot; /* of the thread's own storage */

/* Futexes by another name, inside one process only: a host beyond Wine rings the
 * doorbell instead. In ntdll since Windows 8. */
static LONG(NTAPI *wait_on_address)(const void *, const void *, SIZE_T, const LARGE_INTEGER *);
static void(NTAPI *wake_address_all)(const void *);

int platform_doorbell(void)
{
    unsigned char lane;
    DWORD got = 0;

    return ReadFile(doorbell_in, &lane, 1, &got, NULL) && got == 1 ? lane : -1;
}

static struct start {
    void (*body)(uint32_t);
    uint32_t argument;
} starts[CHANNEL_LANES + 1]; /* the doorbell's thread and one a lane */

static DWORD WINAPI run_thread(void *data)
{
    const struct start *start = data;

    start->body(start->argument);
    return 0;
}

bool platform_thread(void (*body)(uint32_t), uint32_t argument)
{
    static uint32_t used;
    struct start *start = &starts[used++];
    HANDLE thread;

    *start = (struct start){body, argument};
    thread = CreateThread(NULL, 0, run_thread, start, 0, NULL);
    if (!thread)
        return false;
    CloseHandle(thread);
    return true;
}

void platform_park(_Atomic uint32_t *word, uint32_t value)
{
    wait_on_address(word, &value, sizeof value, NULL);
}

void platform_unpark(_Atomic uint32_t *word)
{
    wake_address_all(word);
}

void platform_wake_host(uint32_t index, _Atomic uint32_t *word)
{
    unsigned char lane = (unsigned char)index;
    DWORD done;

    (void)word;
    WriteFile(doorbell_out, &lane, 1, &done, NULL);
}

void platform_follow(uint32_t cpu)
{
    (void)cpu; /* a parked lane here is woken through the doorbell's thread anyway */
}

void platform_woken(void)
{
}

/* Wine numbers processors as Linux does. On Windows the host is elsewhere, and moving
 * does no harm. */
bool platform_avoid(uint32_t cpu)
{
    DWORD_PTR mine = 0, all = 0, before;

    if (!GetProcessAffinityMask(GetCurrentProcess(), &mine, &all))
        return false;
    if (cpu < 8 * sizeof mine)
        mine &= ~((DWORD_PTR)1 << cpu);
    before = mine ? SetThreadAffinityMask(GetCurrentThread(), mine) : 0;
    if (!before)
        return false;
    SetThreadAffinityMask(GetCurrentThread(), before);
    return true;
}

uint64_t platform_now(void)
{
    static LARGE_INTEGER frequency;
    LARGE_INTEGER now;

    if (frequency.QuadPart == 0)
        QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&now);
    /* ticks are 100 ns on Windows and on Wine; 32-bit code has no 64-bit division
     * without a C library, so the general case is left to the compiler's double */
    if (frequency.QuadPart == 10000000)
        return (uint64_t)now.QuadPart * 100u;
    return (uint64_t)((double)now.QuadPart * (1e9 / (double)frequency.QuadPart));
}

void platform_call(struct ferry_frame *frame)
{
    int *error_number = errno_location ? errno_location() : NULL;

    if (error_number)
        *error_number = 0;
    SetLastError(frame->last_error); /* ours may have changed it since the last call */
    ferry_call(frame);
    frame->last_error = GetLastError();
    frame->error_number = error_number ? *error_number : 0;
}

void platform_save_errors(struct errors *errors)
{
    errors->last_error = GetLastError();
    errors->error_number = errno_location ? *errno_location() : 0;
}

void platform_restore_errors(const struct errors *errors)
{
    if (errno_location)
        *errno_location() = errors->error_number;
    SetLastError(errors->last_error);
}

uint32_t platform_thread_number(void)
{
    return GetCurrentThreadId();
}

struct lane *platform_lane(void)
{
    return TlsGetValue(lane_slot);
}

void platform_set_lane(struct lane *lane)
{
    TlsSetValue(lane_slot, lane);
}

/* ---- services: GetLastError() stays that of the library's last call ---- */

static void describe(DWORD error, char *message, uint32_t size)
{
    static const wchar_t unknown[] = L"unknown error";
    wchar_t text[512];
    DWORD length = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, NULL,
                                  error, 0, text, 511, NULL);

    while (length && text[length - 1] <= L' ')
        text[--length] = 0;
    if (!WideCharToMultiByte(CP_UTF8, 0, length ? text : unknown, -1, message, (int)size, NULL,
                             NULL))
        message[0] = 0;
}

/* LOAD_WITH_ALTERED_SEARCH_PATH: a DLL's own folder comes first, so that its
 * neighbours are found as they would be beside a program. The error number goes
 * in front of its text, in decimal. */
void *platform_open(const char *path, char *message, uint32_t size)
{
    static wchar_t wide[32768]; /* the longest path; libraries are opened on lane 0 only */
    DWORD before = GetLastError();
    char digits[16];
    HMODULE library = NULL;
    DWORD error, at = 0;
    uint32_t used = 0;

    message[0] = 0;
    if (MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, wide, 32768))
        library = LoadLibraryExW(wide, NULL, LOAD_WITH_ALTERED_SEARCH_PATH);
    error = GetLastError();
    SetLastError(before);
    if (library)
        return library;
    for (DWORD rest = error; rest || !at; rest /= 10)
        digits[at++] = (char)('0' + rest % 10);
    while (at && used + 2 < size)
        message[used++] = digits[--at];
    message[used++] = ' ';
    describe(error, message + used, size - used);
    return NULL;
}

/* The number in "#7", an export that may have no name; 0: it is a name after all. */
static uintptr_t ordinal_of(const char *name)
{
    const char *digit = name + 1;
    uintptr_t ordinal = 0;

    if (name[0] != '#')
        return 0;
    while (*digit >= '0' && *digit <= '9' && ordinal <= 0xffff)
        ordinal = ordinal * 10 + (uintptr_t)(*digit++ - '0');
    return *digit || ordinal > 0xffff ? 0 : ordinal;
}

void *platform_symbol(void *library, const char *name)
{
    DWORD before = GetLastError();
    uintptr_t ordinal = ordinal_of(name);
    FARPROC found = GetProcAddress(library, ordinal ? (const char *)ordinal : name);

    SetLastError(before);
    return (void *)found;
}

/* Each C runtime of Windows has an errno of its own: use `library`'s. */
int platform_errno_of(const char *library)
{
    DWORD before = GetLastError();
    HMODULE runtime = GetModuleHandleA(library);

    SetLastError(before);
    errno_location = runtime ? (int *(*)(void))(void *)GetProcAddress(runtime, "_errno") : NULL;
    return errno_location != NULL;
}

void platform_quit(int code)
{
    ExitProcess((UINT)code);
}

void platform_end(int code)
{
    TerminateProcess(GetCurrentProcess(), (UINT)code);
    __builtin_unreachable();
}

static const wchar_t *last_argument(const wchar_t *line)
{
    const wchar_t *argument = line;

    for (; *line; line++)
        if (*line == L' ')
            argument = line + 1;
    return argument;
}

void start(void)
{
    HMODULE ntdll = GetModuleHandleA("ntdll.dll");
    HANDLE file, memory;
    void *mapping;

    *(FARPROC *)&wait_on_address = GetProcAddress(ntdll, "RtlWaitOnAddress");
    *(FARPROC *)&wake_address_all = GetProcAddress(ntdll, "RtlWakeAddressAll");
    doorbell_in = GetStdHandle(STD_INPUT_HANDLE);
    doorbell_out = GetStdHandle(STD_OUTPUT_HANDLE);
    SetStdHandle(STD_INPUT_HANDLE, NULL);
    SetStdHandle(STD_OUTPUT_HANDLE, GetStdHandle(STD_ERROR_HANDLE));
    SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX | SEM_NOOPENFILEERRORBOX);
    lane_slot = TlsAlloc();

    file = CreateFileW(last_argument(GetCommandLineW()), GENERIC_READ | GENERIC_WRITE,
                       FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, OPEN_EXISTING,
                       0, NULL);
    memory = CreateFileMappingW(file, NULL, PAGE_READWRITE, 0, 0, NULL);
    mapping = memory ? MapViewOfFile(memory, FILE_MAP_ALL_ACCESS, 0, 0, 0) : NULL;
    if (!wait_on_address || !wake_address_all || !mapping || lane_slot == TLS_OUT_OF_INDEXES)
        ExitProcess(2);
    channel = mapping;
    platform_catch_faults();
    ExitProcess((UINT)worker_run(mapping));
}

/* The compiler may call these for structure copies and initialisers. (Not for loops, so
 * that these two do not call themselves: -fno-builtin.) */
void *memcpy(void *to, const void *from, size_t size)
{
#if defined(__x86_64__) || defined(__i386__)
    void *target = to;

    __asm__ volatile("rep movsb" : "+D"(target), "+S"(from), "+c"(size) : : "memory");
#else
    size_t at = 0;

    for (; at + 8 <= size; at += 8)
        __builtin_memcpy((char *)to + at, (const char *)from + at, 8);
    for (; at < size; at++)
        ((char *)to)[at] = ((const char *)from)[at];
#endif
    return to;
}

void *memset(void *to, int value, size_t size)
{
#if defined(__x86_64__) || defined(__i386__)
    void *target = to;

    __asm__ volatile("rep stosb" : "+D"(target), "+c"(size) : "a"(value) : "memory");
#else
    for (size_t at = 0; at < size; at++)
        ((char *)to)[at] = (char)value;
#endif
    return to;
}
