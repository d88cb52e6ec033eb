/* SPDX-License-Identifier: MIT */
/*
 * Prints what advice on heap memory does, which must be the same whoever serves it; with "child"
 * what it does in a forked child, too; and with "small" what no other heap does: that small blocks
 * in the same page stay.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define ALL (64 * PAGE)

/* Some by the daemon, the others from a lease. */
#define N_BLOCKS 12

/* Prints stretches of equal bytes. */
static void show(const unsigned char *bytes, size_t num_bytes)
{
    size_t from = 0;
    for (size_t at = 1; at <= num_bytes; at++) {
        if (at == num_bytes || bytes[at] != bytes[from]) {
            (void)printf(" %zu+%zu=%02x", from, at - from, bytes[from]);
            from = at;
        }
    }
    (void)printf("\n");
}

static void try(const char *name, int r, unsigned char *block)
{
    (void)printf("%s: %s;", name, r < 0 ? strerror(errno) : "0");
    show(block, ALL);
    memset(block, 7, ALL);
}

static unsigned char *new_block(size_t num_bytes)
{
    void *block = NULL;
    if (posix_memalign(&block, PAGE, num_bytes) != 0) {
        exit(EXIT_FAILURE);
    }
    memset(block, 7, num_bytes);
    return block;
}

static void try_all(unsigned char *block)
{
    errno = 0;
    try("all", madvise(block, ALL, MADV_DONTNEED), block);
    try("first", madvise(block, PAGE, MADV_DONTNEED), block);
    try("inner", madvise(block + 3 * PAGE, 5 * PAGE, MADV_DONTNEED), block);
    try("rounded up", madvise(block + PAGE, PAGE + 1, MADV_DONTNEED), block);
    try("last", madvise(block + ALL - PAGE, PAGE, MADV_DONTNEED), block);
    try("nothing", madvise(block, 0, MADV_DONTNEED), block);
    try("askew", madvise(block + 1, PAGE, MADV_DONTNEED), block);
    try("too long", madvise(block, SIZE_MAX, MADV_DONTNEED), block);
    try("locked", madvise(block, PAGE, 24 /* MADV_DONTNEED_LOCKED */), block);
    try("remove", madvise(block, PAGE, MADV_REMOVE), block);
    try("unknown", madvise(block, PAGE, 12345), block);
    try("willneed", madvise(block, PAGE, MADV_WILLNEED), block);
    try("dontdump", madvise(block, PAGE, MADV_DONTDUMP), block);
    try("dodump", madvise(block, PAGE, MADV_DODUMP), block);
    try("posix", posix_madvise(block, ALL, POSIX_MADV_DONTNEED), block);
}

/* Of many small blocks in a page, the one that begins it is cleared. */
static void try_small(void)
{
    unsigned char *blocks[200];
    size_t n_changed = 0;
    unsigned char *first = NULL;
    for (size_t i = 0; i < 200; i++) {
        blocks[i] = malloc(1000);
        memset(blocks[i], 7, 1000);
        first = (uintptr_t)blocks[i] % PAGE == 0 ? blocks[i] : first;
    }
    (void)printf("small: %d;", first == NULL ? -2 : madvise(first, 1000, MADV_DONTNEED));
    show(first, 1000);
    for (size_t i = 0; i < 200; i++) {
        n_changed += blocks[i][0] != 7 || blocks[i][999] != 7;
        free(blocks[i]);
    }
    (void)printf("changed: %zu\n", n_changed);
}

/* A child does it all to what it has inherited; its parent's stays. */
static void try_in_child(unsigned char **blocks)
{
    (void)fflush(stdout);
    const pid_t child = fork();
    for (size_t i = 0; i < N_BLOCKS && child == 0; i++) {
        try_all(blocks[i]);
    }
    if (child == 0) {
        try_all(new_block(ALL));
        (void)madvise(blocks[0], ALL, MADV_DONTNEED);
        exit(EXIT_SUCCESS);
    }
    int status = 1;
    (void)waitpid(child, &status, 0);
    (void)printf("the child ended with %d\n", status);
    for (size_t i = 0; i < N_BLOCKS; i++) {
        show(blocks[i], ALL);
    }
}

int main(int argc, char **argv)
{
    unsigned char *blocks[N_BLOCKS];
    for (size_t i = 0; i < N_BLOCKS; i++) {
        blocks[i] = new_block(ALL);
    }
    for (size_t i = 0; i < N_BLOCKS; i++) {
        try_all(blocks[i]);
    }
    /* What is freed after advice is whole again. */
    unsigned char *cleared = calloc(1, ALL);
    show(cleared, ALL);
    free(cleared);
    (void)printf("freed: %d\n", madvise(blocks[3], ALL, MADV_FREE));
    blocks[3][0] = 9;
    (void)printf("%02x\n", blocks[3][0]);
    if (argc > 1 && strcmp(argv[1], "small") == 0) {
        try_small();
    } else if (argc > 1) {
        try_in_child(blocks);
    }
    for (size_t i = 0; i < N_BLOCKS; i++) {
        free(blocks[i]);
    }
    return 0;
}
