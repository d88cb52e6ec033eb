/* SPDX-License-Identifier: MIT */
/*
 * Prints how the calls for aligned memory answer, to each of many alignments and sizes. What it
 * prints must be the same whoever serves it. errno stays out of posix_memalign()'s lines: POSIX
 * says nothing of it there.
 */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const size_t alignments[] = {
    0, 1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 17, 24, 31, 32, 33, 40, 48, 63, 64, 65, 96, 100, 128, 192,
    1000, 1024, 4095, 4096, 12288, 65536, 1 << 20, 3 << 19,
    /* These are refused. */
    SIZE_MAX / 4 + 1, SIZE_MAX / 2, SIZE_MAX / 2 + 1, SIZE_MAX / 2 + 2, SIZE_MAX - 1, SIZE_MAX};

static const size_t sizes[] = {0,    1,    16,    24,           100,          4096,
                               4097, 8192, 70000, SIZE_MAX / 2, SIZE_MAX - 1, SIZE_MAX};

/* The largest power of two that a block promises to be on: as asked, and no less than 16. */
static size_t promised(size_t alignment)
{
    size_t power = 16;
    while (power < alignment && power <= SIZE_MAX / 2) {
        power *= 2;
    }
    return power;
}

static void print(const char *call, size_t alignment, size_t num_bytes, void *block, int error)
{
    (void)printf("%s(%zu, %zu): ", call, alignment, num_bytes);
    if (block == NULL) {
        (void)printf("%s\n", strerror(error));
        return;
    }
    (void)printf("%s, %s\n",
                 (uintptr_t)block % promised(alignment) == 0 ? "aligned" : "not aligned",
                 malloc_usable_size(block) >= num_bytes ? "has room" : "has no room");
    if (num_bytes < SIZE_MAX / 4) {
        memset(block, 0xa5, num_bytes);
        block = realloc(block, num_bytes + 1);
        (void)printf("    then: %s\n",
                     num_bytes == 0 || ((unsigned char *)block)[num_bytes - 1] == 0xa5 ? "the same"
                                                                                       : "other");
    }
    free(block);
}

static void try(size_t alignment, size_t num_bytes)
{
    errno = 0;
    void *block = memalign(alignment, num_bytes);
    print("memalign", alignment, num_bytes, block, errno);
    errno = 0;
    block = aligned_alloc(alignment, num_bytes);
    print("aligned_alloc", alignment, num_bytes, block, errno);
    block = (void *)&errno; /* that it is written to is seen */
    const int r = posix_memalign(&block, alignment, num_bytes);
    if (r != 0 && block != (void *)&errno) {
        (void)printf("posix_memalign has written\n");
    }
    print("posix_memalign", alignment, num_bytes, r == 0 ? block : NULL, r);
}

static void try_pages(size_t num_bytes)
{
    errno = 0;
    void *block = valloc(num_bytes);
    print("valloc", 4096, num_bytes, block, errno);
    errno = 0;
    block = pvalloc(num_bytes);
    if (block != NULL && malloc_usable_size(block) < (num_bytes + 4095) / 4096 * 4096) {
        (void)printf("pvalloc(%zu) is no whole pages\n", num_bytes);
    }
    print("pvalloc", 4096, num_bytes, block, errno);
}

int main(void)
{
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (size_t j = 0; j < sizeof(alignments) / sizeof(alignments[0]); j++) {
            try(alignments[j], sizes[i]);
        }
        try_pages(sizes[i]);
    }
    return 0;
}
