/* The library that `libferry tour` compiles for every target and then calls. */

#include <stddef.h>
#include <stdint.h>

#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#else
#define EXPORT
#endif

EXPORT int add(int a, int b) { return a + b; }

/* FNV-1a, 32 bits: bytes go in. */
EXPORT uint32_t checksum(const void *data, size_t size) {
    const unsigned char *byte = data;
    uint32_t hash = 2166136261u;
    while (size--) {
        hash ^= *byte++;
        hash *= 16777619u;
    }
    return hash;
}

/* A string goes in, and one comes back. */
EXPORT const char *greeting(const char *language) {
    static const char *const words[][2] = {
        {"de", "Guten Tag"}, {"en", "Good day"}, {"zh", "你好"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (words[i][0][0] == language[0] && words[i][0][1] == language[1])
            return words[i][1];
    return NULL;
}

EXPORT double discount(double price, int percent) { return price - price * percent / 100; }

/* In and out through one pointer. */
EXPORT int withdraw(int amount, int *balance) {
    if (amount > *balance)
        return -1;
    *balance -= amount;
    return amount;
}

/* A structure goes by value, and one comes back: every ABI has its own way. */
struct account {
    double balance;
    int branch;
};

EXPORT struct account deposit(struct account account, int amount) {
    account.balance += amount;
    return account;
}

/* A function of the caller's is called back. */
EXPORT int count(const int *values, int length, int (*is_wanted)(int value)) {
    int found = 0;
    for (int i = 0; i < length; i++)
        found += is_wanted(values[i]) != 0;
    return found;
}
