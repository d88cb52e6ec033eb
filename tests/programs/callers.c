/* SPDX-License-Identifier: MIT */
/*
 * Allocates from more modules than have names of their own on the ledger, and from code that is in
 * no module, as compilers at run time make it. It holds what it has until $GATE opens.
 *
 *      callers PLUGIN DIRECTORY    links to the plugin are made in the directory
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Each is loaded where the last one was: client/malloc/caller.c has names for some 16 of them. */
#define N_MODULES 100

static char *kept[N_MODULES];

/* Return: what the plugin has allocated; it is gone then, by its name as well. */
static char *allocate_by(const char *path)
{
    void *handle = dlopen(path, RTLD_NOW);
    if (handle == NULL) {
        (void)fprintf(stderr, "%s\n", dlerror());
        exit(EXIT_FAILURE);
    }
    void *symbol = dlsym(handle, "plugin_exchange");
    char *(*plugin_exchange)(char *);
    memcpy(&plugin_exchange, &symbol, sizeof(plugin_exchange));
    char *exchanged = plugin_exchange(strdup(path));
    (void)dlclose(handle);
    return exchanged;
}

static void allocate_by_many(const char *plugin, const char *directory)
{
    size_t n_right = 0;
    for (size_t i = 0; i < N_MODULES; i++) {
        char path[4096];
        (void)snprintf(path, sizeof(path), "%s/plugin-%zu.so", directory, i);
        if (symlink(plugin, path) != 0) {
            exit(EXIT_FAILURE);
        }
        kept[i] = allocate_by(path);
        n_right += strcmp(kept[i], path) == 0;
        (void)unlink(path);
    }
    (void)printf("modules: %zu\n", n_right);
}

#ifdef __x86_64__

/* Calls what it is given with two numbers: sub $8, %rsp; call *%rdx; add $8, %rsp; ret */
static const unsigned char code[] = {0x48, 0x83, 0xec, 0x08, 0xff, 0xd2,
                                     0x48, 0x83, 0xc4, 0x08, 0xc3};

static void allocate_by_code(void)
{
    void *(*call)(size_t, size_t, void *(*)(size_t, size_t));
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        exit(EXIT_FAILURE);
    }
    memcpy(page, code, sizeof(code));
    if (mprotect(page, 4096, PROT_READ | PROT_EXEC) != 0) {
        exit(EXIT_FAILURE);
    }
    memcpy(&call, &page, sizeof(call));
    char *block = call(1, 5000, calloc);
    /* As large as what libc asks for a thread's values. */
    char *values = call(32, 16, calloc);
    (void)printf("code: %d\n", block[4999] + values[511]);
}

#else

static void allocate_by_code(void)
{
    (void)printf("code: none\n");
}

#endif

int main(int argc, char **argv)
{
    char go;
    const char *path = getenv("GATE");
    if (argc != 3 || path == NULL) {
        return EXIT_FAILURE;
    }
    allocate_by_code();
    allocate_by_many(argv[1], argv[2]);
    const int gate = open(path, O_RDONLY);
    (void)printf("%d\n", read(gate, &go, 1) == 1);
    for (size_t i = 0; i < N_MODULES; i++) {
        free(kept[i]);
    }
    return EXIT_SUCCESS;
}
