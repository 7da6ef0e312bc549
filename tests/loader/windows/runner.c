#include <windows.h>
#include <stdio.h>
#include <string.h>
/* One process for each case of test_wine.py: words are what to do, in order. "batch FILE" starts
   a process for each line of a file, since the start of Wine itself is what takes long. */
static int batch(char *file) {
    FILE *in = fopen(file, "r"); char line[8192];
    while (in && fgets(line, sizeof line, in)) {
        char *program = strtok(line, "|"), *cwd = strtok(NULL, "|"), *path = strtok(NULL, "|"),
             *arguments = strtok(NULL, "|\r\n"), command[8192];
        STARTUPINFOA start = {sizeof start}; PROCESS_INFORMATION made;
        snprintf(command, sizeof command, "\"%s\" %s", program, arguments);
        SetEnvironmentVariableA("PATH", path);
        puts("case"); fflush(stdout);
        if (!CreateProcessA(program, command, 0, 0, TRUE, 0, 0, cwd, &start, &made)) {
            printf("start %lu\n", GetLastError()); fflush(stdout); continue;
        }
        WaitForSingleObject(made.hProcess, 20000);
        DWORD code = 0; GetExitCodeProcess(made.hProcess, &code);
        if (code) { printf("exit %lx\n", code); fflush(stdout); }
    }
    return 0;
}
int main(int count, char **arguments) {
    SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOOPENFILEERRORBOX);
    if (!strcmp(arguments[1], "batch")) return batch(arguments[2]);
    for (int i = 1; i < count; i++) {
        char *word = arguments[i], *value = strchr(word, '='), path[MAX_PATH];
        *value++ = 0;
        if (!strcmp(word, "add")) {
            WCHAR wide[MAX_PATH]; MultiByteToWideChar(CP_UTF8, 0, value, -1, wide, MAX_PATH);
            AddDllDirectory(wide);
        } else if (!strcmp(word, "set")) SetDllDirectoryA(value);
        else if (!strcmp(word, "default")) SetDefaultDllDirectories(strtoul(value, 0, 16));
        else if (!strcmp(word, "where")) {
            HMODULE module = GetModuleHandleA(value);
            if (module) GetModuleFileNameA(module, path, sizeof path);
            printf("%s\n", module ? path : "none");
        } else { /* flags=name */
            HMODULE module = LoadLibraryExA(value, 0, strtoul(word, 0, 16));
            if (!module) printf("error %lu\n", GetLastError());
            else { GetModuleFileNameA(module, path, sizeof path); printf("%s\n", path); }
        }
    }
    return 0;
}
