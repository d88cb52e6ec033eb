/* SPDX-License-Identifier: MIT */
/*
 * replay PATH... - a fuzzer's target without a fuzzer: every file once, those of a directory too
 *
 * So the targets are built and their corpus holds in every build, with any compiler. It fails if
 * there is no file: a corpus that was lost would go unseen.
 */
#include <dirent.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

/* 1 MiB: libFuzzer's own limit is 4 KiB unless it is told otherwise. */
#define INPUT_MAX_BYTES (1024 * 1024)

static unsigned n_replayed;
static char current[4096];

KMEM_NORETURN static void give_up(const char *path)
{
    (void)fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
    exit(1);
}

static void replay_file(const char *path)
{
    static uint8_t bytes[INPUT_MAX_BYTES];
    FILE *file = fopen(path, "re");
    if (!file) {
        give_up(path);
    }
    const size_t n_bytes = fread(bytes, 1, sizeof(bytes), file);
    (void)fclose(file);                                   /* it was only read */
    (void)snprintf(current, sizeof(current), "%s", path); /* cut: for people */
    /* A copy of exactly this length, so that a sanitizer sees what looks behind it. */
    uint8_t *copy = malloc(n_bytes ? n_bytes : 1);
    if (!copy) {
        give_up(path);
    }
    memcpy(copy, bytes, n_bytes);
    (void)LLVMFuzzerTestOneInput(copy, n_bytes);
    free(copy);
    n_replayed++;
}

static void replay(const char *path)
{
    struct stat status;
    if (stat(path, &status)) {
        give_up(path);
    }
    if (!S_ISDIR(status.st_mode)) {
        replay_file(path);
        return;
    }
    struct dirent **entries;
    const int n_entries = scandir(path, &entries, NULL, alphasort);
    if (n_entries < 0) {
        give_up(path);
    }
    for (int i = 0; i < n_entries; i++) {
        char *inside;
        if (entries[i]->d_name[0] != '.') {
            if (asprintf(&inside, "%s/%s", path, entries[i]->d_name) < 0) {
                give_up(path);
            }
            replay(inside);
            free(inside);
        }
        free(entries[i]);
    }
    free(entries);
}

static void say_which(void)
{
    if (current[0]) {
        (void)fprintf(stderr, "replay: it was %s\n", current);
    }
}

int main(int argc, char **argv)
{
    (void)atexit(say_which); /* a target that exits has not returned */
    /* Else most of the time goes into clearing the core's tables, which are mostly unused. */
    (void)mallopt(M_MMAP_THRESHOLD, 64 * 1024);
    for (int i = 1; i < argc; i++) {
        replay(argv[i]);
    }
    current[0] = '\0';
    printf("%u inputs\n", n_replayed);
    return n_replayed > 0 ? 0 : 1;
}
