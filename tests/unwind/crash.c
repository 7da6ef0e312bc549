/* Crashes in the library deep.c, in the way it is told, and writes down all that is needed to
 * explain it. */
#include "crashing.h"

extern int deep(const char *how);
extern void (*before_crash)(void);

static __attribute__((noinline)) int middle(const char *how) { return deep(how) + 1; }

int main(int count, char **words)
{
    char *top = (char *)words; /* the arguments' array lies above all frames */
    tell_of_crashes(top);
    if (count > 2) before_crash = tell_callers;
    return middle(count > 1 ? words[1] : "nowhere") == 0;
}
