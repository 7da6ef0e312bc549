/* A library with everything that a call can be made of, in a lawful worker, whose other
 * thread attacks. */
#include "adversary.h"

#include <pthread.h>
#include <stdio.h>

int add(int a, int b) { return a + b; }
double scale(double value, double by) { return value * by; }
uint32_t sum(const uint8_t *data, size_t size)
{
    uint32_t total = 0;

    while (size--)
        total += *data++;
    return total;
}
void fill(uint8_t *data, int value, size_t size) { memset(data, value, size); }
const char *text(void) { return "text"; }
size_t length(const char *string) { return strlen(string); }

struct large {
    double v[6];
};
struct pair {
    int a;
    const char *name;
};
struct large grow(struct large (*f)(struct large, const char *), struct large l)
{
    return f(l, "text");
}
struct pair twice(struct pair p)
{
    p.a *= 2;
    return p;
}
int total(const struct pair *p, int count)
{
    int all = 0;

    while (count--)
        all += p++->a;
    return all;
}
int apply(int (*f)(int), int x) { return f(x); }
int doubled(int a, int *to)
{
    *to = 2 * a;
    return 0;
}

static int (*kept)(int);
static void *visit(void *count)
{
    for (intptr_t i = 0; i < (intptr_t)count; i++)
        kept(1);
    return NULL;
}
void visit_from_thread(int (*f)(int), int count)
{
    pthread_t thread;

    kept = f;
    if (pthread_create(&thread, NULL, visit, (void *)(intptr_t)count) == 0)
        pthread_detach(thread);
}

static void *attack(void *seed)
{
    random_state = (uint64_t)(uintptr_t)seed | 1;
    for (int bursts = 1 + (int)below(200); bursts > 0; bursts--) {
        for (uint64_t i = below(20); i > 0; i--)
            mutate();
        rest(below(2000));
    }
    end_somehow();
    return NULL;
}

int start_attack(uint64_t seed)
{
    pthread_t thread;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");

    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long from, to;

        if (strstr(line, "libferry-channel") && sscanf(line, "%lx-%lx", &from, &to) == 2) {
            channel = (char *)from;
            channel_size = to - from;
        }
    }
    if (maps)
        fclose(maps);
    for (int descriptor = 3; descriptor < 64 && bell < 0; descriptor++) {
        int kind;
        socklen_t size = sizeof kind;

        if (getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &kind, &size) == 0)
            bell = descriptor;
    }
    end_with_host();
    if (!channel)
        return -1;
    return pthread_create(&thread, NULL, attack, (void *)(uintptr_t)seed);
}
