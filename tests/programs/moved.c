/* SPDX-License-Identifier: MIT */
/*
 * Prints what moving and unmapping heap memory does, which must be the same whoever serves it. What
 * has been moved away is not released.
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

static unsigned char *new_block(unsigned char mark)
{
    void *block = NULL;
    if (posix_memalign(&block, PAGE, ALL) != 0) {
        exit(EXIT_FAILURE);
    }
    memset(block, mark, ALL);
    return block;
}

/* Prints stretches of equal bytes. */
static void show(const char *name, const unsigned char *bytes, size_t num_bytes)
{
    size_t from = 0;
    if (bytes == MAP_FAILED) {
        (void)printf("%s: %s\n", name, strerror(errno));
        return;
    }
    (void)printf("%s:", name);
    for (size_t at = 1; at <= num_bytes; at++) {
        if (at == num_bytes || bytes[at] != bytes[from]) {
            (void)printf(" %zu+%zu=%02x", from, at - from, bytes[from]);
            from = at;
        }
    }
    (void)printf("\n");
}

static void try_wrong(unsigned char *block)
{
    unsigned char *there = block + 8 * PAGE;
    show("askew", mremap(block + 1, PAGE, 2 * PAGE, MREMAP_MAYMOVE), 1);
    show("nothing", mremap(block, PAGE, 0, MREMAP_MAYMOVE), 1);
    show("twice", mremap(block, 0, PAGE, MREMAP_MAYMOVE), 1);
    show("flags", mremap(block, PAGE, PAGE, 1 << 20), 1);
    show("fixed alone", mremap(block, PAGE, PAGE, MREMAP_FIXED, there), 1);
    show("over itself", mremap(block, ALL, ALL, MREMAP_FIXED | MREMAP_MAYMOVE, there), 1);
    show("askew there", mremap(block, PAGE, PAGE, MREMAP_FIXED | MREMAP_MAYMOVE, there + 1), 1);
    show("kept alone", mremap(block, PAGE, PAGE, MREMAP_DONTUNMAP), 1);
    show("kept, longer", mremap(block, PAGE, 2 * PAGE, MREMAP_DONTUNMAP | MREMAP_MAYMOVE), 1);
    show("in its place", mremap(block, PAGE, 2 * PAGE, 0), 1);
    show("too long", mremap(block, PAGE, (size_t)1 << 46, MREMAP_MAYMOVE), 1);
}

/* To a place that is no block's; and what stays where it was is zeros. */
static void try_away(unsigned char *block)
{
    unsigned char *there =
        mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    show("away", mremap(block, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, there), PAGE);
    show("down", mremap(block + 9 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, block + PAGE),
         PAGE);
    block += 16 * PAGE;
    show("kept", mremap(block, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL), PAGE);
    show("left", block, 2 * PAGE);
}

/* What it becomes is written to, all of it, and must be nothing's else. */
static unsigned char *try_moves(unsigned char *block)
{
    unsigned char *there =
        mmap(NULL, 4 * ALL, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    unsigned char *moved = mremap(block, ALL, 2 * ALL, MREMAP_MAYMOVE);
    show("grown", moved, 2 * ALL);
    memset(moved, 99, 2 * ALL);
    moved = mremap(moved, 2 * ALL, 3 * ALL, MREMAP_MAYMOVE | MREMAP_FIXED, there);
    show("moved on", moved, 3 * ALL);
    (void)printf("where it was to be: %d\n", moved == there);
    memset(moved, 98, 3 * ALL);
    return moved;
}

static void try_in_child(unsigned char *moved, unsigned char **blocks)
{
    (void)fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        show("inherited", moved, 3 * ALL);
        memset(moved, 1, 3 * ALL);
        for (size_t i = 6; i < N_BLOCKS; i++) {
            show("inherited", blocks[i], ALL - PAGE * (i == 7));
            memset(blocks[i], 1, PAGE);
        }
        exit(EXIT_SUCCESS);
    }
    int status = 1;
    (void)waitpid(child, &status, 0);
    (void)printf("the child ended with %d\n", status);
}

int main(void)
{
    unsigned char *blocks[N_BLOCKS];
    for (size_t i = 0; i < N_BLOCKS; i++) {
        blocks[i] = new_block((unsigned char)i);
    }
    try_wrong(blocks[0]);
    unsigned char *moved = MAP_FAILED;
    for (size_t i = 0; i < 4; i++) {
        moved = try_moves(blocks[i]);
    }
    show("shorter", mremap(blocks[4], ALL, PAGE, 0), PAGE);
    try_away(blocks[5] + 8 * PAGE);
    /* Over another block, which keeps the rest of its own. */
    show("onto", mremap(blocks[5], PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, blocks[6]), ALL);
    (void)printf("unmapped: %d\n", munmap(blocks[7] + ALL - PAGE, PAGE));
    try_in_child(moved, blocks);
    show("moved", moved, 3 * ALL);
    for (size_t i = 6; i < N_BLOCKS; i++) {
        show("another", blocks[i], ALL - PAGE * (i == 7));
    }
    return 0;
}
