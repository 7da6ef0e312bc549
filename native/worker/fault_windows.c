/* Exceptions that end the process, on Windows and Wine.
 *
 * The filter for what nobody handles runs on the stack of the thread, of which there may be
 * little left, and without a C library: frames stay below a page (a larger one would have
 * the compiler call for a probe of the stack), so what is large is static. One thread gets
 * that far (fault.c).
 *
 * __fastfail, and with it the abort() of newer C runtimes and a heap found to be damaged,
 * goes past every filter: there is no record, and what is left of its code is the lowest
 * eight bits, as the exit code of a Linux process. */
#include "worker.h"

#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#include <winternl.h>

#define MODULES 1024 /* a list that is damaged may have no end */

void *memcpy(void *to, const void *from, size_t size);

/* Registers in DWARF's order for the CPU, then the pc: as in linux.c. */
#define REGISTER(name) (uint16_t)offsetof(CONTEXT, name)
#if defined(__x86_64__)
static const uint16_t order[] = {REGISTER(Rax), REGISTER(Rdx), REGISTER(Rcx), REGISTER(Rbx),
                                 REGISTER(Rsi), REGISTER(Rdi), REGISTER(Rbp), REGISTER(Rsp),
                                 REGISTER(R8),  REGISTER(R9),  REGISTER(R10), REGISTER(R11),
                                 REGISTER(R12), REGISTER(R13), REGISTER(R14), REGISTER(R15),
                                 REGISTER(Rip)};
#define PROGRAM_COUNTER Rip
#define STACK_POINTER Rsp
#elif defined(__i386__)
static const uint16_t order[] = {REGISTER(Eax), REGISTER(Ecx), REGISTER(Edx),
                                 REGISTER(Ebx), REGISTER(Esp), REGISTER(Ebp),
                                 REGISTER(Esi), REGISTER(Edi), REGISTER(Eip)};
#define PROGRAM_COUNTER Eip
#define STACK_POINTER Esp
#elif defined(__aarch64__)
#define X(n) REGISTER(X0) + 8 * (n)
static const uint16_t order[] = {
    X(0),  X(1),  X(2),  X(3),  X(4),  X(5),  X(6),  X(7),  X(8),  X(9),  X(10),
    X(11), X(12), X(13), X(14), X(15), X(16), X(17), X(18), X(19), X(20), X(21),
    X(22), X(23), X(24), X(25), X(26), X(27), X(28), X(29), X(30), REGISTER(Sp), REGISTER(Pc)};
#define PROGRAM_COUNTER Pc
#define STACK_POINTER Sp
#endif
#define REGISTERS (sizeof order / sizeof *order)

static void keep_registers(struct ferry_fault_area *area, const CONTEXT *context)
{
    for (uint32_t i = 0; i < REGISTERS; i++)
        area->registers[i] = *(const uintptr_t *)((const char *)context + order[i]);
    area->register_count = REGISTERS;
}

static void keep_parameters(struct ferry_fault *fault, const EXCEPTION_RECORD *record)
{
    DWORD count = record->NumberParameters;

    fault->program_counter = (uintptr_t)record->ExceptionAddress;
    fault->address = count > 1 ? record->ExceptionInformation[1] : 0;
    for (DWORD i = 0; i < count && i < CHANNEL_FAULT_PARAMETERS; i++)
        fault->parameters[i] = record->ExceptionInformation[i];
}

/* The readable memory from the stack pointer up. A thread may have left the stack that it
 * was given, for a fiber's. */
static uintptr_t stack_end(uintptr_t stack_pointer)
{
    const NT_TIB *thread = (const NT_TIB *)NtCurrentTeb();
    MEMORY_BASIC_INFORMATION memory;

    if (stack_pointer >= (uintptr_t)thread->StackLimit &&
        stack_pointer < (uintptr_t)thread->StackBase)
        return (uintptr_t)thread->StackBase;
    if (VirtualQuery((void *)stack_pointer, &memory, sizeof memory) == sizeof memory &&
        memory.State == MEM_COMMIT && memory.Protect & (PAGE_READWRITE | PAGE_READONLY))
        return (uintptr_t)memory.BaseAddress + memory.RegionSize;
    return stack_pointer;
}

static void keep_stack(struct ferry_fault_area *area, uintptr_t stack_pointer, uintptr_t end)
{
    uintptr_t size = end - stack_pointer;

    if (size > FAULT_STACK)
        size = FAULT_STACK;
    area->stack_base = stack_pointer;
    memcpy(area->stack, (const void *)stack_pointer, size);
    area->stack_size = (uint32_t)size;
}

/* ---- "start-end path", a line a module ---- */

static void write_number(struct ferry_fault_area *area, uintptr_t number, char after)
{
    static const char digits[] = "0123456789abcdef";

    for (int shift = 8 * (int)sizeof number - 4; shift >= 0; shift -= 4)
        area->maps[area->maps_size++] = digits[number >> shift & 15];
    area->maps[area->maps_size++] = after;
}

static bool write_module(struct ferry_fault_area *area, const LDR_DATA_TABLE_ENTRY *module)
{
    enum { NUMBERS = 2 * (2 * sizeof(uintptr_t) + 1) };
    uintptr_t start = (uintptr_t)module->DllBase;
    const IMAGE_DOS_HEADER *image = module->DllBase;
    const IMAGE_NT_HEADERS *headers = (const void *)(start + (uintptr_t)image->e_lfanew);
    uint32_t before = area->maps_size;
    int length;

    if (before + NUMBERS + 1 >= FAULT_MAPS)
        return false;
    write_number(area, start, '-');
    write_number(area, start + headers->OptionalHeader.SizeOfImage, ' ');
    length = WideCharToMultiByte(CP_UTF8, 0, module->FullDllName.Buffer,
                                 module->FullDllName.Length / 2, area->maps + area->maps_size,
                                 (int)(FAULT_MAPS - area->maps_size - 1), NULL, NULL);
    if (length <= 0) {
        area->maps_size = before;
        return false;
    }
    area->maps_size += (uint32_t)length;
    area->maps[area->maps_size++] = '\n';
    return true;
}

/* By the loader's own list, and without its lock, which a thread that is no more may hold. */
static void keep_modules(struct ferry_fault_area *area)
{
    const LIST_ENTRY *head = &NtCurrentTeb()->ProcessEnvironmentBlock->Ldr->InMemoryOrderModuleList;
    const LIST_ENTRY *entry = head->Flink;

    for (int i = 0; i < MODULES && entry != head; i++, entry = entry->Flink)
        if (!write_module(area, CONTAINING_RECORD(entry, LDR_DATA_TABLE_ENTRY, InMemoryOrderLinks)))
            break;
}

/* ---- return addresses ---- */

#ifdef __i386__

/* What has no frame pointer is left out. */
static void keep_frames(struct ferry_fault_area *area, const CONTEXT *context, uintptr_t end)
{
    uintptr_t frame = context->Ebp, least = context->Esp;

    while (frame >= least && frame % 4 == 0 && frame + 8 <= end &&
           area->frame_count < FAULT_FRAMES) {
        area->frames[area->frame_count] = ((const uintptr_t *)frame)[1];
        area->frame_count++;
        least = frame + 8;
        frame = *(const uintptr_t *)frame;
    }
}

#else

/* By the tables that each function of a module has here, unless it calls nothing. */
static void keep_frames(struct ferry_fault_area *area, const CONTEXT *context, uintptr_t end)
{
    static CONTEXT state;
    DWORD64 base, establisher;
    void *data;

    memcpy(&state, context, sizeof state);
    while (area->frame_count < FAULT_FRAMES && state.STACK_POINTER + 8 <= end) {
        PRUNTIME_FUNCTION function = RtlLookupFunctionEntry(state.PROGRAM_COUNTER, &base, NULL);
        DWORD64 before = state.STACK_POINTER;

        if (function) {
            RtlVirtualUnwind(UNW_FLAG_NHANDLER, base, state.PROGRAM_COUNTER, function, &state,
                             &data, &establisher, NULL);
        } else {
#ifdef __x86_64__
            state.Rip = *(const DWORD64 *)state.Rsp;
            state.Rsp += 8;
#else
            if (state.Pc == state.Lr)
                return;
            state.Pc = state.Lr;
#endif
        }
        if (state.PROGRAM_COUNTER == 0 || state.STACK_POINTER < before)
            return;
        area->frames[area->frame_count] = state.PROGRAM_COUNTER;
        area->frame_count++;
    }
}

#endif

/* The most important first: each step may be the last. */
static LONG WINAPI record_fault(EXCEPTION_POINTERS *pointers)
{
    const EXCEPTION_RECORD *record = pointers->ExceptionRecord;
    const CONTEXT *context = pointers->ContextRecord;
    struct ferry_fault_area *area = channel_fault_area(channel);
    uintptr_t end;

    if (fault_begin(FAULT_EXCEPTION, record->ExceptionCode)) {
        keep_parameters(&channel->fault, record);
        keep_registers(area, context);
        end = stack_end(context->STACK_POINTER);
        keep_stack(area, context->STACK_POINTER, end);
        keep_modules(area);
        keep_frames(area, context, end);
    }
    fault_publish();
    TerminateProcess(GetCurrentProcess(), channel->fault.code);
    return EXCEPTION_EXECUTE_HANDLER;
}

void platform_catch_faults(void)
{
    SetUnhandledExceptionFilter(record_fault);
}

#define PAGE 4096u

/* Windows moves a stack's guard page down as the stack grows, and has an exception when the
 * guaranteed rest is reached. Wine commits all of it at once, with the guard page at the
 * end, whatever is guaranteed: on x64 what is left there is too little for an exception, and
 * Wine ends the thread without one. So the guard page goes where the guarantee begins. */
static void guard(char *bottom, ULONG guaranteed)
{
    MEMORY_BASIC_INFORMATION memory;
    char *page = bottom + guaranteed;
    DWORD before;

    if (VirtualQuery(page, &memory, sizeof memory) == sizeof memory &&
        memory.AllocationBase == bottom && memory.State == MEM_COMMIT)
        VirtualProtect(page, PAGE, PAGE_READWRITE | PAGE_GUARD, &before);
}

/* A small stack is left as it is: Wine clears all of one of 1 MiB as the thread begins, and
 * would find the guard page. */
void platform_prepare_thread(void)
{
    enum { GUARANTEED = 64 * 1024, SMALL = 2 * 1024 * 1024 };
    char *top = ((const NT_TIB *)NtCurrentTeb())->StackBase;
    ULONG guaranteed = GUARANTEED;
    MEMORY_BASIC_INFORMATION stack;

    if (VirtualQuery(top - 1, &stack, sizeof stack) != sizeof stack ||
        top - (char *)stack.AllocationBase < SMALL)
        return;
    SetThreadStackGuarantee(&guaranteed);
    guard(stack.AllocationBase, GUARANTEED);
}

/* The loader calls this on each thread that begins, the library's own too. Without a C
 * runtime the directory it reads that from, which the linker knows by its name, is ours. */
static void NTAPI begin_thread(void *module, DWORD reason, void *reserved)
{
    (void)module;
    (void)reserved;
    if (reason == DLL_THREAD_ATTACH)
        platform_prepare_thread();
}

static const PIMAGE_TLS_CALLBACK callbacks[] = {begin_thread, NULL};
static ULONG tls_index;
extern const IMAGE_TLS_DIRECTORY _tls_used;
const IMAGE_TLS_DIRECTORY _tls_used = {
    .AddressOfIndex = (uintptr_t)&tls_index,
    .AddressOfCallBacks = (uintptr_t)callbacks,
};
