/* The library that every contender calls.
 *
 * Its functions do nothing worth measuring, so what a benchmark measures is the way
 * there and back. (`work` is the exception.)
 *
 * On Windows it is linked without the C runtime: such a DLL needs its own entry
 * point, and in exchange it builds in a third of a second and needs no other DLL.
 */

#ifdef _WIN32
#define EXPORT __declspec(dllexport)

int __stdcall DllMainCRTStartup(void *instance, unsigned long reason, void *reserved)
{
    (void)instance, (void)reason, (void)reserved;
    return 1;
}
#else
#define EXPORT __attribute__((visibility("default")))
#endif

struct point {
    int x, y;
};

EXPORT int add(int a, int b) { return a + b; }

EXPORT double add_doubles(double a, double b) { return a + b; }

EXPORT double scale(int count, double value) { return count * value; }

EXPORT int sum(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j, int k, int l)
{
    return a + b + c + d + e + f + g + h + i + j + k + l;
}

EXPORT struct point mirror(struct point p) { return (struct point){p.y, p.x}; }

/* Call back so many times. */
EXPORT int apply(int (*f)(int), int value, int times)
{
    while (times-- > 0)
        value = f(value);
    return value;
}

/* Something to do that takes a processor and nothing else: xorshift32. */
EXPORT unsigned work(unsigned value, int steps)
{
    while (steps-- > 0) {
        value ^= value << 13;
        value ^= value >> 17;
        value ^= value << 5;
    }
    return value;
}
