/* SPDX-License-Identifier: MIT */
/*
 * Loads a plugin with RTLD_DEEPBIND, in each way that there is, and exchanges blocks with it.
 *
 *      loads NAME    found by this program's RUNPATH, which has $ORIGIN, and in no other way
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef char *(*exchange_function)(char *from_program);

static void exchange(const char *how, void *handle)
{
    if (handle == NULL) {
        (void)printf("%s: %s\n", how, dlerror());
        return;
    }
    void *symbol = dlsym(handle, "plugin_exchange");
    exchange_function plugin_exchange;
    memcpy(&plugin_exchange, &symbol, sizeof(plugin_exchange));
    char *exchanged = plugin_exchange(strdup("handed over"));
    (void)printf("%s: %s\n", how, exchanged);
    free(exchanged);
    (void)dlclose(handle);
}

/* As a foreign function interface does: libc's functions, by its handle. */
static void by_handle(const char *which, void *handle)
{
    void *symbol = dlsym(handle, "free");
    void (*its_free)(void *);
    memcpy(&its_free, &symbol, sizeof(its_free));
    symbol = dlsym(handle, "realloc");
    void *(*its_realloc)(void *, size_t);
    memcpy(&its_realloc, &symbol, sizeof(its_realloc));
    char *block = its_realloc(strdup("mine"), 2000);
    (void)printf("%s: %s\n", which, block);
    its_free(block);
    free(its_realloc(NULL, 100));
    (void)printf("%d\n", dlsym(handle, "there_is_no_such_function") == NULL);
}

/* Another libc, with a heap of its own. */
static void in_namespace(const char *name)
{
    void *handle = dlmopen(LM_ID_NEWLM, name, RTLD_NOW);
    if (handle == NULL) {
        (void)printf("namespace: %s\n", dlerror());
        return;
    }
    void *symbol = dlsym(handle, "plugin_keep_books");
    size_t (*keep_books)(void);
    memcpy(&keep_books, &symbol, sizeof(keep_books));
    (void)printf("namespace: %zu\n", keep_books());
    (void)dlclose(handle);
}

int main(int argc, char **argv)
{
    const char *name = argv[argc - 1];
    exchange("lazy", dlopen(name, RTLD_LAZY | RTLD_DEEPBIND));
    exchange("now", dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND));
    exchange("dlmopen", dlmopen(LM_ID_BASE, name, RTLD_NOW | RTLD_DEEPBIND));
    exchange("global", dlopen(name, RTLD_NOW | RTLD_GLOBAL | RTLD_DEEPBIND));
    (void)printf("none: %d\n", dlopen("libno-such-plugin.so", RTLD_NOW | RTLD_DEEPBIND) == NULL);
    (void)printf("%s\n", dlerror());
    by_handle("libc", dlopen("libc.so.6", RTLD_LAZY));
    by_handle("program", dlopen(NULL, RTLD_LAZY));
    by_handle("default", RTLD_DEFAULT);
    by_handle("next", RTLD_NEXT);
    in_namespace(name);
    return 0;
}
