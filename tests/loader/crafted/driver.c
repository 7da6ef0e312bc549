/* The program of every case. It loads what its arguments say and prints what it has then.
 *
 *     now:PATH lazy:PATH noload:PATH   dlopen in that way
 *     call:NAME                        call a function of no arguments
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

static int print(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size, (void)data;
    printf("loaded %s\n", info->dlpi_name);
    return 0;
}

int main(int count, char **words) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < count; i++) {
        char *rest = strchr(words[i], ':') + 1;
        if (words[i][0] == 'c') {
            void (*function)(void) = (void (*)(void))dlsym(RTLD_DEFAULT, rest);
            if (function == NULL) {
                printf("error %s\n", dlerror());
                return 1;
            }
            function();
            continue;
        }
        int mode = words[i][0] == 'l' ? RTLD_LAZY : RTLD_NOW;
        if (words[i][1] == 'o' && words[i][2] == 'l')
            mode |= RTLD_NOLOAD;
        if (dlopen(rest, mode | RTLD_GLOBAL) == NULL) {
            char *why = dlerror();
            printf("error %s\n", why ? why : "not loaded yet");
            return 1;
        }
    }
    dl_iterate_phdr(print, NULL);
    return 0;
}
