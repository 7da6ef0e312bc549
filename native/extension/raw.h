/* System calls without the C library, for a child that shares our memory.
 *
 * It also shares the thread-local storage of the thread that made it, so `errno` is not
 * its own; and glibc's clone() before 2.25 overwrites there the thread's number. */
#ifndef FERRY_RAW_H
#define FERRY_RAW_H

/* No sanitizer's code either, which has state of its own. */
#if defined(__clang__)
#define RAW __attribute__((no_sanitize("address", "undefined")))
#else
#define RAW __attribute__((no_sanitize_address, no_sanitize_undefined))
#endif

/* The kernel's own answer: a negative errno is a failure. */
#define raw(number, ...) raw_call(number, (const long[6]){__VA_ARGS__})

#if defined(__x86_64__)

RAW static inline long raw_call(long number, const long *with)
{
    register long fourth __asm__("r10") = with[3];
    register long fifth __asm__("r8") = with[4];
    register long sixth __asm__("r9") = with[5];
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(with[0]), "S"(with[1]), "d"(with[2]), "r"(fourth),
                       "r"(fifth), "r"(sixth)
                     : "rcx", "r11", "memory");
    return result;
}

/* clone(2), whose child calls start(data) on the stack that ends at `top`. */
RAW static inline long raw_clone(unsigned long flags, void *top, int *pidfd, void *cleared,
                                 void (*start)(void *), void *data)
{
    register void *fourth __asm__("r10") = cleared;
    register long fifth __asm__("r8") = 0;
    register void (*entry)(void *) __asm__("r12") = start;
    register void *argument __asm__("r13") = data;
    long result;

    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %%r13, %%rdi\n\t"
                     "call *%%r12\n\t"
                     "hlt\n"
                     "1:"
                     : "=a"(result)
                     : "a"(56L /* __NR_clone */), "D"(flags), "S"(top), "d"(pidfd), "r"(fourth),
                       "r"(fifth), "r"(entry), "r"(argument)
                     : "rcx", "r11", "memory");
    return result;
}

#elif defined(__aarch64__)

RAW static inline long raw_call(long number, const long *with)
{
    register long code __asm__("x8") = number;
    register long first __asm__("x0") = with[0];
    register long second __asm__("x1") = with[1];
    register long third __asm__("x2") = with[2];
    register long fourth __asm__("x3") = with[3];
    register long fifth __asm__("x4") = with[4];
    register long sixth __asm__("x5") = with[5];

    __asm__ volatile("svc #0"
                     : "+r"(first)
                     : "r"(code), "r"(second), "r"(third), "r"(fourth), "r"(fifth), "r"(sixth)
                     : "memory");
    return first;
}

RAW static inline long raw_clone(unsigned long flags, void *top, int *pidfd, void *cleared,
                                 void (*start)(void *), void *data)
{
    register long code __asm__("x8") = 220; /* __NR_clone */
    register long first __asm__("x0") = (long)flags;
    register void *second __asm__("x1") = top;
    register int *third __asm__("x2") = pidfd;
    register long fourth __asm__("x3") = 0;
    register void *fifth __asm__("x4") = cleared;
    register void (*entry)(void *) __asm__("x9") = start;
    register void *argument __asm__("x10") = data;

    __asm__ volatile("svc #0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, #0\n\t"
                     "mov x0, x10\n\t"
                     "blr x9\n\t"
                     "brk #1\n"
                     "1:"
                     : "+r"(first)
                     : "r"(code), "r"(second), "r"(third), "r"(fourth), "r"(fifth), "r"(entry),
                       "r"(argument)
                     : "memory");
    return first;
}

#else
#error "no system calls for this CPU yet; HOST_ARCH of native/build.py names those that have"
#endif

#endif
