/* SPDX-License-Identifier: MIT */
/*
 * plugin_host PLUGIN - a program that does not know libkmem, but loads a plugin that uses it
 *
 * Three times: load, use in the main thread and in others, unload, and only then let the others
 * end. What the plugin allocated and never released stays readable and writable. Exit status: 0.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_ROUNDS 3
#define N_THREADS 4
#define KEPT_BYTES 3000

struct plugin {
    void *handle;
    int (*use)(const char **ret_error);
    void *(*keep)(void);
};

static struct plugin plugin;
static pthread_barrier_t used;
static pthread_barrier_t unloaded;

static void stop(const char *what, const char *why)
{
    (void)fprintf(stderr, "plugin_host: %s: %s\n", what, why);
    _Exit(1);
}

static void *look_up(const char *name)
{
    void *const symbol = dlsym(plugin.handle, name);
    if (symbol == NULL) {
        stop(name, dlerror());
    }
    return symbol;
}

static void load(const char *path)
{
    plugin.handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (plugin.handle == NULL) {
        stop(path, dlerror());
    }
    /* POSIX says that a symbol may be a function; C does not. */
    void *const use = look_up("plugin_use");
    void *const keep = look_up("plugin_keep");
    memcpy(&plugin.use, &use, sizeof(use));
    memcpy(&plugin.keep, &keep, sizeof(keep));
}

static void use(void)
{
    const char *error = "";
    if (plugin.use(&error) != 0) {
        stop("use", error);
    }
}

static void *use_and_outlive_it(void *argument)
{
    use();
    (void)pthread_barrier_wait(&used);
    (void)pthread_barrier_wait(&unloaded);
    return argument;
}

static void check_kept(unsigned char *const *kept, unsigned int n_kept)
{
    for (unsigned int i = 0; i < n_kept; i++) {
        for (size_t at = 0; at < KEPT_BYTES; at++) {
            if (kept[i][at] != (unsigned char)(i + 1)) {
                stop("kept", "a block has changed");
            }
        }
    }
}

static void run_round(const char *path, unsigned char **kept, unsigned int round)
{
    pthread_t threads[N_THREADS];
    load(path);
    for (unsigned int i = 0; i < N_THREADS; i++) {
        if (pthread_create(&threads[i], NULL, use_and_outlive_it, NULL) != 0) {
            stop("pthread_create", "failed");
        }
    }
    use();
    kept[round] = plugin.keep();
    if (kept[round] == NULL) {
        stop("keep", "no block");
    }
    memset(kept[round], (int)round + 1, KEPT_BYTES);
    (void)pthread_barrier_wait(&used);
    if (dlclose(plugin.handle) != 0) {
        stop("dlclose", dlerror());
    }
    (void)pthread_barrier_wait(&unloaded);
    for (unsigned int i = 0; i < N_THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    check_kept(kept, round + 1);
}

int main(int argc, char **argv)
{
    unsigned char *kept[N_ROUNDS];
    if (argc != 2) {
        stop("usage", "plugin_host PLUGIN");
    }
    (void)pthread_barrier_init(&used, NULL, N_THREADS + 1);
    (void)pthread_barrier_init(&unloaded, NULL, N_THREADS + 1);
    for (unsigned int round = 0; round < N_ROUNDS; round++) {
        run_round(argv[1], kept, round);
    }
    return 0;
}
