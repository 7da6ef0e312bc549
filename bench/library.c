/* The library that every contender calls.
 *
 * `add` does nothing worth measuring, so what a benchmark measures is the way
 * there and back.
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

EXPORT int add(int a, int b) { return a + b; }
