"""Why an ELF library does not load, in words: glibc's loader, musl's, and the kernel's.

The two loaders differ most in what they do not look at. glibc passes over a library of
another class or CPU and goes on searching; musl takes the first file of that name and finds
out later. glibc compares the versions of symbols before it starts anything; musl ignores
them, and misses the symbol. Sources are glibc 2.41 and musl 1.2.5 unless they say otherwise.
"""

from __future__ import annotations

from libferry.audit.model import Rule

ELF = (
    Rule(
        id="missing-library",
        group="load",
        severity="error",
        title="A needed library is not there",
        explanation=(
            "The loader looks for each `DT_NEEDED` name in the search path of who asks for it, in "
            "`LD_LIBRARY_PATH`, in its cache and in its default folders, and gives up at the "
            "first name that is in none of them. A library that lies beside the one that needs "
            "it is not found unless that one says so.\n\n"
            "On Windows this is error 126, which names the wrong file: the one asked for, not "
            "the one that is missing. On macOS dyld lists the places it tried."
        ),
        fix="install the library there, or carry it along and add $ORIGIN to the search path: "
        "libferry fix --runpath '$ORIGIN' FILE (Windows: put it beside the program; macOS: "
        "install_name_tool -add_rpath @loader_path FILE)",
        good="cc -shared -o libb.so b.c -L. -la -Wl,-rpath,'$ORIGIN'",
        bad="cc -shared -o libb.so b.c -L. -la    # and liba.so is beside libb.so only",
        source="glibc elf/dl-load.c, _dl_map_object; musl ldso/dynlink.c, load_library",
    ),
    Rule(
        id="wrong-class",
        group="load",
        severity="error",
        title="A 32-bit library in a 64-bit process, or the other way round",
        explanation=(
            "One process has one size of pointers. glibc passes over a library of the other "
            "size while it searches, and refuses it if it was asked for by path: `wrong ELF "
            "class: ELFCLASS32`. Often the right one is not installed, and this is what is found."
        ),
        fix="install or build the library for the bitness of the process, or call it in a worker: "
        "libferry.load(FILE, isolation='worker')",
        good="cc -m64 -shared -o liba.so a.c",
        bad="cc -m32 -shared -o liba.so a.c",
        source="glibc elf/dl-load.c, open_verify",
    ),
    Rule(
        id="wrong-machine",
        group="load",
        severity="error",
        title="A library for another CPU",
        explanation=(
            "glibc passes over a library for another CPU while it searches, so that it says that "
            "there is none at all. musl looks at no CPU: it maps the file, and the process dies "
            "at its first instruction or relocation."
        ),
        fix="build it for that CPU, or call it in a worker: libferry.load(FILE)",
        good="zig cc -target aarch64-linux-gnu -shared -o liba.so a.c    # for an arm64 target",
        bad="cc -shared -o liba.so a.c    # on x86-64, for an arm64 target",
        source="glibc elf/dl-load.c, open_verify; musl ldso/dynlink.c, map_library",
    ),
    Rule(
        id="wrong-endianness",
        group="load",
        severity="error",
        title="A library of the other byte order",
        explanation="The file's numbers have their bytes the other way round than the CPU reads "
        "them: it is for another machine.",
        fix="build it for the byte order of the target",
        good="zig cc -target powerpc64le-linux-gnu -shared -o liba.so a.c",
        bad="zig cc -target powerpc64-linux-gnu -shared -o liba.so a.c    # for a ppc64le target",
        source="glibc elf/dl-load.c, open_verify: ELF file data encoding not little-endian",
    ),
    Rule(
        id="not-a-library",
        group="load",
        severity="error",
        title="A file of that name is there, and is no library",
        explanation=(
            "A linker script (`libc.so`), a text, an object file, a program. glibc ends with "
            "`invalid ELF header` or `file too short`, instead of looking further. A "
            "position-independent program cannot be opened as a library since glibc 2.30."
        ),
        fix="put the library in its place: see what is there with libferry inspect",
        good="cc -shared -fPIC -o liba.so a.c",
        bad="cc -c -o liba.so a.c",
        source="glibc elf/dl-load.c, open_verify and _dl_map_object_from_fd; NEWS for 2.30",
    ),
    Rule(
        id="missing-version",
        group="load",
        severity="error",
        title="A needed library is there, and too old",
        explanation=(
            "The linker notes for each library which of its versions (`GLIBC_2.34`, "
            "`GLIBCXX_3.4.30`) the symbols came from. glibc's loader compares these before "
            "anything else runs, and one that is missing ends it, though the function may never "
            "be called. What counts is the C library on the machine that built the file, not "
            "what the code uses: the same source built on an older system needs an older one.\n\n"
            "It cannot be fixed by shipping glibc along: its loader and its libraries only fit "
            "each other."
        ),
        fix="build it on the oldest system it shall run on, or against its symbols: "
        "zig cc -target CPU-linux-gnu.2.17",
        good="zig cc -target x86_64-linux-gnu.2.17 -shared -o liba.so a.c",
        bad="cc -shared -o liba.so a.c    # with glibc 2.36, for a target with 2.28",
        source="glibc elf/dl-version.c, match_symbol: version `%s' not found",
    ),
    Rule(
        id="missing-symbol",
        group="load",
        severity="error",
        title="Nobody in the process has a symbol that must be bound at once",
        explanation=(
            "Data, and with `-z now` or `RTLD_NOW` functions, too, are bound while the library "
            "is loaded. `-shared` lets the linker leave symbols open, so that nobody notices "
            "before.\n\n"
            "A plug-in may rightly expect symbols of the program that loads it: then say which "
            "program that is, with `--host`."
        ),
        fix="link the library that has the symbol, or name the program that has it: "
        "libferry check --host PROGRAM FILE",
        good="cc -shared -o libb.so b.c -L. -la -Wl,--no-undefined",
        bad="cc -shared -o libb.so b.c -Wl,-z,now    # b.c calls what nobody has",
        source="glibc elf/dl-lookup.c, _dl_lookup_symbol_x; musl ldso/dynlink.c, do_relocs",
    ),
    Rule(
        id="missing-symbol-later",
        group="load",
        severity="warning",
        title="Nobody in the process has a function that is bound when it is first called",
        explanation=(
            "The library loads, and the process ends with `symbol lookup error` at the first "
            "call of the function. With `RTLD_NOW`, or `LD_BIND_NOW` in the environment, it does "
            "not load at all; so it never does on musl, which binds all at once."
        ),
        fix="link the library that has the function, or name the program that has it: "
        "libferry check --host PROGRAM FILE",
        good="cc -shared -o libb.so b.c -L. -la -Wl,--no-undefined",
        bad="cc -shared -o libb.so b.c -Wl,-z,lazy    # b.c calls what nobody has",
        source="glibc elf/dl-runtime.c, _dl_fixup",
    ),
    Rule(
        id="missing-interpreter",
        group="load",
        severity="error",
        title="The loader that the program asks for is not there",
        explanation=(
            "The kernel starts the program named in `PT_INTERP` instead of the program itself. "
            "If there is none, a shell says `No such file or directory` of a program that is "
            "plainly there. Programs for glibc on a musl system end so, and the other way round."
        ),
        fix="build it for the C library of the target, or name its loader: "
        "libferry fix --interpreter PATH FILE",
        good="zig cc -target x86_64-linux-musl -o program main.c    # for Alpine",
        bad="zig cc -target x86_64-linux-gnu -o program main.c    # for Alpine",
        source="Linux fs/binfmt_elf.c, load_elf_binary; execve(2), ENOENT",
    ),
    Rule(
        id="isa-too-new",
        group="load",
        severity="error",
        title="It is built for a newer CPU",
        explanation=(
            "`-march=x86-64-v3` and `-z x86-64-v3` note the level in the file, and glibc refuses "
            "it on a CPU that has less: `CPU ISA level is lower than required`. Without the note "
            "it would die of an illegal instruction somewhere. Zhaoxin's and Hygon's CPUs, old "
            "servers and many virtual machines are at v2."
        ),
        fix="build it with -march=x86-64 or x86-64-v2, or put it in glibc-hwcaps/x86-64-v3 beside "
        "a plain one",
        good="cc -march=x86-64 -shared -o liba.so a.c",
        bad="cc -march=x86-64-v3 -Wl,-z,x86-64-v3 -shared -o liba.so a.c",
        source="glibc sysdeps/x86/dl-prop.h, dl_isa_level_check; x86-64 psABI, 'Micro-Architecture "
        "Levels'",
    ),
    Rule(
        id="abi-tag-too-new",
        group="load",
        severity="error",
        title="It asks for a newer kernel",
        explanation="The note `.note.ABI-tag` has the oldest kernel that the library is for. "
        "glibc refuses what is for a newer one, or passes over it while it searches. Qt 5's "
        "libQt5Core is known for it (Linux 3.17).",
        fix="remove the note, if the library works there: objcopy --remove-section=.note.ABI-tag "
        "FILE",
        good="readelf -n liba.so | grep -A2 ABI    # OS: Linux, ABI: 3.2.0",
        bad="readelf -n liba.so | grep -A2 ABI    # OS: Linux, ABI: 6.1.0",
        source="glibc elf/dl-load.c, open_verify",
    ),
    Rule(
        id="relr-unsupported",
        group="load",
        severity="error",
        title="Its relocations are packed in a way that the loader does not know",
        explanation=(
            "`-z pack-relative-relocs` writes relative relocations as `DT_RELR`, which glibc "
            "reads since 2.36 and musl since 1.2.4. An older glibc refuses such a file for the "
            "version `GLIBC_ABI_DT_RELR` if the linker noted it; one without that need, and any "
            "file on an older musl, is loaded with its relocations left out, and crashes."
        ),
        fix="link it with -Wl,-z,nopack-relative-relocs",
        good="cc -shared -o liba.so a.c -Wl,-z,nopack-relative-relocs",
        bad="cc -shared -o liba.so a.c -Wl,-z,pack-relative-relocs",
        source="glibc NEWS for 2.36; musl WHATSNEW for 1.2.4; gABI, 'Relocation Table'",
    ),
    Rule(
        id="exec-stack-refused",
        group="load",
        severity="error",
        title="It asks for an executable stack, which the loader no longer gives",
        explanation=(
            "`PT_GNU_STACK` with the executable flag, or no `PT_GNU_STACK` at all, makes an older "
            "glibc turn the stacks of the whole process executable. Since 2.41 `dlopen` refuses "
            "such a library: `cannot enable executable stack as shared object requires`. The "
            "flag mostly comes from one assembly file without `.note.GNU-stack`, not from code "
            "that needs it."
        ),
        fix='libferry fix --clear-execstack FILE; or add .section .note.GNU-stack,"",%progbits to '
        "the assembly",
        good="cc -shared -o liba.so a.c -Wl,-z,noexecstack",
        bad="cc -shared -o liba.so a.c -Wl,-z,execstack",
        source="glibc NEWS for 2.41; elf/dl-load.c, _dl_map_object_from_fd",
    ),
    Rule(
        id="static-tls-exhausted",
        group="load",
        severity="error",
        title="Its thread-local variables do not fit into the reserve",
        explanation=(
            "Code of the model initial-exec wants its variables at a fixed distance from the "
            "thread pointer. For libraries that are opened later, glibc keeps a reserve of 1,664 "
            "bytes (since 2.32 made of several parts; `glibc.rtld.optional_static_tls` is one), "
            "and musl none. When it is used up: `cannot allocate memory in static TLS block`. "
            "Which of several libraries fails depends on their order."
        ),
        fix="build it with -ftls-model=global-dynamic (and -mtls-dialect=gnu2), preload it, or set "
        "GLIBC_TUNABLES=glibc.rtld.optional_static_tls=4096",
        good="cc -shared -fPIC -ftls-model=global-dynamic -o liba.so a.c",
        bad="cc -shared -fPIC -ftls-model=initial-exec -o liba.so a.c    # with a large array",
        source="glibc elf/dl-reloc.c, _dl_allocate_static_tls; elf/dl-tls.c; elf/dl-tunables.list",
    ),
    Rule(
        id="page-size",
        group="load",
        severity="error",
        title="Its segments are not aligned to the target's pages",
        explanation=(
            "Segments with different permissions cannot share a page. Kylin, openEuler and RHEL 8 "
            "have arm64 kernels with pages of 64 KiB, LoongArch has 16 KiB; a library linked for "
            "4 KiB fails there: `ELF load command address/offset not page-aligned`."
        ),
        fix="link it with -Wl,-z,max-page-size=65536",
        good="zig cc -target aarch64-linux-gnu -shared -o liba.so a.c -Wl,-z,max-page-size=65536",
        bad="zig cc -target aarch64-linux-gnu -shared -o liba.so a.c -Wl,-z,max-page-size=4096",
        source="glibc elf/dl-load.c, _dl_map_object_from_fd; gABI, 'Program Header', p_align",
    ),
    Rule(
        id="unresolved-token",
        group="load",
        severity="error",
        title="A path has a token that means nothing here",
        explanation="glibc replaces `$ORIGIN`, `$LIB` and `$PLATFORM`, and says `empty dynamic "
        "string token substitution` where one has no meaning. musl, which only knows the first, "
        "then looks in none of the path's folders; and neither takes `$ORIGIN` from a privileged "
        "program's libraries wherever they lie.",
        fix="write $ORIGIN (in a Makefile: '$$ORIGIN', in single quotes)",
        good="cc -shared -o libb.so b.c -Wl,-rpath,'$ORIGIN/../lib'",
        bad="cc -shared -o libb.so b.c -Wl,-rpath,'$LIB/extra'    # for musl",
        source="glibc elf/dl-load.c, _dl_dst_substitute; musl ldso/dynlink.c, fixup_rpath",
    ),
    Rule(
        id="truncated",
        group="load",
        severity="error",
        title="The file ends before its contents do",
        explanation="The loader maps segments without comparing them with the file's size. The "
        "first access behind the end kills the process with SIGBUS.",
        fix="copy or build the file again, and compare its size",
        good="cp liba.so /mnt/ && cmp liba.so /mnt/liba.so",
        bad="head -c 8192 liba.so > /mnt/liba.so",
        source="mmap(2), SIGBUS; gABI, 'Program Loading'",
    ),
    Rule(
        id="damaged",
        group="load",
        severity="error",
        title="A part of the file cannot be read",
        explanation="A table of the file leads outside the file, has no end, or contradicts "
        "another. The loader may not look at it, or may crash on it.",
        fix="get the file again from where it was built, and compare its checksum",
        good="sha256sum --check liba.so.sha256",
        bad="scp -C liba.so host:    # interrupted",
        source="gABI; PE format; Mach-O loader.h",
    ),
    Rule(
        id="glibc-on-musl",
        group="load",
        severity="error",
        title="It is built for glibc, and the target has musl",
        explanation=(
            "The names are alike, the libraries are not. musl takes `libc.so.6`, "
            "`libpthread.so.0` and their like to be itself, ignores symbol versions, and then "
            "misses what only glibc has (`__memcpy_chk`, `backtrace`, `__isoc23_strtol`). "
            "gcompat helps simple libraries over that, and no others."
        ),
        fix="build it for musl: zig cc -target x86_64-linux-musl, or on Alpine",
        good="zig cc -target x86_64-linux-musl -shared -o liba.so a.c",
        bad="cc -shared -o liba.so a.c    # on Debian, for Alpine",
        source="musl ldso/dynlink.c, load_library; musl FAQ, 'Is musl compatible with glibc?'",
    ),
    Rule(
        id="already-loaded-other",
        group="load",
        severity="warning",
        title="Another library of that name is in the process already, and is taken instead",
        explanation=(
            "A loader compares names before it looks at files. The first library with a soname "
            "wins for the rest of the process, whatever folder the second would have come from. "
            "If the two differ, symbols or versions are missing."
        ),
        fix="give your copy a soname of its own (libferry fix --soname), or load it in a "
        "namespace: libferry.load(FILE, isolation='namespace')",
        good="auditwheel repair    # libz-eb09ad1d.so.1.3",
        bad="LD_LIBRARY_PATH=bundled program    # which has loaded the system's libz.so.1",
        source="glibc elf/dl-load.c, _dl_map_object, _dl_name_match_p; musl, load_library",
    ),
)
