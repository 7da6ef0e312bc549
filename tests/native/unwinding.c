/* From a function that was called through a trampoline, in a callback that came through a
 * thunk, the stack can be unwound to whoever called the thunk: an exception finds its
 * handler, and a debugger the whole story. */
#include "program.h"

__attribute__((noinline)) static int outer(int value);
static int found;

#ifdef _WIN32
__attribute__((noinline)) static int look(int value)
{
    void *addresses[32];
    USHORT count = RtlCaptureStackBackTrace(0, 32, addresses, NULL);

    for (int i = 0; i < count; i++) {
        DWORD64 base;
        RUNTIME_FUNCTION *function = RtlLookupFunctionEntry((DWORD64)addresses[i], &base, NULL);

        if (function && base + function->BeginAddress == (DWORD64)outer)
            found++;
    }
    return value + 1;
}
#else
#include <unwind.h>

static _Unwind_Reason_Code visit(struct _Unwind_Context *context, void *unused)
{
    (void)unused;
    if ((uintptr_t)_Unwind_GetRegionStart(context) == (uintptr_t)outer)
        found++;
    return _URC_NO_REASON;
}

__attribute__((noinline)) static int look(int value)
{
    _Unwind_Backtrace(visit, NULL);
    return value + 1;
}
#endif

void ferry_enter(uint32_t number, struct ferry_frame *head)
{
    static const struct ferry_callback plan = {.stack_bytes = 96, .frame_bytes = FRAME_SIZE};
    static struct ferry_frame frame;
    struct entry_way_back way;

    way = entry_gather(&plan, head, &frame);
    frame.function = (uintptr_t)look;
    frame.stack_bytes = plan.stack_bytes;
    frame.vector_count = frame.x87_results = 0;
    ferry_call(&frame);
    entry_scatter(&way, &frame, head);
    CHECK(number == 1);
}

__attribute__((noinline)) static int outer(int value)
{
    return ((int (*)(int))ferry_thunk(1))(value) * 2;
}

static void run(void)
{
    CHECK(outer(20) == 42);
    CHECK(found == 1);
}
